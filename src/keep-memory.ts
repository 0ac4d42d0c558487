/** The one writer of what the agent remembers: one change after the other, each on the card before it counts. */
import type { Memory } from './core/world.ts';
import type { Store } from './ports.ts';

export class KeptMemory {
  readonly #store: Store;
  #now: Memory;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(store: Store, loaded: Memory) {
    this.#store = store;
    this.#now = loaded;
  }

  get now(): Memory {
    return this.#now;
  }

  /** @throws EnvironmentError when it could not be written; then nothing has changed. */
  change(part: Partial<Memory>): Promise<void> {
    const done = this.#writing.then(async () => {
      const memory = { ...this.#now, ...part };
      await this.#store.save(memory);
      this.#now = memory;
    });
    this.#writing = done.catch(() => undefined);
    return done;
  }

  /** On a disk that takes nothing any more the change counts all the same, until the next start. */
  async changeIfPossible(part: Partial<Memory>): Promise<void> {
    await this.change(part).catch(() => {
      this.#now = { ...this.#now, ...part };
    });
  }
}
