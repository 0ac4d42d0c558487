/**
 * A Pi without a clock of its own, on a LAN without internet: the other Pis know better. Docker's certificates of the last weeks
 * would otherwise not be valid yet for it. Pure.
 */

/** Heartbeats are some seconds old, and clocks without a time server drift apart. */
const SLACK_MS = 60_000;
/** As for the agent's own clock (src/io/clock.ts): no date after this is believed. */
const BELIEVABLE_MS_MAX = Date.UTC(2099, 11, 31);

export interface ClockFacts {
  systemMs: number;
  /** A time server has set it: then nobody knows better. */
  synchronised: boolean;
  /** What the clocks of authenticated peers say, ms since 1970. */
  peersMs: readonly number[];
}

/**
 * To which time the system's clock is to be put; undefined: it stays. Only forward, and to what at least half of the others
 * have reached, so that one Pi with a date in the future drags nobody along where there are three.
 */
export function clockStep({ systemMs, synchronised, peersMs }: ClockFacts): number | undefined {
  if (synchronised) return undefined;
  const believable = peersMs.filter(ms => ms > 0 && ms <= BELIEVABLE_MS_MAX).sort((a, b) => a - b);
  const median = believable[Math.floor((believable.length - 1) / 2)];
  return median !== undefined && median > systemMs + SLACK_MS ? median : undefined;
}
