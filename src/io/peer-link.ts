/** Our connection to one known peer: when the next heartbeat is due, over which of its addresses, and commands beside it. */
import { heartbeatDueMs } from '../core/liveness.ts';
import type { NodeId } from '../core/world.ts';
import { PeerError, TrustError } from '../errors.ts';
import type { PeerRequestOptions } from '../ports.ts';
import { AnotherPi, type PeerAddress, type PeerCredentials } from './peer-client.ts';
import type { Beat, Hello } from './peer-protocol.ts';
import { addAddress, type PeerEntry } from './peer-table.ts';
import { PeerTalk } from './peer-talk.ts';

/** A heartbeat that is not answered within this many intervals is lost, and its connection with it. */
const TIMEOUT_INTERVALS = 1.5;
const TIMEOUT_MS_MIN = 1000;
const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 5000;

export interface LinkPorts {
  selfId: NodeId;
  credentials: PeerCredentials;
  now(): number;
  hello(): Hello;
  /** What we say to this peer now. */
  beatFor(entry: PeerEntry): Beat;
  /** It answered. */
  onBeat(id: NodeId, beat: Beat): void;
  /** At this address is somebody who is no Pi of the cluster. */
  onRefused(error: unknown, address: PeerAddress): void;
}

export class PeerLink {
  /** Monotonic. */
  nextBeatMs: number;
  readonly #entry: PeerEntry;
  readonly #ports: LinkPorts;
  #talk: PeerTalk | undefined;
  #commands: PeerTalk | undefined;
  #beating = false;
  #again = false;
  #failures = 0;
  #destroyed = false;

  constructor(entry: PeerEntry, ports: LinkPorts) {
    this.#entry = entry;
    this.#ports = ports;
    this.nextBeatMs = ports.now() + heartbeatDueMs(ports.selfId, entry.id, entry.intervalMs);
  }

  /** The last attempt failed: other addresses are worth a try. */
  get failing(): boolean {
    return this.#failures > 0;
  }

  /** Takes over a connection that was made while looking for peers. */
  adopt(talk: PeerTalk): void {
    if (this.#talk && !this.failing) {
      talk.destroy();
      return;
    }
    this.#talk?.destroy();
    this.#talk = talk;
    this.#failures = 0;
    addAddress(this.#entry, talk.address, true);
  }

  /** It spoke to us; if it is the one that speaks first, our own turn moves on. */
  heardFirst(nowMs: number): void {
    if (this.#ports.selfId < this.#entry.id) return;
    this.nextBeatMs = nowMs + heartbeatDueMs(this.#ports.selfId, this.#entry.id, this.#entry.intervalMs);
  }

  /** The next heartbeat is due then at the latest. */
  hasten(dueMs: number): void {
    this.nextBeatMs = Math.min(this.nextBeatMs, dueMs);
  }

  /** Sends a heartbeat now, or right after the one under way. Never rejects. */
  async beat(): Promise<void> {
    if (this.#beating) {
      this.#again = true;
      return;
    }
    this.#beating = true;
    do {
      this.#again = false;
      await this.#beatOnce();
    } while (this.#again && !this.failing && !this.#destroyed);
    this.#beating = false;
  }

  /** @throws PeerError, or what the peer threw */
  async command(name: string, body: unknown, options: PeerRequestOptions): Promise<unknown> {
    const [best] = this.#entry.addresses;
    if (!best)
      throw new PeerError(`no address of ${this.#entry.status.name} is known`, 'Wait until it is found again.');
    if (this.#commands?.address.host !== best.host || this.#commands.address.port !== best.port) {
      this.#commands?.destroy();
      this.#commands = this.#open(best, true);
    }
    return this.#commands.command(name, body, options);
  }

  destroy(): void {
    this.#destroyed = true;
    this.#talk?.destroy();
    this.#commands?.destroy();
  }

  #open(address: PeerAddress, commands: boolean): PeerTalk {
    const { credentials, hello } = this.#ports;
    return new PeerTalk({ credentials, address, expected: this.#entry.id, hello: () => hello(), commands });
  }

  async #beatOnce(): Promise<void> {
    const { now } = this.#ports;
    const entry = this.#entry;
    const [best] = entry.addresses;
    if (!best || this.#destroyed) return;
    const sentMs = now();
    // In any case not again before this; success and failure say it more precisely.
    this.nextBeatMs = sentMs + entry.intervalMs;
    this.#talk ??= this.#open(best, false);
    const talk = this.#talk;
    try {
      const timeoutMs = Math.max(TIMEOUT_MS_MIN, Math.min(entry.intervalMs, 2000) * TIMEOUT_INTERVALS);
      const reply = await talk.beat(greetedAgain => {
        if (greetedAgain) entry.acknowledged = '';
        return this.#ports.beatFor(entry);
      }, timeoutMs);
      if (this.#destroyed) return;
      this.#failures = 0;
      this.nextBeatMs = sentMs + heartbeatDueMs(this.#ports.selfId, entry.id, entry.intervalMs);
      this.#ports.onBeat(entry.id, reply);
    } catch (error) {
      this.#onFailure(talk, error);
    }
  }

  #onFailure(talk: PeerTalk, error: unknown): void {
    talk.destroy();
    if (this.#destroyed || this.#talk !== talk) return;
    this.#talk = undefined;
    this.#failures += 1;
    const retryMs = Math.min(RETRY_MS_MIN * 2 ** Math.min(this.#failures - 1, 10), RETRY_MS_MAX);
    this.nextBeatMs = this.#ports.now() + retryMs;
    const entry = this.#entry;
    const others = entry.addresses.filter(({ host, port }) => host !== talk.address.host || port !== talk.address.port);
    // The next attempt goes to the next address; one where somebody else lives now is not tried again. Where another
    // Pi has the last one, nothing is tried until the peer is found elsewhere.
    const foreign = error instanceof TrustError;
    const moved = error instanceof AnotherPi;
    entry.addresses = moved || (foreign && others.length > 0) ? others : [...others, talk.address];
    if (foreign) this.#ports.onRefused(error, talk.address);
  }
}
