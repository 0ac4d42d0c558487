/**
 * A LAN in memory for whole-cluster tests: FakeDiscovery and FakePeers for each Pi, joined by a FakeLan that a fake clock
 * drives. Nothing happens by itself: `step()` lets everything happen that is due by the clock, in the order of ids, so
 * the same calls give the same history. Knowledge and liveness are those of the real thing (PeerTable, OwnStatus).
 */
import { heartbeatDueMs } from '../../src/core/liveness.ts';
import type { NodeId, Peer, PeerHint, PiStatus } from '../../src/core/world.ts';
import { fromWire, isPiSwarmError, PeerError, PiSwarmError } from '../../src/errors.ts';
import { OwnStatus } from '../../src/io/own-status.ts';
import { type PeerEntry, PeerTable } from '../../src/io/peer-table.ts';
import type { Clock, PeerRefusals, PeerRequestOptions, Peers } from '../../src/ports.ts';
import { FakeDiscovery } from './discovery.ts';

export interface FakeLanOptions {
  clock: Pick<Clock, 'now' | 'wall'>;
  heartbeatMs?: number;
  forgetMs?: number;
  /** From an essential change to its push. */
  pushDelayMs?: number;
  /** How often each Pi announces itself; the first time at its start. */
  announceEveryMs?: number;
  /** Decides about each exchange whether it gets lost; for seeded tests. */
  lose?: (from: NodeId, to: NodeId) => boolean;
}

export interface FakePiOptions {
  /** Clusters with different tags refuse each other. */
  tag?: string;
  /** Default: 10.0.0.1, 10.0.0.2, … in the order of attachment. */
  host?: string;
  port?: number;
}

export interface FakePi {
  id: NodeId;
  tag: string;
  host: string;
  port: number;
  discovery: FakeDiscovery;
  peers: FakePeers;
}

export class FakeLan {
  readonly #options: FakeLanOptions;
  readonly #pis = new Map<NodeId, FakePi>();
  readonly #off = new Set<NodeId>();
  #groups: Set<NodeId>[] = [];
  #hosts = 0;

  constructor(options: FakeLanOptions) {
    this.#options = options;
  }

  /** A Pi's agent starts (again): ports for it. An earlier agent of the same id is cut off. It is powered on. */
  attach(id: NodeId, options: FakePiOptions = {}): FakePi {
    const before = this.#pis.get(id);
    const host = options.host ?? before?.host ?? `10.0.0.${++this.#hosts}`;
    const { tag = 'cluster', port = 3378 } = options;
    const discovery = new FakeDiscovery(this.#options.clock, this.#options.announceEveryMs);
    const peers = new FakePeers(id, this, this.#options);
    const pi = { id, tag, host, port, discovery, peers };
    this.#pis.set(id, pi);
    this.#off.delete(id);
    return pi;
  }

  /** A power cut, or its end: without a word, both ways. */
  power(id: NodeId, state: 'on' | 'off'): void {
    if (state === 'off') this.#off.add(id);
    else this.#off.delete(id);
  }

  /** Only members of the same group reach each other; who is in no group reaches nobody. */
  partition(...groups: NodeId[][]): void {
    this.#groups = groups.map(group => new Set(group));
  }

  heal(): void {
    this.#groups = [];
  }

  reachable(a: NodeId, b: NodeId): boolean {
    if (this.#off.has(a) || this.#off.has(b)) return false;
    return this.#groups.length === 0 || this.#groups.some(group => group.has(a) && group.has(b));
  }

  find(id: NodeId): FakePi | undefined {
    return this.#pis.get(id);
  }

  at({ host, port }: PeerHint): FakePi | undefined {
    return [...this.#pis.values()].find(pi => pi.host === host && pi.port === port);
  }

  /** Whether the agent is still the one that runs there, and has power. */
  runs(peers: FakePeers): boolean {
    return this.#pis.get(peers.id)?.peers === peers && !this.#off.has(peers.id);
  }

  /** Everything that is due by the clock happens now. */
  step(): void {
    const pis = [...this.#pis.values()].filter(pi => !this.#off.has(pi.id)).sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const pi of pis) this.#announce(pi, pis);
    for (const pi of pis) pi.peers.step();
  }

  #announce(pi: FakePi, all: FakePi[]): void {
    const news = pi.discovery.takeNews();
    if (!news) return;
    const others = all.filter(other => other.id !== pi.id && other.tag === pi.tag && this.reachable(pi.id, other.id));
    for (const other of others) {
      if (news === 'goodbye') other.discovery.hearGoodbye(pi.id);
      else other.discovery.hearHint({ id: pi.id, host: pi.host, port: pi.port });
      // A newcomer's question is answered by those that are there.
      if (news === 'first' && other.discovery.running)
        pi.discovery.hearHint({ id: other.id, host: other.host, port: other.port });
    }
  }
}

interface Due {
  atMs: number;
}

export class FakePeers implements Peers {
  readonly id: NodeId;
  readonly #lan: FakeLan;
  readonly #clock: FakeLanOptions['clock'];
  readonly #options: FakeLanOptions;
  readonly #heartbeatMs: number;
  readonly #table: PeerTable;
  readonly #own = new OwnStatus();
  readonly #hints = new Map<string, PeerHint>();
  readonly #beats = new Map<NodeId, Due>();
  readonly #listeners: (() => void)[] = [];
  #handler: ((from: NodeId, command: string, body: unknown) => Promise<unknown>) | undefined;
  #refusals: PeerRefusals = { count: 0 };
  #pushMs: number | undefined;
  #running = false;
  #news = false;

  constructor(id: NodeId, lan: FakeLan, options: FakeLanOptions) {
    this.id = id;
    this.#lan = lan;
    this.#clock = options.clock;
    this.#options = options;
    this.#heartbeatMs = options.heartbeatMs ?? 1000;
    this.#table = new PeerTable(this.#heartbeatMs);
  }

  get running(): boolean {
    return this.#running;
  }

  async start(): Promise<void> {
    this.#running = true;
  }

  setStatus(status: PiStatus): void {
    if (this.#own.set(structuredClone(status)) === 'essential') {
      this.#pushMs ??= this.#clock.now() + (this.#options.pushDelayMs ?? 20);
    }
  }

  hint(hint: PeerHint): void {
    if (hint.id !== this.id && this.#hints.size < 1024) this.#hints.set(`${hint.host}:${hint.port}`, hint);
  }

  probe(id: NodeId): void {
    this.#beats.set(id, { atMs: this.#clock.now() });
  }

  list(): Peer[] {
    return structuredClone(this.#table.list(this.#clock.now()));
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async request(to: NodeId, command: string, body: unknown, options: PeerRequestOptions = {}): Promise<unknown> {
    const target = this.#target(to);
    if (!target || options.signal?.aborted) throw new PeerError(`${to} did not answer`, 'Is it switched on?');
    const answer = await target.#answer(this.id, command, toJson(body));
    if (this.#target(to) !== target || options.signal?.aborted) throw new PeerError(`${to} did not answer`);
    return answer;
  }

  onRequest(handler: (from: NodeId, command: string, body: unknown) => Promise<unknown>): void {
    this.#handler = handler;
  }

  refusals(): PeerRefusals {
    return this.#refusals;
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#listeners.length = 0;
  }

  /** Called by the LAN: hints are followed, heartbeats go out, silence is judged, listeners are told. */
  step(): void {
    if (!this.#running || !this.#own.status) return;
    const now = this.#clock.now();
    for (const hint of this.#hints.values()) this.#follow(hint);
    this.#hints.clear();
    this.#table.setIntervals(this.#own.status, now);
    const push = this.#pushMs !== undefined && now >= this.#pushMs;
    if (push) this.#pushMs = undefined;
    for (const entry of this.#table.entries()) {
      const dueMs =
        this.#beats.get(entry.id)?.atMs ?? entry.lastSeenMs + heartbeatDueMs(this.id, entry.id, entry.intervalMs);
      if (now >= dueMs || (push && entry.intervalMs === this.#heartbeatMs)) this.#beat(entry, now);
    }
    this.#table.forget(now, this.#options.forgetMs);
    if (this.#table.refresh(now)) this.#news = true;
    if (!this.#news) return;
    this.#news = false;
    for (const listener of this.#listeners) listener();
  }

  #target(to: NodeId): FakePeers | undefined {
    const pi = this.#lan.find(to);
    if (!pi?.peers.running || !this.#lan.runs(this) || !this.#lan.reachable(this.id, to)) return undefined;
    if (pi.tag !== this.#lan.find(this.id)?.tag || !this.#table.get(to)) return undefined;
    return pi.peers;
  }

  #follow(hint: PeerHint): void {
    const pi = this.#lan.at(hint);
    if (!pi || pi.id === this.id || !pi.peers.running || !this.#lan.reachable(this.id, pi.id)) return;
    if (pi.tag !== this.#lan.find(this.id)?.tag) {
      this.#refuse(pi.host);
      pi.peers.#refuse(this.#lan.find(this.id)?.host ?? '');
      return;
    }
    if (this.#table.get(pi.id)?.liveness !== 'alive') this.#exchange(pi.peers);
  }

  #refuse(from: string): void {
    this.#refusals = { count: this.#refusals.count + 1, last: { reason: 'foreign', from, atMs: this.#clock.wall() } };
  }

  #beat(entry: PeerEntry, now: number): void {
    const passiveFactor = this.id < entry.id ? 1 : 1.5;
    this.#beats.set(entry.id, { atMs: now + entry.intervalMs * passiveFactor });
    const target = this.#target(entry.id);
    if (target) this.#exchange(target);
  }

  #exchange(other: FakePeers): void {
    const mine = this.#own.status;
    const theirs = other.#own.status;
    if (!mine || !theirs || this.#options.lose?.(this.id, other.id) === true) return;
    other.#hear(this.id, mine, this.#own.etag);
    this.#hear(other.id, theirs, other.#own.etag);
  }

  #hear(from: NodeId, said: PiStatus, etag: string): void {
    const now = this.#clock.now();
    const before = this.#table.get(from);
    const status = { ...said, wallMs: this.#clock.wall() };
    const [, tell] = this.#table.heard(from, now, status.wallMs, { etag, status });
    if (tell) this.#news = true;
    // The one that listens moves its own turn on.
    if (this.id > from) this.#beats.delete(from);
    if (before?.etag !== etag) for (const hint of said.peers) if (hint.id && !this.#table.get(hint.id)) this.hint(hint);
  }

  async #answer(from: NodeId, command: string, body: unknown): Promise<unknown> {
    if (!this.#handler) throw new PiSwarmError('notFound', `this Pi knows no command ${command}`);
    try {
      return toJson(await this.#handler(from, command, body));
    } catch (error) {
      if (isPiSwarmError(error)) throw fromWire(toJson(error.toWire()));
      throw new PiSwarmError('failure', 'the agent failed to answer this', 'See its log.', { cause: error });
    }
  }
}

const toJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value ?? null));
