/** The Peers port: finds out who answers at hinted addresses, exchanges heartbeats with them, and carries commands. */
import type { Logger } from 'pino';
import { FORGET_AFTER_MS, HEARTBEAT_INTERVAL_MS } from '../core/liveness.ts';
import type { NodeId, Peer, PeerHint, PiStatus } from '../core/world.ts';
import { isPiSwarmError, messageOf, NotFoundError, PeerError } from '../errors.ts';
import type { Clock, Network, PeerRefusals, PeerRequestOptions, Peers } from '../ports.ts';
import { VERSION } from '../version.ts';
import { AgentServer } from './agent-server.ts';
import type { Cluster } from './cluster.ts';
import type { Identity } from './identity.ts';
import { OwnStatus } from './own-status.ts';
import { type PeerAddress, peerCredentials } from './peer-client.ts';
import { PeerDialer } from './peer-dialer.ts';
import { type LinkPorts, PeerLink } from './peer-link.ts';
import { type Beat, type Hello, VERSIONS, type VersionRange } from './peer-protocol.ts';
import { PeerRoutes } from './peer-routes.ts';
import { addAddress, type PeerEntry, PeerTable } from './peer-table.ts';
import { isRefusal, PeerTalk } from './peer-talk.ts';
import { Refusals } from './refusals.ts';

/** Essential news wait this long for more of them, then go out at once. */
const PUSH_DELAY_MS = 20;
const TICKS_PER_INTERVAL = 4;
/** One greeting's worth of time for a heartbeat to somebody new. */
const FIRST_BEAT_TIMEOUT_MS = 3000;

export interface TlsPeersOptions {
  cluster: Cluster;
  identity: Identity;
  /** Issues this Pi's certificate (PEM) for the addresses it has now. */
  certificate: () => string;
  /** `offer` is told what authenticated peers say the time is. */
  clock: Clock & { offer?(wallMs: number): void };
  /** Where addresses change, the certificate is issued anew. */
  network?: Pick<Network, 'onChange'>;
  /** 0: one that is free, see `server.port`. */
  port: number;
  log?: Pick<Logger, 'info' | 'warn'>;
  /** The rest is for tests. */
  host?: string;
  heartbeatMs?: number;
  forgetMs?: number;
  versions?: VersionRange;
}

export class TlsPeers implements Peers {
  /** Shared: the page and the endpoint add their routes here. */
  readonly server: AgentServer;
  readonly #options: TlsPeersOptions;
  readonly #selfId: NodeId;
  readonly #intervalMs: number;
  readonly #refusals: Refusals;
  readonly #routes: PeerRoutes;
  readonly #table: PeerTable;
  readonly #links = new Map<NodeId, PeerLink>();
  /** Whoever is greeted for the first time. */
  readonly #dialling = new Set<PeerTalk>();
  readonly #linkPorts: LinkPorts;
  readonly #dialer: PeerDialer;
  readonly #own = new OwnStatus();
  readonly #listeners: (() => void)[] = [];
  #handler: ((from: NodeId, command: string, body: unknown) => Promise<unknown>) | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #push: NodeJS.Timeout | undefined;
  #notifying = false;
  #stopped = false;

  constructor(options: TlsPeersOptions) {
    const { cluster, identity, clock } = options;
    const certificate = options.certificate();
    this.#options = options;
    this.#selfId = identity.id;
    this.#intervalMs = options.heartbeatMs ?? HEARTBEAT_INTERVAL_MS;
    this.#refusals = new Refusals(clock, options.log);
    this.#table = new PeerTable(this.#intervalMs);
    const { port, host } = options;
    this.server = new AgentServer({ cluster, identity, certificate, clock, refusals: this.#refusals, port, host });
    const credentials = peerCredentials(cluster, identity, certificate, clock);
    this.#linkPorts = {
      selfId: identity.id,
      credentials,
      now: () => clock.now(),
      hello: () => this.#hello(),
      beatFor: entry => this.#beatFor(entry),
      onBeat: (id, beat) => this.#onBeat(id, beat),
      onRefused: (error, address) => this.#noteRefused(error, address),
    };
    this.#routes = new PeerRoutes(
      {
        hello: () => this.#hello(),
        onHello: (from, address) => this.hint({ id: from.id, host: address, port: from.port }),
        onBeat: (from, beat, address) => this.#onBeatFromOutside(from, beat, address),
        onCommand: (from, name, body) => this.#onCommand(from, name, body),
      },
      this.#refusals,
    );
    this.server.route(this.#routes.route());
    options.network?.onChange(() => {
      if (!this.#stopped) this.server.setCertificate(options.certificate());
    });
    this.#dialer = new PeerDialer({
      now: () => clock.now(),
      random: () => clock.random(),
      ready: () => this.#own.status !== undefined,
      connect: address => this.#connect(address),
      isRefusal,
    });
  }

  /** @throws EnvironmentError when the port is taken */
  async start(): Promise<void> {
    await this.server.listen();
    this.#ticker = setInterval(() => this.#tick(), this.#intervalMs / TICKS_PER_INTERVAL);
  }

  setStatus(status: PiStatus): void {
    const first = this.#own.status === undefined;
    const novelty = this.#own.set(status);
    if (first) this.#dialer.tick();
    if (first || novelty !== 'essential' || this.#stopped) return;
    this.#push ??= setTimeout(() => {
      this.#push = undefined;
      for (const entry of this.#table.entries())
        if (entry.intervalMs === this.#intervalMs) void this.#linkOf(entry).beat();
    }, PUSH_DELAY_MS);
  }

  hint(hint: PeerHint): void {
    if (this.#stopped || hint.id === this.#selfId) return;
    const now = this.#options.clock.now();
    const known = hint.id === undefined ? undefined : this.#table.get(hint.id);
    if (!known) {
      const settled = this.#table.entries().some(entry => this.#isSettledAt(entry, hint));
      if (!settled) this.#dialer.hint(hint);
      return;
    }
    const link = this.#linkOf(known);
    addAddress(known, hint, link.failing);
    if (link.failing) link.hasten(now);
  }

  probe(id: NodeId): void {
    const entry = this.#table.get(id);
    if (entry && !this.#stopped) void this.#linkOf(entry).beat();
  }

  list(): Peer[] {
    const now = this.#options.clock.now();
    this.#table.look(now);
    return this.#table.list(now);
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async request(to: NodeId, command: string, body: unknown, options: PeerRequestOptions = {}): Promise<unknown> {
    const entry = this.#table.get(to);
    if (!entry || this.#stopped) throw new PeerError(`${to} is not a known peer`, 'Wait until it is found again.');
    return this.#linkOf(entry).command(command, body, options);
  }

  onRequest(handler: (from: NodeId, command: string, body: unknown) => Promise<unknown>): void {
    this.#handler = handler;
  }

  refusals(): PeerRefusals {
    return this.#refusals.summary();
  }

  /** By reason, for `doctor`. */
  refusalsByReason(): Record<string, number> {
    return this.#refusals.byReason();
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    clearInterval(this.#ticker);
    clearTimeout(this.#push);
    this.#dialer.stop();
    for (const one of [...this.#links.values(), ...this.#dialling]) one.destroy();
    this.#listeners.length = 0;
    await this.server.close();
  }

  #tick(): void {
    const now = this.#options.clock.now();
    this.#table.look(now);
    for (const { id } of this.#table.forget(now, this.#options.forgetMs ?? FORGET_AFTER_MS)) this.#drop(id);
    if (!this.#own.status) return;
    for (const entry of this.#table.setIntervals(this.#own.status, now))
      this.#linkOf(entry).hasten(now + entry.intervalMs);
    // Half a tick early is better than three quarters of an interval late.
    const slackMs = this.#intervalMs / TICKS_PER_INTERVAL / 2;
    for (const entry of this.#table.entries()) {
      const link = this.#linkOf(entry);
      if (now + slackMs >= link.nextBeatMs) void link.beat();
    }
    this.#dialer.tick();
    if (this.#table.refresh(now)) this.#notify();
  }

  #linkOf(entry: PeerEntry): PeerLink {
    let link = this.#links.get(entry.id);
    if (!link) {
      link = new PeerLink(entry, this.#linkPorts);
      this.#links.set(entry.id, link);
    }
    return link;
  }

  #drop(id: NodeId): void {
    this.#links.get(id)?.destroy();
    this.#links.delete(id);
    this.#routes.forget(id);
    this.#notify();
  }

  /** Follows one hint to its end: greets whoever is there and takes it up as a peer. @throws what the dialer waits for */
  async #connect(address: PeerAddress): Promise<void> {
    const { credentials } = this.#linkPorts;
    const talk = new PeerTalk({ credentials, address, hello: () => this.#hello() });
    this.#dialling.add(talk);
    try {
      const id = await talk.greet();
      if (id === this.#selfId || this.#stopped) return talk.destroy();
      const beat = await talk.beat(() => this.#beatFor(undefined), FIRST_BEAT_TIMEOUT_MS);
      const entry = this.#onBeat(id, beat);
      if (!entry || this.#stopped) throw new PeerError(`${address.host} says nothing of itself yet`);
      this.#linkOf(entry).adopt(talk);
    } catch (error) {
      talk.destroy();
      if (isRefusal(error)) this.#noteRefused(error, address);
      throw error;
    } finally {
      this.#dialling.delete(talk);
    }
  }

  #noteRefused(error: unknown, { host, port }: PeerAddress): void {
    const reason = isPiSwarmError(error) && 'reason' in error ? String(error.reason) : 'version';
    this.#refusals.note(reason, `${host}:${port}`, messageOf(error));
  }

  #isSettledAt(entry: PeerEntry, { host, port }: PeerHint): boolean {
    if (entry.liveness !== 'alive' || this.#links.get(entry.id)?.failing === true) return false;
    return entry.addresses.some(known => known.host === host && known.port === port);
  }

  #hello(): Hello {
    const { versions = VERSIONS } = this.#options;
    const name = this.#own.status?.name ?? this.#selfId;
    return { id: this.#selfId, versions, release: VERSION, name, port: this.server.port };
  }

  #beatFor(entry: PeerEntry | undefined): Beat {
    return this.#own.beatFor(entry, this.#options.clock.wall());
  }

  #onBeat(id: NodeId, beat: Beat): PeerEntry | undefined {
    if (beat.status && beat.status.id !== id) return undefined;
    const news = beat.status ? { etag: beat.etag, status: { ...beat.status, wallMs: beat.wallMs } } : undefined;
    const [entry, tell] = this.#table.heard(id, this.#options.clock.now(), beat.wallMs, news);
    if (!entry) return undefined;
    entry.acknowledged = beat.seen;
    this.#options.clock.offer?.(beat.wallMs);
    for (const gossip of news?.status.peers ?? []) if (!gossip.id || !this.#table.get(gossip.id)) this.hint(gossip);
    if (tell) this.#notify();
    return entry;
  }

  #onBeatFromOutside(from: NodeId, beat: Beat, address: string): Beat {
    const entry = this.#onBeat(from, beat);
    if (entry) {
      const link = this.#linkOf(entry);
      addAddress(entry, { host: address, port: entry.status.port }, link.failing || entry.addresses.length === 0);
      if (link.failing) link.hasten(this.#options.clock.now());
      link.heardFirst(this.#options.clock.now());
    }
    return this.#beatFor(entry);
  }

  async #onCommand(from: NodeId, name: string, body: unknown): Promise<unknown> {
    if (!this.#handler) throw new NotFoundError(`this Pi knows no command ${name}`);
    return this.#handler(from, name, body);
  }

  #notify(): void {
    if (this.#notifying) return;
    this.#notifying = true;
    setImmediate(() => {
      this.#notifying = false;
      this.#table.refresh(this.#options.clock.now());
      for (const listener of this.#listeners) listener();
    });
  }
}
