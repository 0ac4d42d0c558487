/**
 * Finding the other Pis over mDNS (RFC 6762, 6763): the Discovery port on bonjour-service.
 *
 * bonjour-service builds our records and answers questions. Its own browser and publisher stay unused: the browser keeps
 * every forged name for ever and asks once; the publisher announces docker's bridges too, and waits 750 ms for a name
 * conflict that cannot happen, because our instance name is the node id.
 */
import bonjour from 'bonjour-service';
import type { Logger } from 'pino';
import type { NodeId, PeerHint } from '../core/world.ts';
import { messageOf } from '../errors.ts';
import type { Clock, Discovery, Network, NetworkState } from '../ports.ts';
import { type MdnsPacket, type OwnRecord, readPacket, SERVICE_NAME, SERVICE_TYPE, txtOf } from './mdns-record.ts';
import { MDNS_PORT, MdnsSocket, type SocketCounts } from './mdns-socket.ts';

/** Questions after the start: at once and again soon (UDP gets lost), then each half minute to minute. */
const QUERY_DELAYS_MS = [0, 250, 750, 2000, 7000];
const QUERY_EVERY_MS = 30_000;
/** Unasked announcements: what heals a network that was cut in two and is whole again. One packet of 300 bytes. */
const ANNOUNCE_DELAYS_MS = [0, 1000];
const ANNOUNCE_EVERY_MS = 10_000;
/** A stranger's packet is answered with an announcement after a random pause (RFC 6762 §6: 20–120 ms). */
const GREET_MIN_MS = 20;
const GREET_SPREAD_MS = 100;
const GREET_EVERY_MS = 1000;
/** With more Pis than this the packets get rarer, so that their sum stays the same. */
const PIS_AT_FULL_RATE = 16;
const PERIOD_MS_MAX = 10 * 60_000;
const HINTS_MAX = 256;
const FOREIGN_TAGS_MAX = 32;
const FOREIGN_MS = 10 * 60_000;
/** Anybody can make up clusters: how often one more of them is worth a line in the log. */
const FOREIGN_LOG_EVERY_MS = 60_000;
const RETRY_MS_MAX = 30_000;
const GOODBYE_MS_MAX = 300;

export interface MdnsOptions extends OwnRecord {
  network: Network;
  clock: Clock;
  log?: Pick<Logger, 'info' | 'warn'>;
}

export interface MdnsStats extends SocketCounts {
  /** Records of our service type that were not what they should be. */
  invalid: number;
  /** Other clusters heard of in the last ten minutes. */
  foreignClusters: number;
}

type ServiceRecords = ReturnType<InstanceType<typeof bonjour.Service>['records']>;

/** The part of bonjour-service's server that is used; its types keep it private. */
interface BonjourServer {
  register(records: ServiceRecords): void;
  mdns: {
    on(event: 'response', listener: (packet: MdnsPacket, from: { address: string }) => void): void;
    on(event: 'error' | 'warning', listener: () => void): void;
    query(questions: { name: string; type: 'PTR' }[], callback: () => void): void;
    respond(records: ServiceRecords, callback: () => void): void;
  };
}

/** One running instance, for one address of one interface. */
interface Session {
  socket: MdnsSocket;
  server: BonjourServer;
  records: ServiceRecords;
  close(): void;
}

export class MdnsDiscovery implements Discovery {
  readonly #options: MdnsOptions;
  readonly #hintListeners: ((hint: PeerHint) => void)[] = [];
  readonly #goodbyeListeners: ((id: NodeId) => void)[] = [];
  readonly #known = new Map<NodeId, PeerHint>();
  readonly #foreign = new Map<string, number>();
  readonly #counts: SocketCounts = { oversized: 0, malformed: 0, flooded: 0, unsent: 0 };
  readonly #timers = new Map<'query' | 'announce' | 'greet' | 'reopen', NodeJS.Timeout>();
  #invalid = 0;
  #greetedMs = Number.NEGATIVE_INFINITY;
  #foreignLoggedMs = Number.NEGATIVE_INFINITY;
  #session: Session | undefined;
  /** Counts rebuilds, so that a slow one notices that it is out of date. */
  #generation = 0;
  #running = false;

  constructor(options: MdnsOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    this.#options.network.onChange(state => void this.#rebuild(state));
    await this.#rebuild(this.#options.network.state());
  }

  onHint(listener: (hint: PeerHint) => void): void {
    this.#hintListeners.push(listener);
  }

  onGoodbye(listener: (id: NodeId) => void): void {
    this.#goodbyeListeners.push(listener);
  }

  /** What was dropped, and how many other clusters are around; for `status` and `doctor`. */
  stats(): MdnsStats {
    const since = this.#options.clock.now() - FOREIGN_MS;
    const foreignClusters = [...this.#foreign.values()].filter(atMs => atMs >= since).length;
    return { ...this.#counts, invalid: this.#invalid, foreignClusters };
  }

  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    const session = this.#session;
    this.#session = undefined;
    this.#generation += 1;
    this.#stopTimers();
    if (!session) return;
    const goodbyes = session.records.map(record => ({ ...record, ttl: 0 }));
    await new Promise<void>(resolve => {
      const limit = setTimeout(resolve, GOODBYE_MS_MAX);
      session.server.mdns.respond(goodbyes, () => {
        clearTimeout(limit);
        resolve();
      });
    });
    session.close();
  }

  async #rebuild(state: NetworkState, retryMs = 1000): Promise<void> {
    if (!this.#running) return;
    this.#generation += 1;
    const generation = this.#generation;
    this.#stopTimers();
    this.#session?.close();
    this.#session = undefined;
    if (!state.chosen) return;
    try {
      const session = await this.#open(state.chosen.address);
      if (generation !== this.#generation) session.close();
      else this.#begin(session);
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#options.log?.warn(
        { interface: state.chosen.name, problem: messageOf(error) },
        'mDNS cannot start here; trying again',
      );
      this.#after(
        'reopen',
        retryMs,
        () => void this.#rebuild(this.#options.network.state(), Math.min(2 * retryMs, RETRY_MS_MAX)),
      );
    }
  }

  async #open(address: string): Promise<Session> {
    const socket = await MdnsSocket.open(address, () => this.#options.clock.now(), this.#counts);
    // The default callback throws from a timer when a packet cannot be sent; the socket has counted it already.
    const instance = new bonjour.Bonjour(bonjourOptions(socket), () => {});
    const server = Reflect.get(instance, 'server') as BonjourServer;
    const records = recordsFor(this.#options, address);
    server.mdns.on('error', () => {});
    server.mdns.on('warning', () => {
      this.#counts.malformed += 1;
    });
    server.mdns.on('response', (packet, from) => this.#onResponse(packet, from.address));
    server.register(records);
    return { socket, server, records, close: () => instance.destroy() };
  }

  #begin(session: Session): void {
    this.#session = session;
    this.#repeat('query', QUERY_DELAYS_MS, QUERY_EVERY_MS, () => this.#query());
    this.#repeat('announce', ANNOUNCE_DELAYS_MS, ANNOUNCE_EVERY_MS, () => this.#announce());
  }

  #query(): void {
    this.#session?.server.mdns.query([{ name: SERVICE_NAME, type: 'PTR' }], () => {});
  }

  #announce(): void {
    this.#session?.socket.rejoin();
    this.#session?.server.mdns.respond(this.#session.records, () => {});
  }

  /** Runs `action` after each of the first delays, then on and on with a jittered period. */
  #repeat(timer: 'query' | 'announce', delays: readonly number[], everyMs: number, action: () => void): void {
    const [first, ...later] = delays;
    const crowd = Math.max(1, this.#known.size / PIS_AT_FULL_RATE);
    // Jitter 1–2 × for the long run, so that Pis that were switched on together do not speak together for ever.
    const delay = first ?? Math.min(everyMs * crowd, PERIOD_MS_MAX) * (1 + this.#options.clock.random());
    this.#after(timer, delay, () => {
      action();
      this.#repeat(timer, later, everyMs, action);
    });
  }

  #after(timer: 'query' | 'announce' | 'greet' | 'reopen', delayMs: number, action: () => void): void {
    clearTimeout(this.#timers.get(timer));
    const handle = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, delayMs);
    handle.unref();
    this.#timers.set(timer, handle);
  }

  #stopTimers(): void {
    for (const handle of this.#timers.values()) clearTimeout(handle);
    this.#timers.clear();
  }

  #onResponse(packet: MdnsPacket, sender: string): void {
    const { heard, invalid } = readPacket(packet, sender);
    this.#invalid += invalid;
    for (const { tag, id, host, port, goodbye } of heard) {
      if (tag !== this.#options.tag) this.#noteForeign(tag);
      else if (id === this.#options.id) continue;
      else if (goodbye) this.#onGoodbye(id);
      else this.#onHeard(id, { id, host, port });
    }
  }

  #onGoodbye(id: NodeId): void {
    if (!this.#known.delete(id)) return;
    for (const listener of this.#goodbyeListeners) listener(id);
  }

  #onHeard(id: NodeId, hint: PeerHint): void {
    const stranger = !this.#known.delete(id);
    this.#known.set(id, hint);
    evictOldest(this.#known, HINTS_MAX);
    if (stranger) this.#greet();
    for (const listener of this.#hintListeners) listener(hint);
  }

  /** Announces soon, so that a newcomer need not wait for its own question to be answered. At most once a second. */
  #greet(): void {
    const now = this.#options.clock.now();
    if (this.#timers.has('greet') || now - this.#greetedMs < GREET_EVERY_MS) return;
    this.#greetedMs = now;
    this.#after('greet', GREET_MIN_MS + this.#options.clock.random() * GREET_SPREAD_MS, () => this.#announce());
  }

  #noteForeign(tag: string): void {
    const now = this.#options.clock.now();
    if (!this.#foreign.has(tag) && now - this.#foreignLoggedMs >= FOREIGN_LOG_EVERY_MS) {
      this.#foreignLoggedMs = now;
      this.#options.log?.info({ tag }, 'another cluster is on this network; left alone');
    }
    this.#foreign.delete(tag);
    this.#foreign.set(tag, now);
    evictOldest(this.#foreign, FOREIGN_TAGS_MAX);
  }
}

/** Maps keep the order of insertion; what was set again was deleted first. */
function evictOldest<V>(map: Map<string, V>, max: number): void {
  for (const key of map.keys()) {
    if (map.size <= max) return;
    map.delete(key);
  }
}

/** A variable, not a literal: multicast-dns knows these options, bonjour-service's types do not. */
function bonjourOptions(socket: MdnsSocket): { port: number } {
  const options = { port: MDNS_PORT, socket, bind: false, multicast: false };
  return options;
}

/** PTR, SRV and TXT from bonjour-service, and one A record with the chosen address instead of all that the machine has. */
function recordsFor(own: OwnRecord, address: string): ServiceRecords {
  // Not the machine's own name: avahi answers for that, and freshly flashed Pis share one.
  const host = `${SERVICE_TYPE}-${own.id}.local`;
  const config = { name: own.id, type: SERVICE_TYPE, port: own.port, host, txt: txtOf(own), disableIPv6: true };
  const service = new bonjour.Service(
    config,
    () => {},
    () => {},
  );
  const records = service.records().filter(record => record.type !== 'A' && record.type !== 'AAAA');
  return [...records, { name: host, type: 'A', ttl: 120, data: address }];
}
