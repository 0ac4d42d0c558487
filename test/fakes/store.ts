import type { Memory } from '../../src/core/world.ts';
import type { Store } from '../../src/ports.ts';

/** A store in memory. `broken`: every save fails with it, as on a full disk, and the old state stays. */
export class FakeStore implements Store {
  saved: Memory | undefined;
  saves = 0;
  broken: Error | undefined;

  constructor(saved?: Memory) {
    this.saved = saved === undefined ? undefined : structuredClone(saved);
  }

  async load(): Promise<Memory> {
    return structuredClone(this.saved ?? { intent: 'stay' });
  }

  async save(memory: Memory): Promise<void> {
    if (this.broken !== undefined) throw this.broken;
    this.saved = structuredClone(memory);
    this.saves++;
  }
}
