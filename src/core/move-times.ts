/** How long moves of tasks have been where they are, and which came to nothing. Pure memory from one turn to the next. */
import type { ServiceMove, SwarmService } from './world.ts';

/** More tasks that do not run by then never will: no room, an image that cannot be had, a start that fails. */
export const SURGE_LIMIT_MS = 20_000;
/** The same where nobody waits for it: a Pi takes minutes to fetch a large image. */
export const REBALANCE_LIMIT_MS = 5 * 60_000;
/** A service whose move came to nothing is left alone for so long. */
export const GIVE_UP_MS = 10 * 60_000;

/** Since when each service is in its phase, and when a move of it came to nothing; by service id. */
export interface MoveTimes {
  since: Record<string, { phase: ServiceMove['phase']; why: ServiceMove['why']; sinceMs: number; late?: true }>;
  gaveUpMs: Record<string, number>;
}

/** It waited for new tasks as long as it may. Whether a move that evens out the load helped is judged by its outcome (`core/steady`). */
const isLate = (old: MoveTimes['since'][string] | undefined, nowMs: number): boolean =>
  old?.phase === 'surge' && old.why !== 'rebalance' && nowMs - old.sinceMs >= SURGE_LIMIT_MS;

export function moveTimes(
  { services, nowMs }: { services?: readonly SwarmService[]; nowMs: number },
  before: MoveTimes = { since: {}, gaveUpMs: {} },
): MoveTimes {
  if (services === undefined) return before;
  const times: MoveTimes = { since: {}, gaveUpMs: {} };
  for (const { id, move } of services) {
    const old = before.since[id];
    if (move !== undefined) {
      const isNew = old?.phase !== move.phase;
      const late = old?.late === true || (move.phase === 'back' && isLate(old, nowMs));
      const { phase, why } = move;
      times.since[id] = { phase, why, sinceMs: isNew ? nowMs : old.sinceMs, ...(late ? { late } : {}) };
    }
    const failed = move === undefined && (old?.late === true || isLate(old, nowMs));
    const gaveUpMs = failed ? nowMs : before.gaveUpMs[id];
    if (gaveUpMs !== undefined && nowMs - gaveUpMs < GIVE_UP_MS) times.gaveUpMs[id] = gaveUpMs;
  }
  return times;
}
