/** How long moves of tasks may take, how long they have been where they are, and which came to nothing. Pure memory from one turn to the next. */
import { LEAVING_LABEL } from './labels.ts';
import type { Facts } from './observe.ts';
import type { ServiceMove } from './world.ts';

/** More tasks that do not run by then never will: no room, an image that cannot be had, a start that fails. */
export const SURGE_LIMIT_MS = 20_000;
/** The same where nobody waits for it: a Pi takes minutes to fetch a large image. */
export const REBALANCE_LIMIT_MS = 5 * 60_000;
/** A service whose move came to nothing is left alone for so long. */
export const GIVE_UP_MS = 10 * 60_000;
/**
 * Shares of `drainTimeout`, counted from the same moment: new tasks have started, then what they replace has gone or is drained, then
 * what was drained runs elsewhere. The rest is for handing over.
 */
const START_SHARE = 0.5;
const MOVE_SHARE = 0.6;
const SETTLE_SHARE = 0.75;

/** Since when each service is in its phase, how long that may last, and when a move of it came to nothing; by service id. */
export interface MoveTimes {
  /** Since when the services could not be seen. */
  blindSinceMs?: number;
  since: Record<string, Pick<ServiceMove, 'phase' | 'why'> & { sinceMs: number; limitMs: number; late?: true }>;
  gaveUpMs: Record<string, number>;
}

/** A Pi that cannot read its swarm for longer than this knows nothing of its times any more: it may lead again hours later. */
const BLIND_MS = 10_000;
export const isOutdated = ({ blindSinceMs }: MoveTimes, nowMs: number, afterMs = BLIND_MS): boolean =>
  blindSinceMs !== undefined && nowMs - blindSinceMs >= afterMs;

type Limits = Pick<Facts, 'wish' | 'nodes'>;

/** How long new tasks may take to start. Who is drained stays, and nobody waits for it to go. */
export function startLimitMs({ wish, nodes = [] }: Limits, { why, from }: ServiceMove): number {
  if (why === 'rebalance') return REBALANCE_LIMIT_MS;
  if (why !== 'leave') return SURGE_LIMIT_MS;
  const isDrained = nodes.some(({ nodeId, labels }) => nodeId === from && labels[LEAVING_LABEL] === 'drain');
  return isDrained ? REBALANCE_LIMIT_MS : wish.drainTimeoutMs * START_SHARE;
}

/** How long the work of a Pi that goes may take to move; then it is drained as it is. */
export const sendOffLimitMs = ({ wish }: Limits, mark: 'leave' | 'shutdown' | 'drain'): number =>
  mark === 'drain' ? REBALANCE_LIMIT_MS + SURGE_LIMIT_MS : wish.drainTimeoutMs * MOVE_SHARE;

/** How long a Pi that goes waits for what was drained to run elsewhere: some of it never will. */
export const settleLimitMs = ({ wish }: Limits): number => wish.drainTimeoutMs * SETTLE_SHARE;

/** It waited for new tasks as long as it may. Whether a move that evens out the load helped is judged by its outcome (`core/steady`). */
const isLate = (old: MoveTimes['since'][string] | undefined, nowMs: number): boolean =>
  old?.phase === 'surge' && old.why !== 'rebalance' && nowMs - old.sinceMs >= old.limitMs;

const NOTHING_SEEN: MoveTimes = { since: {}, gaveUpMs: {} };

export function moveTimes(
  facts: Pick<Facts, 'nowMs' | 'services' | 'wish' | 'nodes'>,
  last: MoveTimes = NOTHING_SEEN,
): MoveTimes {
  const { services, nowMs } = facts;
  const before = isOutdated(last, nowMs) ? NOTHING_SEEN : last;
  if (services === undefined) return { ...before, blindSinceMs: last.blindSinceMs ?? nowMs };
  const times: MoveTimes = { since: {}, gaveUpMs: {} };
  for (const { id, move } of services) {
    const old = before.since[id];
    if (move !== undefined) {
      const { phase, why } = move;
      const isNew = old?.phase !== phase;
      const late = old?.late === true || (phase === 'back' && isLate(old, nowMs));
      const limitMs = startLimitMs(facts, move);
      times.since[id] = { phase, why, sinceMs: isNew ? nowMs : old.sinceMs, limitMs, ...(late ? { late } : {}) };
    }
    const failed = move === undefined && (old?.late === true || isLate(old, nowMs));
    const gaveUpMs = failed ? nowMs : before.gaveUpMs[id];
    if (gaveUpMs !== undefined && nowMs - gaveUpMs < GIVE_UP_MS) times.gaveUpMs[id] = gaveUpMs;
  }
  return times;
}
