/** `pi-swarm events` */
import type { Command } from 'commander';
import type { EventList, EventQuestion } from '../commands/types.ts';
import { callAgent } from '../control/client.ts';
import type { ClusterEvent } from '../core/event-types.ts';
import { isPiSwarmError, UsageError } from '../errors.ts';
import { type CommonOptions, readingCommand, socketOf } from './options.ts';
import { note, type Paint, paintFor, say, sayJson } from './output.ts';

const FOLLOW_EVERY_MS = 1000;
const SHOWN = 50;
/** What a Pi remembers. */
const MOST = 200;

interface EventsOptions extends CommonOptions {
  follow?: boolean;
  since?: string;
  limit?: string;
}

export function eventsCommand(): Command {
  return readingCommand('events', [
    'pi-swarm events',
    'pi-swarm events --since 1h',
    'pi-swarm events --follow',
    'pi-swarm events --json | jq -r \'.[] | select(.kind == "lost") | .durationMs\'',
  ])
    .description(
      'What happened to the cluster: Pis that came, went, were lost and are back, who leads, work that moved, and how\nlong it took. Each Pi knows the last 200, in memory: they are gone when the agents of all Pis are started anew.',
    )
    .option('-f, --follow', 'go on with what happens, until Ctrl-C; what is complete later comes again')
    .option('--since <time>', 'only what happened since then: 90s, 10m, 2h, 3d')
    .option('--limit <number>', `the newest so many (default ${SHOWN}, with --since ${MOST})`)
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<EventsOptions>();
      const question: EventQuestion = { limit: limitOf(options) };
      if (options.since !== undefined) question.agoMs = agoMsOf(options.since);
      const socket = await socketOf(options);
      const { revision, events, unheard } = (await callAgent(socket, 'events', question)) as EventList;
      if (options.follow) await follow(socket, revision, events, options);
      else if (options.json) sayJson(events);
      else if (events.length === 0) say(unheard ? notYet(unheard) : nothing(options.since));
      else for (const line of renderEvents(events)) say(line);
    });
}

const nothing = (since: string | undefined): string =>
  since === undefined
    ? 'Nothing has happened to the cluster since its agents were started.'
    : `Nothing has happened to the cluster in the last ${since}.`;

const notYet = ({ pi, leader }: NonNullable<EventList['unheard']>): string =>
  leader
    ? `${pi} has not heard the history yet.\nAsk again in a few seconds.`
    : `${pi} has not heard the history yet: no leader answers.\n\`pi-swarm status\` shows which Pis are missing.`;

/** @throws UsageError */
function limitOf({ limit: text, since }: EventsOptions): number {
  if (text === undefined) return since === undefined ? SHOWN : MOST;
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST) {
    throw new UsageError(`--limit ${text} is not a number from 1 to ${MOST}`, 'Write for example --limit 20.');
  }
  return limit;
}

const UNIT_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `10m`, `2h`, `3d` → milliseconds. @throws UsageError */
export function agoMsOf(text: string): number {
  const [, digits = '', unit = 's'] = /^(\d{1,6})(s|m|h|d)?$/.exec(text.trim()) ?? [];
  if (digits !== '') return Number(digits) * (UNIT_MS[unit] ?? 1000);
  throw new UsageError(`--since ${text} is not a time`, 'Write how long ago: 90s, 10m, 2h, 3d.');
}

/** One line each; the date where not all are of today. */
export function renderEvents(
  events: readonly ClusterEvent[],
  paint: Paint = paintFor(process.stdout),
  today: Date = new Date(),
): string[] {
  const allToday = events.every(({ at }) => new Date(at).toDateString() === today.toDateString());
  return events.map(event => {
    const at = new Date(event.at);
    const when = allToday ? timeOf(at) : `${dateOf(at)} ${timeOf(at)}`;
    return `${paint('dim', when)}  ${event.kind === 'lost' ? paint('yellow', event.text) : event.text}`;
  });
}

const two = (number: number): string => String(number).padStart(2, '0');
const timeOf = (at: Date): string => [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':');
const dateOf = (at: Date): string => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;

/** Until Ctrl-C, or until the reader goes away. An agent that is started anew is waited for. */
async function follow(
  socket: string,
  revision: number,
  events: readonly ClusterEvent[],
  options: EventsOptions,
): Promise<void> {
  let over = false;
  const stop = () => {
    over = true;
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  process.stdout.once('error', stop);
  const print = (news: readonly ClusterEvent[]) => {
    if (options.json) for (const event of news) say(JSON.stringify(event));
    else for (const line of renderEvents(news)) say(line);
  };
  print(events);
  let after = revision;
  let silent = false;
  while (!over) {
    for (let waited = 0; waited < FOLLOW_EVERY_MS && !over; waited += 100) await new Promise(go => setTimeout(go, 100));
    const list = over ? undefined : await next(socket, after);
    if (list === undefined) {
      if (!over && !silent) note('! the agent of this Pi does not answer; waiting for it');
      silent = true;
      continue;
    }
    silent = false;
    print(list.events);
    after = list.revision;
  }
}

async function next(socket: string, after: number): Promise<EventList | undefined> {
  try {
    const list = (await callAgent(socket, 'events', { after })) as EventList;
    // Another cluster, or agents that began anew: everything there is new.
    return list.revision < after ? ((await callAgent(socket, 'events', {})) as EventList) : list;
  } catch (error) {
    if (isPiSwarmError(error) && (error.code === 'unavailable' || error.code === 'timeout')) return undefined;
    throw error;
  }
}
