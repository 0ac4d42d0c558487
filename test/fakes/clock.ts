import type { Clock } from '../../src/ports.ts';

interface Sleeper {
  untilMs: number;
  wake: () => void;
}

/** Time that passes only when `advance` says so. Random numbers are those that the test gave. */
export class FakeClock implements Clock {
  #nowMs: number;
  #wallOffsetMs: number;
  #sleepers: Sleeper[] = [];
  readonly #randoms: number[];

  constructor(options: { nowMs?: number; wallMs?: number; randoms?: number[] } = {}) {
    this.#nowMs = options.nowMs ?? 0;
    this.#wallOffsetMs = (options.wallMs ?? Date.UTC(2026, 0, 1)) - this.#nowMs;
    this.#randoms = [...(options.randoms ?? [])];
  }

  now(): number {
    return this.#nowMs;
  }

  wall(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (ms <= 0 || signal?.aborted) return Promise.resolve();
    return new Promise(resolve => {
      const sleeper: Sleeper = {
        untilMs: this.#nowMs + ms,
        wake: () => {
          this.#sleepers = this.#sleepers.filter(other => other !== sleeper);
          signal?.removeEventListener('abort', sleeper.wake);
          resolve();
        },
      };
      this.#sleepers.push(sleeper);
      signal?.addEventListener('abort', sleeper.wake, { once: true });
    });
  }

  random(): number {
    const next = this.#randoms.shift();
    if (next === undefined) throw new Error('FakeClock: no random numbers were given for this test');
    return next;
  }

  /** How many are asleep: lets a test wait for the code under test to reach its sleep. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  /** Wakes sleepers in the order of their times, and lets what they set off run in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#nowMs + ms;
    for (;;) {
      const [next] = [...this.#sleepers].sort((a, b) => a.untilMs - b.untilMs);
      if (next === undefined || next.untilMs > end) break;
      this.#nowMs = next.untilMs;
      next.wake();
      await new Promise(setImmediate);
    }
    this.#nowMs = end;
  }
}
