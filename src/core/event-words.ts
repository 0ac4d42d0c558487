/** The words of events: one line for a person, and how long things took. */

/** What a line is made of. */
export interface Telling {
  /** What happened, without the parts below. */
  what: string;
  /** `2 tasks`, `running elsewhere after`: what became of the work. */
  parts?: readonly (string | undefined)[];
}

/** `pi3 lost power or its network · 2 tasks · running elsewhere after 3.4 s` */
export const lineOf = ({ what, parts = [] }: Telling): string =>
  [what, ...parts].filter(part => part !== undefined && part !== '').join(' · ');

export const tasksText = (count: number): string => `${count} ${count === 1 ? 'task' : 'tasks'}`;

/** `3.4 s`, `45 s`, `12 min`, `5 h`, `3 days` */
export function durationText(ms: number): string {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 119.5) return `${Math.round(seconds)} s`;
  if (seconds < 119.5 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 47.5 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** What `pi-swarm.unwell` says, as a person would. */
const AILING = new Map(
  Object.entries({
    'under-voltage': 'gets too little power',
    throttled: 'is throttled',
    hot: 'runs hot',
    'memory-full': 'is short of memory',
    'disk-full': 'has a full disk',
  }),
);

export const ailingText = (word: string): string => AILING.get(word) ?? 'is unwell';

/** Names in one line; more are counted. */
const NAMES_MAX = 4;

/** `pi1 → pi3`, `pi1 → pi2, pi3`, `pi1 → pi2, pi3, pi4, pi5 and 7 more` */
export function routeText(from: string, to: readonly string[]): string {
  if (to.length === 0) return `away from ${from}`;
  const more = to.length > NAMES_MAX ? ` and ${to.length - NAMES_MAX} more` : '';
  return `${from} → ${to.slice(0, NAMES_MAX).join(', ')}${more}`;
}
