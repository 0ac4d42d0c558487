/** Hints that do not come over mDNS: the configured `peers: [host[:port], …]`, for networks without multicast. */
import type { NodeId, PeerHint } from '../core/world.ts';
import type { Clock, Discovery } from '../ports.ts';

/** A configured Pi may be switched on at any time: hint at it again and again, quickly at first. */
const FIRST_DELAYS_MS = [0, 1000, 2000, 5000];
const EVERY_MS = 15_000;
const PEERS_MAX = 1024;

export interface StaticPeersOptions {
  /** `host` or `host:port`; a host is an IPv4 address or a name. */
  peers: readonly string[];
  defaultPort: number;
  clock: Pick<Clock, 'random'>;
}

/** `host[:port]` as a hint. The configuration has checked the syntax; names are resolved anew at each connection. */
export function parseStaticPeer(text: string, defaultPort: number): PeerHint {
  const colon = text.lastIndexOf(':');
  const port = Number(text.slice(colon + 1));
  if (colon < 1 || !Number.isInteger(port) || port < 1 || port > 65_535) return { host: text, port: defaultPort };
  return { host: text.slice(0, colon), port };
}

export class StaticPeers implements Discovery {
  readonly #hints: PeerHint[];
  readonly #random: () => number;
  readonly #listeners: ((hint: PeerHint) => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor({ peers, defaultPort, clock }: StaticPeersOptions) {
    this.#hints = peers.slice(0, PEERS_MAX).map(text => parseStaticPeer(text, defaultPort));
    this.#random = () => clock.random();
  }

  async start(): Promise<void> {
    if (this.#hints.length > 0 && !this.#timer) this.#repeat(FIRST_DELAYS_MS);
  }

  onHint(listener: (hint: PeerHint) => void): void {
    this.#listeners.push(listener);
  }

  onGoodbye(_listener: (id: NodeId) => void): void {
    // A list never says goodbye.
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#listeners.length = 0;
  }

  #repeat(delays: readonly number[]): void {
    const [first, ...later] = delays;
    this.#timer = setTimeout(
      () => {
        for (const hint of this.#hints) for (const listener of this.#listeners) listener(hint);
        if (this.#timer) this.#repeat(later);
      },
      first ?? EVERY_MS * (1 + this.#random()),
    );
    this.#timer.unref();
  }
}

/** Several sources of hints as one. One that fails to start does not keep the others from starting. */
export function combineDiscovery(sources: readonly Discovery[]): Discovery {
  return {
    async start() {
      const results = await Promise.allSettled(sources.map(source => source.start()));
      const failed = results.find(result => result.status === 'rejected');
      if (failed && results.every(result => result.status === 'rejected')) throw failed.reason;
    },
    onHint(listener) {
      for (const source of sources) source.onHint(listener);
    },
    onGoodbye(listener) {
      for (const source of sources) source.onGoodbye(listener);
    },
    async stop() {
      await Promise.allSettled(sources.map(source => source.stop()));
    },
  };
}
