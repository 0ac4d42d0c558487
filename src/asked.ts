/** Something that somebody waits for: it holds only as long as they go on asking. Whoever stops to ask need not take it back. */
import type { Clock } from './ports.ts';

export class Asked {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #holdsMs: number;
  #lastMs: number | undefined;

  constructor(clock: Pick<Clock, 'now'>, holdsMs: number) {
    this.#clock = clock;
    this.#holdsMs = holdsMs;
  }

  /** @returns whether nobody waited before */
  again(): boolean {
    const first = !this.holds;
    this.#lastMs = this.#clock.now();
    return first;
  }

  get holds(): boolean {
    return this.#lastMs !== undefined && this.#clock.now() - this.#lastMs < this.#holdsMs;
  }
}
