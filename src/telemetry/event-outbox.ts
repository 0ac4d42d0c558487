/** Events on their way to the broker: each once, also when it was away meanwhile, the newest when there are too many. */
import type { ClusterEvent } from '../core/event-types.ts';

/** As many as a Pi remembers; a broker that is away for longer misses the oldest. */
const WAITING_MAX = 200;

export class EventOutbox {
  /** By id: a line that is completed while it waits goes out once, complete. */
  readonly #waiting = new Map<string, ClusterEvent>();

  get size(): number {
    return this.#waiting.size;
  }

  add(events: readonly ClusterEvent[]): void {
    for (const event of events) this.#waiting.set(event.id, event);
    for (const id of this.#waiting.keys()) {
      if (this.#waiting.size <= WAITING_MAX) return;
      this.#waiting.delete(id);
    }
  }

  /** The oldest; it stays until it is confirmed. */
  next(): ClusterEvent | undefined {
    const [first] = this.#waiting.values();
    return first;
  }

  confirmed(event: ClusterEvent): void {
    if (this.#waiting.get(event.id) === event) this.#waiting.delete(event.id);
  }

  clear(): void {
    this.#waiting.clear();
  }
}
