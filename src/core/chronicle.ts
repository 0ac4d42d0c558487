/**
 * The last events, numbered by the leader and kept by every Pi in memory. Pure; `src/event-feed.ts` carries it between Pis.
 *
 * A version is `origin.revision`: which start of which agent wrote last, and how often was written before. Two leaders that
 * know nothing of each other may reach the same revision, never the same version.
 */
import type { ClusterEvent, News, Told } from './event-types.ts';

/** Events beyond it are forgotten, the oldest first. */
export const EVENTS_MAX = 200;
/** No line is longer: the others refuse what is too long, and all that comes with it. */
const TEXT_MAX = 400;
/** The work of a new leader is to know who is who; small clusters let everybody know, in case it leads next. */
const TOLD_MAX = 64;

export interface Chronicle {
  origin: string;
  revision: number;
  events: ClusterEvent[];
  /** What has been told, for whoever leads next. */
  told?: Told;
  /** Ids of events that go on, by their keys. */
  open: Record<string, string>;
  /** Where this one took over from another writer: what was known up to there is part of it. */
  from?: { origin: string; revision: number };
}

export const EMPTY_CHRONICLE: Chronicle = { origin: '', revision: 0, events: [], open: {} };

export const versionOf = ({ origin, revision }: Pick<Chronicle, 'origin' | 'revision'>): string =>
  `${origin}.${revision}`;

/** `revision` is 0 for anything that is no version. */
export function readVersion(text: string): { origin: string; revision: number } {
  const [, origin = '', digits = '0'] = /^([0-9a-z]{0,32})\.(\d{1,9})$/.exec(text) ?? [];
  return { origin, revision: Number(digits) };
}

/** The leader writes down what is new. The same chronicle when nothing is. */
export function write(before: Chronicle, origin: string, told: Told, news: readonly News[], wallMs: number): Chronicle {
  if (news.length === 0 && JSON.stringify(told) === JSON.stringify(before.told)) return before;
  const next: Chronicle = { ...before, origin, told, open: { ...before.open }, events: [...before.events] };
  if (origin !== before.origin) next.from = { origin: before.origin, revision: before.revision };
  for (const it of news) add(next, it, wallMs);
  if (next.revision === before.revision) next.revision += 1;
  next.events = next.events.slice(-EVENTS_MAX);
  for (const [key, id] of Object.entries(next.open)) {
    if (!next.events.some(event => event.id === id)) delete next.open[key];
  }
  return next;
}

function add(chronicle: Chronicle, { key, open, atMs, ...what }: News, wallMs: number): void {
  chronicle.revision += 1;
  const { revision, origin, events } = chronicle;
  const index = key === undefined ? -1 : events.findIndex(({ id }) => id === chronicle.open[key]);
  const old = events[index];
  // What happened cannot lie ahead; a clock that was set meanwhile would say so.
  const event: ClusterEvent = {
    id: old?.id ?? `${origin}-${revision}`,
    revision,
    at: old?.at ?? isoOf(Math.min(atMs, wallMs)),
    ...what,
    text: what.text.slice(0, TEXT_MAX),
  };
  if (old === undefined) events.push(event);
  else events[index] = event;
  if (key === undefined) return;
  if (open) chronicle.open[key] = event.id;
  else delete chronicle.open[key];
}

const isoOf = (ms: number): string => new Date(Math.min(8.64e15, Math.max(0, ms || 0))).toISOString();

/** What a Pi asks the writer: from where on, and whether it might lead one day. */
export interface ChronicleRequest {
  version: string;
  manager: boolean;
}

export interface ChronicleAnswer extends Omit<Chronicle, 'from'> {
  /** All that there is, instead of what is new since the version asked for. */
  whole: boolean;
}

export function answerTo(own: Chronicle, { version, manager }: ChronicleRequest): ChronicleAnswer {
  const { told, from, ...rest } = own;
  const { origin, revision } = readVersion(version);
  const known =
    (origin === own.origin && revision <= own.revision) ||
    (from !== undefined && origin === from.origin && revision <= from.revision);
  const events = known ? own.events.filter(event => event.revision > revision) : own.events;
  const shares = told !== undefined && (manager || told.pis.length <= TOLD_MAX);
  return { ...rest, events, whole: !known, ...(shares ? { told } : {}) };
}

/** What the writer answered becomes this Pi's own. */
export function adopt(own: Chronicle, { whole, events, ...answer }: ChronicleAnswer): Chronicle {
  if (whole) return { ...answer, events };
  const news = new Map(events.map(event => [event.id, event]));
  const kept = own.events.map(event => news.get(event.id) ?? event);
  const ids = new Set(kept.map(({ id }) => id));
  return { ...answer, events: [...kept, ...events.filter(({ id }) => !ids.has(id))].slice(-EVENTS_MAX) };
}

export interface EventQuery {
  /** Milliseconds since 1970. */
  sinceMs?: number;
  /** The newest so many. */
  limit?: number;
  /** Only what changed after this revision. */
  after?: number;
}

/** In the order in which things happened. */
export function select({ events }: Chronicle, { sinceMs, limit = EVENTS_MAX, after = 0 }: EventQuery): ClusterEvent[] {
  const from = sinceMs === undefined ? Number.NEGATIVE_INFINITY : sinceMs;
  return events
    .filter(({ at, revision }) => revision > after && Date.parse(at) >= from)
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
    .slice(-limit);
}
