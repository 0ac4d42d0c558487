/** Discovery in memory: a FakeLan carries its announcements. See test/fakes/peers.ts. */
import type { NodeId, PeerHint } from '../../src/core/world.ts';
import type { Clock, Discovery } from '../../src/ports.ts';

const ANNOUNCE_EVERY_MS = 10_000;

export class FakeDiscovery implements Discovery {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #everyMs: number;
  readonly #hintListeners: ((hint: PeerHint) => void)[] = [];
  readonly #goodbyeListeners: ((id: NodeId) => void)[] = [];
  readonly #known = new Set<NodeId>();
  #nextMs = Number.POSITIVE_INFINITY;
  #news: 'first' | 'goodbye' | undefined;
  running = false;

  constructor(clock: Pick<Clock, 'now'>, everyMs = ANNOUNCE_EVERY_MS) {
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  async start(): Promise<void> {
    if (this.running) return;
    this.running = true;
    this.#news = 'first';
  }

  onHint(listener: (hint: PeerHint) => void): void {
    this.#hintListeners.push(listener);
  }

  onGoodbye(listener: (id: NodeId) => void): void {
    this.#goodbyeListeners.push(listener);
  }

  async stop(): Promise<void> {
    if (!this.running) return;
    this.running = false;
    this.#news = 'goodbye';
  }

  /** For the LAN: what this Pi sends now. */
  takeNews(): 'first' | 'again' | 'goodbye' | undefined {
    const news = this.#news ?? (this.running && this.#clock.now() >= this.#nextMs ? 'again' : undefined);
    if (news) this.#nextMs = this.#clock.now() + this.#everyMs;
    this.#news = undefined;
    return news;
  }

  hearHint(hint: PeerHint): void {
    if (!this.running) return;
    if (hint.id) this.#known.add(hint.id);
    for (const listener of this.#hintListeners) listener(hint);
  }

  hearGoodbye(id: NodeId): void {
    if (!this.running || !this.#known.delete(id)) return;
    for (const listener of this.#goodbyeListeners) listener(id);
  }
}
