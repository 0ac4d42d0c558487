/** What is known of the peers, all of it authenticated: one entry each, bounded, with liveness by silence. */
import { excuseAfterPause, FORGET_AFTER_MS, heartbeatTargets, livenessOf } from '../core/liveness.ts';
import type { Liveness, NodeId, Peer, PiStatus } from '../core/world.ts';
import type { PeerAddress } from './peer-client.ts';
import { PEERS_MAX } from './peer-protocol.ts';

const ADDRESSES_MAX = 4;

export interface PeerEntry {
  readonly id: NodeId;
  readonly firstSeenMs: number;
  lastSeenMs: number;
  status: PiStatus;
  /** The name of `status`. */
  etag: string;
  /** Which of our own statuses it has seen. */
  acknowledged: string;
  /** Best first. */
  addresses: PeerAddress[];
  intervalMs: number;
  /** As last reported to listeners. */
  liveness: Liveness;
}

const sameAddress = (a: PeerAddress, b: PeerAddress): boolean => a.host === b.host && a.port === b.port;

/** Puts an address first, or last where it is only worth a try. */
export function addAddress(entry: PeerEntry, address: PeerAddress, first: boolean): void {
  if (!first && entry.addresses.some(known => sameAddress(known, address))) return;
  const others = entry.addresses.filter(known => !sameAddress(known, address));
  const { host, port } = address;
  entry.addresses = first
    ? [{ host, port }, ...others].slice(0, ADDRESSES_MAX)
    : [...others.slice(0, ADDRESSES_MAX - 1), { host, port }];
}

/** What must be known at once; the rest may wait for the next heartbeat. */
export const essenceOf = (status: PiStatus): string =>
  JSON.stringify([
    status.boot,
    status.name,
    status.address,
    status.engine,
    status.swarm,
    status.intent,
    status.candidate,
    status.dissolving,
    status.members,
    status.leaving,
    status.released,
    status.meshVersion,
    status.meshApplied,
    status.events,
    status.images,
  ]);

export class PeerTable {
  readonly #entries = new Map<NodeId, PeerEntry>();
  readonly #intervalMs: number;
  #lookedMs: number | undefined;
  #excusedUntilMs: number | undefined;

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  get(id: NodeId): PeerEntry | undefined {
    return this.#entries.get(id);
  }

  entries(): PeerEntry[] {
    return [...this.#entries.values()];
  }

  /**
   * Something authenticated came from this peer.
   * @param news its status, where it sent one; without one nothing is made of an unknown peer
   * @returns the entry, and whether listeners should know of it
   */
  heard(
    id: NodeId,
    nowMs: number,
    wallMs: number,
    news?: { etag: string; status: PiStatus },
  ): [PeerEntry | undefined, boolean] {
    const entry = this.#entries.get(id);
    if (!entry) return news ? [this.#add(id, nowMs, news), true] : [undefined, false];
    entry.lastSeenMs = nowMs;
    const changed = news !== undefined && essenceOf(news.status) !== essenceOf(entry.status);
    if (news) {
      entry.etag = news.etag;
      entry.status = news.status;
    } else {
      entry.status = { ...entry.status, wallMs };
    }
    return [entry, changed || entry.liveness !== 'alive'];
  }

  #add(id: NodeId, nowMs: number, news: { etag: string; status: PiStatus }): PeerEntry | undefined {
    if (this.#entries.size >= PEERS_MAX) return undefined;
    const entry: PeerEntry = {
      id,
      firstSeenMs: nowMs,
      lastSeenMs: nowMs,
      ...news,
      acknowledged: '',
      addresses: [],
      intervalMs: this.#intervalMs,
      liveness: 'alive',
    };
    this.#entries.set(id, entry);
    return entry;
  }

  /** Notices pauses of this process, so that nobody is blamed for words that wait unread. To be called often. */
  look(nowMs: number): void {
    if (this.#lookedMs !== undefined) {
      this.#excusedUntilMs = excuseAfterPause(nowMs, nowMs - this.#lookedMs, this.#intervalMs) ?? this.#excusedUntilMs;
    }
    this.#lookedMs = nowMs;
  }

  livenessOf(entry: PeerEntry, nowMs: number): Liveness {
    const { lastSeenMs, intervalMs } = entry;
    return livenessOf({ nowMs, lastSeenMs, intervalMs, excusedUntilMs: this.#excusedUntilMs });
  }

  /** Updates what is reported; true when somebody's liveness changed. */
  refresh(nowMs: number): boolean {
    let changed = false;
    for (const entry of this.#entries.values()) {
      const liveness = this.livenessOf(entry, nowMs);
      if (liveness === entry.liveness) continue;
      entry.liveness = liveness;
      changed = true;
    }
    return changed;
  }

  /** Sets the pace with each peer (see `heartbeatTargets`); returns those for whom it changed. */
  setIntervals(self: PiStatus, nowMs: number): PeerEntry[] {
    const statuses = this.entries().map(entry => entry.status);
    return heartbeatTargets(self, statuses, this.#intervalMs).flatMap(({ id, intervalMs }) => {
      const entry = this.#entries.get(id);
      if (!entry || entry.intervalMs === intervalMs) return [];
      // Nobody is blamed for the silence of the slower pace that was.
      if (intervalMs < entry.intervalMs) entry.lastSeenMs = Math.max(entry.lastSeenMs, nowMs - intervalMs);
      entry.intervalMs = intervalMs;
      return [entry];
    });
  }

  /** Drops and returns those that were not heard for ten minutes. */
  forget(nowMs: number, forgetMs = FORGET_AFTER_MS): PeerEntry[] {
    const gone = this.entries().filter(entry => nowMs - entry.lastSeenMs >= forgetMs);
    for (const entry of gone) this.#entries.delete(entry.id);
    return gone;
  }

  list(nowMs: number): Peer[] {
    return this.entries().map(entry => ({
      id: entry.id,
      liveness: this.livenessOf(entry, nowMs),
      firstSeenMs: entry.firstSeenMs,
      lastSeenMs: entry.lastSeenMs,
      status: entry.status,
    }));
  }
}
