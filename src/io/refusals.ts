/** Who was turned away, counted by reason and logged at a pace that no stranger can set. */
import type { Logger } from 'pino';
import type { PeerRefusals } from '../ports.ts';

/** One line for the same reason and address in this time. */
const LOG_EVERY_MS = 10_000;
/** Addresses in that time; whoever has more is counted and no longer written, for the SD card's sake. */
const LOGGED_MAX = 32;
const REASONS_MAX = 32;

export type RefusalLog = Pick<Logger, 'warn'>;

export class Refusals {
  readonly #now: () => number;
  readonly #wall: () => number;
  readonly #log: RefusalLog | undefined;
  readonly #counts = new Map<string, number>();
  readonly #loggedMs = new Map<string, number>();
  #total = 0;
  #last: PeerRefusals['last'];

  constructor(clock: { now(): number; wall(): number }, log?: RefusalLog) {
    this.#now = () => clock.now();
    this.#wall = () => clock.wall();
    this.#log = log;
  }

  /**
   * @param reason a fixed word, e.g. `foreign`
   * @param from address of the other side
   * @param problem the sentence for people
   */
  note(reason: string, from: string, problem: string): void {
    const key = this.#counts.has(reason) || this.#counts.size < REASONS_MAX ? reason : 'other';
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    this.#total += 1;
    this.#last = { reason: key, problem, from, atMs: this.#wall() };
    this.#maybeLog(key, from, problem);
  }

  byReason(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  summary(): PeerRefusals {
    return { count: this.#total, ...(this.#last ? { last: this.#last } : {}) };
  }

  #maybeLog(reason: string, from: string, problem: string): void {
    // One machine may answer on sixty thousand ports.
    const key = `${reason} ${from.replace(/:\d+$/, '')}`;
    const now = this.#now();
    const before = this.#loggedMs.get(key);
    if (before !== undefined && now - before < LOG_EVERY_MS) return;
    if (this.#loggedMs.size >= LOGGED_MAX) {
      for (const [old, atMs] of this.#loggedMs) if (now - atMs >= LOG_EVERY_MS) this.#loggedMs.delete(old);
      // Still full: somebody comes from very many addresses. Counted, no longer written.
      if (this.#loggedMs.size >= LOGGED_MAX) return;
    }
    this.#loggedMs.set(key, now);
    this.#log?.warn({ reason, from, count: this.#counts.get(reason) }, `refused ${from}: ${problem}`);
  }
}
