/** Follows hints: tries addresses where a peer may be, with backoff, and forgets those that lead nowhere. Bounded. */
import type { PeerHint } from '../core/world.ts';
import { Budget } from './budget.ts';
import type { PeerAddress } from './peer-client.ts';

const DIALS_MAX = 512;
const AT_ONCE_MAX = 32;
/** Each costs a handshake, and anybody can forge hints: a shelf of Pis is greeted at once, a thousand within half a minute. */
const PER_SECOND = 32;
const BURST = 64;
const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 30_000;
/** A fresh hint shortens the wait, but nobody makes us dial one address more often than this. */
const HINTED_RETRY_MS = 1000;
/** Refused: the other cluster will not become ours soon. But a secret may have been corrected. */
const REFUSED_RETRY_MS = 10_000;
/** Without a new hint an address is given up after this. */
const GIVE_UP_MS = 2 * 60_000;

interface Dial {
  address: PeerAddress;
  attempts: number;
  nextMs: number;
  earliestMs: number;
  hintedMs: number;
  active: boolean;
}

export interface DialerPorts {
  now(): number;
  random(): number;
  /** Nobody is greeted before we have something to say. */
  ready(): boolean;
  /** Resolves when the address needs no more attempts; rejects when it is to be tried again. */
  connect(address: PeerAddress): Promise<void>;
  isRefusal(error: unknown): boolean;
}

export class PeerDialer {
  readonly #ports: DialerPorts;
  readonly #dials = new Map<string, Dial>();
  readonly #budget = new Budget(PER_SECOND, BURST);
  #active = 0;
  #stopped = false;

  constructor(ports: DialerPorts) {
    this.#ports = ports;
  }

  hint({ host, port }: PeerHint): void {
    if (this.#stopped) return;
    const key = `${host}:${port}`;
    const now = this.#ports.now();
    const known = this.#dials.get(key);
    if (known) {
      known.hintedMs = now;
      known.nextMs = Math.min(known.nextMs, Math.max(now, known.earliestMs));
    } else if (this.#dials.size < DIALS_MAX || this.#makeRoom()) {
      const dial = { address: { host, port }, attempts: 0, nextMs: now, earliestMs: now, hintedMs: now, active: false };
      this.#dials.set(key, dial);
    }
    this.tick();
  }

  tick(): void {
    // Hints may come by the thousand: where nothing can be dialled, nobody is looked at.
    if (this.#stopped || this.#active >= AT_ONCE_MAX || !this.#ports.ready()) return;
    const now = this.#ports.now();
    for (const [key, dial] of this.#dials) {
      if (dial.active) continue;
      if (now - dial.hintedMs > GIVE_UP_MS) this.#dials.delete(key);
      else if (now >= dial.nextMs && this.#active < AT_ONCE_MAX) {
        if (!this.#budget.take(now)) return;
        void this.#dial(key, dial);
      }
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#dials.clear();
  }

  /** Gives up the address that failed most often. */
  #makeRoom(): boolean {
    let worst: [string, Dial] | undefined;
    for (const one of this.#dials) {
      const [, { active, attempts }] = one;
      if (!active && attempts > (worst?.[1].attempts ?? 0)) worst = one;
    }
    return worst !== undefined && this.#dials.delete(worst[0]);
  }

  async #dial(key: string, dial: Dial): Promise<void> {
    dial.active = true;
    this.#active += 1;
    try {
      await this.#ports.connect(dial.address);
      this.#dials.delete(key);
    } catch (error) {
      this.#postpone(dial, this.#ports.isRefusal(error));
      // To the end of the queue: who accepts and says nothing takes long, and others wait.
      if (this.#dials.delete(key)) this.#dials.set(key, dial);
    } finally {
      dial.active = false;
      this.#active -= 1;
    }
  }

  #postpone(dial: Dial, refused: boolean): void {
    const now = this.#ports.now();
    const backoffMs = Math.min(RETRY_MS_MIN * 2 ** Math.min(dial.attempts, 10), RETRY_MS_MAX);
    dial.attempts += 1;
    dial.earliestMs = now + (refused ? REFUSED_RETRY_MS : HINTED_RETRY_MS);
    dial.nextMs = Math.max(dial.earliestMs, now + backoffMs * (0.5 + this.#ports.random()));
  }
}
