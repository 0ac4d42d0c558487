/** How long moves of tasks have been where they are, and which came to nothing. Pure memory from one turn to the next. */
import type { ServiceMove, SwarmService } from './world.ts';

/** More tasks that do not run by then never will: no room, an image that cannot be had, a start that fails. */
export const SURGE_LIMIT_MS = 20_000;
/** A service whose move came to nothing is left alone for so long. */
export const GIVE_UP_MS = 10 * 60_000;

/** Since when each service is in its phase, and when a move of it came to nothing; by service id. */
export interface MoveTimes {
  since: Record<string, { phase: ServiceMove['phase']; sinceMs: number }>;
  gaveUpMs: Record<string, number>;
}

export function moveTimes(
  { services, nowMs }: { services?: readonly SwarmService[]; nowMs: number },
  before: MoveTimes = { since: {}, gaveUpMs: {} },
): MoveTimes {
  if (services === undefined) return before;
  const times: MoveTimes = { since: {}, gaveUpMs: {} };
  for (const { id, move } of services) {
    const old = before.since[id];
    if (move !== undefined) {
      times.since[id] = { phase: move.phase, sinceMs: old?.phase === move.phase ? old.sinceMs : nowMs };
    }
    const failed = move === undefined && old?.phase === 'surge' && nowMs - old.sinceMs >= SURGE_LIMIT_MS;
    const gaveUpMs = failed ? nowMs : before.gaveUpMs[id];
    if (gaveUpMs !== undefined && nowMs - gaveUpMs < GIVE_UP_MS) times.gaveUpMs[id] = gaveUpMs;
  }
  return times;
}
