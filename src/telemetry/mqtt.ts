/**
 * The cluster's state on MQTT: each Pi tells its own, the swarm's leader the cluster's. A broker that is down, slow or
 * refuses changes nothing for the agent. docs/mqtt.md has the topics.
 */
import type { MqttConfig } from '../config.ts';
import type { ClusterEvent } from '../core/event-types.ts';
import type { Snapshot } from '../core/snapshot.ts';
import type { Logger } from '../log.ts';
import type { Clock } from '../ports.ts';
import { type BrokerLimits, BrokerLink } from './broker.ts';
import { EventOutbox } from './event-outbox.ts';
import {
  clusterDiscovery,
  nodeDiscovery,
  REFRESH_MS,
  type Topics,
  topicsOfCluster,
  topicsOfNode,
} from './homeassistant.ts';
import { clusterState, gist, type NodeStateMessage, news, nodeState, speaksForCluster } from './state.ts';

export interface MqttTelemetryOptions {
  /** Undefined: off. */
  config: MqttConfig | undefined;
  log: Logger;
  clock: Pick<Clock, 'now' | 'random'>;
  /** For tests. */
  limits?: Partial<BrokerLimits & TelemetryLimits>;
}

export interface TelemetryLimits {
  /** Facts (a role, a task) go out at once, but not more often than this. */
  factsEveryMs: number;
  /** A Pi that is off and unknown to the swarm for so long is taken off the broker. */
  removeAfterMs: number;
}

const LIMITS: TelemetryLimits = { factsEveryMs: 1000, removeAfterMs: 60_000 };

/** More Pis than any swarm has; on a broker of somebody else there may be anything. */
const KNOWN_MAX = 2000;

/** Who this Pi is on the broker; with another secret it is another one. */
interface Identity {
  id: string;
  tag: string;
}

interface Sent {
  payload: string;
  /** What it said, without words that change all the time. */
  gist: string;
  atMs: number;
}

export class MqttTelemetry {
  readonly #options: MqttTelemetryOptions;
  readonly #limits: TelemetryLimits;
  #link: BrokerLink | undefined;
  #identity: Identity | undefined;
  #snapshot: Snapshot | undefined;
  #leaving: Promise<void> | undefined;
  #stopped = false;
  /** What the broker has got since the last connect. */
  #node: (NodeStateMessage & { atMs: number }) | undefined;
  #sent = new Map<string, Sent>();
  /** Optional sensors that have given a value. */
  readonly #seen = new Set<string>();
  /** Ids with a retained availability, and since when they have been missing in the swarm. */
  #known = new Map<string, { online: boolean; missingSinceMs?: number }>();
  readonly #events = new EventOutbox();

  constructor(options: MqttTelemetryOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
  }

  /** The connection is made with the first snapshot: before it, nobody knows who this Pi is. */
  start(): void {
    const { config, log } = this.#options;
    if (config?.insecure) log.warn('MQTT: the certificate of the broker is not checked (mqtt.insecure)');
  }

  state(): Snapshot['mqtt'] {
    if (this.#options.config === undefined) return { state: 'off' };
    return this.#link?.state() ?? { state: 'connecting' };
  }

  /** Messages that wait to be sent: bounded by the number of topics, and by what is remembered of events. */
  get waiting(): number {
    return (this.#link?.waiting ?? 0) + this.#events.size;
  }

  /** Takes the newest snapshot and sends what is new in it. Cheap; never throws, never waits. */
  publish(snapshot: Snapshot): void {
    const { config } = this.#options;
    if (config === undefined || this.#stopped || snapshot.self.id === '') return;
    this.#snapshot = snapshot;
    const identity = { id: snapshot.self.id, tag: snapshot.cluster.tag };
    if (this.#identity?.id !== identity.id || this.#identity.tag !== identity.tag) void this.#become(identity, config);
    else this.#tell();
  }

  /** Sends events, once each, as soon as there is a broker. The leader's part. */
  tell(events: readonly ClusterEvent[]): void {
    if (this.#options.config === undefined || this.#stopped) return;
    this.#events.add(events);
    this.#link?.nudge();
  }

  /** Says `offline` and lets go; within two seconds. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#leaving;
    const topics = this.#topics();
    if (topics === undefined) return;
    await this.#link?.stop([{ topic: topics.node.availability, payload: 'offline' }]);
  }

  /**
   * Connects as this Pi; under its former identity it is taken off the broker first (one client id has one connection).
   * The device stays the same under a new secret: its discovery is overwritten, not removed.
   */
  async #become(identity: Identity, config: MqttConfig): Promise<void> {
    const before = this.#topics();
    const link = this.#link;
    // Of another cluster.
    if (this.#identity !== undefined) this.#events.clear();
    this.#identity = identity;
    this.#link = undefined;
    this.#forgetSent();
    if (link !== undefined && before !== undefined) {
      this.#leaving = link.stop([before.node.state, before.node.availability].map(topic => ({ topic, payload: '' })));
      await this.#leaving;
    }
    // Meanwhile it may have become yet another, or have been stopped.
    if (this.#identity === identity && !this.#stopped) this.#link = this.#connect(identity, config);
  }

  #connect({ id, tag }: Identity, config: MqttConfig): BrokerLink {
    const topics = topicsOf({ id, tag }, config);
    return new BrokerLink({
      config,
      log: this.#options.log,
      clientId: `pi-swarm-${id}`,
      will: { topic: topics.node.availability, payload: 'offline' },
      subscriptions: [`${topics.base}/+/availability`, ...(config.homeAssistant ? [topics.homeAssistant] : [])],
      onConnect: () => {
        this.#forgetSent();
        this.#tell();
        this.#link?.nudge();
      },
      onMessage: (topic, payload) => this.#heard(topic, payload),
      next: () => {
        const event = this.#events.next();
        if (event === undefined) return undefined;
        const confirmed = () => this.#events.confirmed(event);
        return { topic: `${topics.base}/events`, payload: JSON.stringify(event), confirmed };
      },
      random: () => this.#options.clock.random(),
      now: () => this.#options.clock.now(),
      limits: this.#options.limits,
    });
  }

  #forgetSent(): void {
    this.#node = undefined;
    this.#sent = new Map();
    this.#known = new Map();
  }

  #topics() {
    const { config } = this.#options;
    return config === undefined || this.#identity === undefined ? undefined : topicsOf(this.#identity, config);
  }

  #tell(): void {
    const snapshot = this.#snapshot;
    if (snapshot === undefined || this.#link?.state().state !== 'connected') return;
    this.#tellNode(snapshot);
    if (!speaksForCluster(snapshot)) {
      // Another Pi speaks now: what this one said last is no longer what the broker has.
      const cluster = this.#topics()?.cluster;
      for (const topic of Object.values(cluster ?? {})) this.#sent.delete(topic);
      return;
    }
    this.#tellCluster(snapshot);
    this.#removeForgotten(snapshot);
  }

  #tellNode(snapshot: Snapshot): void {
    const { config, clock } = this.#options;
    const topics = this.#topics();
    if (topics === undefined || config === undefined) return;
    const state = nodeState(snapshot);
    for (const [key, value] of Object.entries(state)) if (value !== undefined) this.#seen.add(key);
    this.#putOnce(topics.node.availability, 'online');
    if (config.homeAssistant) {
      this.#putOnce(topics.node.discovery, nodeDiscovery(topics.names, state, snapshot.cluster.tag, this.#seen));
    }
    const sinceMs = this.#node === undefined ? Number.POSITIVE_INFINITY : clock.now() - this.#node.atMs;
    const limitMs = { none: REFRESH_MS, figures: config.intervalMs, facts: this.#limits.factsEveryMs };
    if (sinceMs < limitMs[news(this.#node, state)]) return;
    this.#node = { ...state, atMs: clock.now() };
    this.#link?.put(topics.node.state, JSON.stringify(state));
  }

  #tellCluster(snapshot: Snapshot): void {
    const { config } = this.#options;
    const topics = this.#topics();
    if (topics === undefined || config === undefined) return;
    const state = clusterState(snapshot);
    if (config.homeAssistant) {
      const managers = snapshot.cluster.pis.filter(pi => pi.self || pi.role === 'manager' || pi.role === 'leader');
      const speakers = managers.map(pi => pi.id).filter(id => id !== '');
      this.#putOnce(topics.cluster.discovery, clusterDiscovery(topics.names, state, snapshot.version, speakers.sort()));
    }
    this.#putOnce(topics.cluster.state, JSON.stringify(state), {
      gist: gist(state),
      leastMs: this.#limits.factsEveryMs,
      mostMs: REFRESH_MS,
    });
  }

  /** Sends what the broker does not have yet, not more often than `leastMs`; what it has, again after `mostMs`. */
  #putOnce(topic: string, payload: string, how: { gist?: string; leastMs?: number; mostMs?: number } = {}): void {
    const { gist = payload, leastMs = 0, mostMs = Number.POSITIVE_INFINITY } = how;
    const nowMs = this.#options.clock.now();
    const sent = this.#sent.get(topic);
    if (sent !== undefined && nowMs - sent.atMs < (sent.gist === gist ? mostMs : leastMs)) return;
    this.#sent.set(topic, { payload, gist, atMs: nowMs });
    this.#link?.put(topic, payload);
  }

  #heard(topic: string, payload: string): void {
    const topics = this.#topics();
    if (topics === undefined) return;
    if (topic === topics.homeAssistant) {
      if (payload !== 'online') return;
      // Home Assistant has started again: all of it once more, as if the broker were new.
      this.#sent = new Map();
      this.#node = undefined;
      this.#tell();
      return;
    }
    const id = topic.slice(topics.base.length + 1).split('/')[0] ?? '';
    if (!/^[0-9a-f]{16}$/.test(id)) return;
    if (id === this.#identity?.id) this.#heardOfMyself(topic, payload);
    else if (payload === '') this.#known.delete(id);
    else if (this.#known.has(id) || this.#known.size < KNOWN_MAX) this.#known.set(id, { online: payload === 'online' });
  }

  /** The will of a former connection may come after our `online`, when the broker notices its end late. */
  #heardOfMyself(topic: string, payload: string): void {
    const said = this.#sent.get(topic)?.payload;
    if (said === undefined || payload === said || this.#stopped) return;
    this.#link?.put(topic, said);
  }

  /** The leader takes Pis off the broker that the swarm has forgotten: three empty retained messages. */
  #removeForgotten(snapshot: Snapshot): void {
    const topics = this.#topics();
    const { pis } = snapshot.cluster;
    // A row without an id may be any of them.
    if (topics === undefined || pis.some(pi => pi.id === '')) return;
    const members = new Set<string>(pis.map(pi => pi.id));
    const nowMs = this.#options.clock.now();
    for (const [id, known] of this.#known) {
      if (known.online || members.has(id)) {
        known.missingSinceMs = undefined;
        continue;
      }
      known.missingSinceMs ??= nowMs;
      if (nowMs - known.missingSinceMs < this.#limits.removeAfterMs) continue;
      this.#known.delete(id);
      const gone = topicsOfNode(topics.names, id);
      for (const topic of [gone.discovery, gone.state, gone.availability]) this.#link?.put(topic, '');
    }
  }
}

function topicsOf({ id, tag }: Identity, { topic, discoveryPrefix }: MqttConfig) {
  const base = `${topic}/${tag === '' ? 'unclaimed' : tag}`;
  const names: Topics = { base, discoveryPrefix };
  const homeAssistant = `${discoveryPrefix}/status`;
  return { base, names, homeAssistant, node: topicsOfNode(names, id), cluster: topicsOfCluster(names, tag) };
}
