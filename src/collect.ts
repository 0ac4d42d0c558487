/** Collects the facts for one turn. What changes rarely is asked rarely; an event makes it be asked at once. */
import { isOnItsWay } from './core/leaving.ts';
import { isChanging } from './core/managers.ts';
import type { EngineSwarm, Facts, SwarmSettings, Wish } from './core/observe.ts';
import type { ClusterView } from './core/show.ts';
import type { EngineState, Memory, NodeId, Vitals } from './core/world.ts';
import { EngineError, messageOf } from './errors.ts';
import type { Clock, Engine, EngineInfo, Network, Peers } from './ports.ts';

/** How old a fact may be, in ms, when no event said that it changed. */
const AGE_MS = {
  info: 5_000,
  /** While the swarm comes or goes there are no events to rely on. */
  infoEager: 400,
  nodes: 2_000,
  /** While a Pi becomes a manager or a worker: Raft has no events, and the next promotion waits for it. */
  nodesMoving: 250,
  services: 10_000,
  /** Tasks have no events (`GET /events` covers services and nodes): the mesh needs them fresh, but only while one is in use. */
  tasksInUse: 1_000,
  /** While a service starts, scales or recovers. */
  tasksMoving: 250,
  tasks: 5_000,
  /** `docker swarm update` has no event; a heartbeat that somebody reset makes failovers slower until it is seen. */
  settings: 30_000,
  containers: 10_000,
  images: 60_000,
} as const;

/** An engine that is slow for a moment (a Raft election blocks `GET /info`) is still in its swarm. */
const LAST_INFO_MS = 60_000;

export interface CollectorPorts {
  clock: Clock;
  engine: Engine;
  network: Network;
  /** Undefined while the Pi is unclaimed. */
  peers(): Peers | undefined;
  memory(): Memory;
  vitals(): Vitals;
  identity: { id: NodeId; name: string; version: string; boot: string; port: number };
  hardware: string;
  model: string;
  tag(): string | undefined;
  wish: Wish;
  /** `interface`, or the address to advertise. */
  advertise: string;
  /** Images that pi-swarm itself can make. */
  images: readonly string[];
  /** A version for the table of published ports; changes when the table does. */
  meshVersion(view: ClusterView): string | undefined;
  /** The version that this Pi's own rules follow. */
  meshApplied(): string | undefined;
  /** Somebody waits for the load to be evened out. */
  rebalanceAsked(): boolean;
  /** Whether this Pi may take another name. */
  mayRename(): boolean;
}

/** What is known while `GET /info` is not answered. */
interface Away {
  silent: boolean;
  state?: EngineState;
  problem?: string;
}

const isTimeout = (error: unknown): boolean => error instanceof EngineError && error.code === 'timeout';

const always = (): boolean => true;
const never = (): boolean => false;

type Topic = 'engine' | 'swarm' | 'container';

export class Collector {
  readonly #ports: CollectorPorts;
  readonly #cache = new Map<string, { atMs: number; value: unknown }>();
  #info: { atMs: number; info: EngineInfo } | undefined;
  #away: Away | undefined;
  /** A call of this turn has run into its limit. */
  #late = false;
  #view: ClusterView | undefined;

  constructor(ports: CollectorPorts) {
    this.#ports = ports;
  }

  /** The newest nodes, services and tasks, on a leader. */
  get view(): ClusterView | undefined {
    return this.#view;
  }

  get engineInfo(): EngineInfo | undefined {
    return this.#info?.info;
  }

  /** An event said that this changed. */
  stale(topic: Topic): void {
    const keys = {
      engine: undefined,
      swarm: ['info', 'nodes', 'work'],
      container: ['containers', 'work'],
    }[topic];
    if (keys === undefined) this.#cache.clear();
    for (const key of keys ?? []) this.#cache.delete(key);
  }

  async collect(_signal?: AbortSignal): Promise<Facts> {
    const { clock, engine, network, peers, memory, identity, hardware, model, tag, wish, advertise } = this.#ports;
    this.#late = false;
    const engineSwarm = await this.#engineSwarm();
    const chosen = network.state().chosen?.address;
    const { id, name, version, boot, port } = identity;
    const facts: Facts = {
      nowMs: clock.now(),
      wallMs: clock.wall(),
      self: {
        id,
        name,
        version,
        boot,
        hardware,
        port,
        model,
        address: chosen && advertise !== 'interface' ? advertise : chosen,
      },
      tag: tag(),
      wish,
      engine: this.#away?.state ?? engine.state(),
      engineSwarm,
      memory: memory(),
      peers: peers()?.list() ?? [],
      runningTasks: 0,
      missingImages: [],
      images: [],
    };
    const applied = this.#ports.meshApplied();
    if (applied !== undefined) facts.meshApplied = applied;
    if (this.#ports.rebalanceAsked()) facts.rebalanceAsked = true;
    if (this.#ports.mayRename()) facts.mayRename = true;
    if (this.#away?.silent) facts.swarmSilent = true;
    const problem = this.#away?.problem ?? engine.problem();
    if (problem !== undefined) facts.engineProblem = problem;
    if (this.#info) facts.self.architecture = this.#info.info.architecture;
    facts.self.vitals = this.#ports.vitals();
    if (facts.engine === 'ready') await this.#fromEngine(facts);
    // It may have stopped to answer in the middle of the turn: said now, and not after the next one has waited for it as well.
    if (facts.engine === 'ready' && engine.state() !== 'ready') {
      facts.engine = engine.state();
      const reason = engine.problem();
      if (reason !== undefined) facts.engineProblem = reason;
    }
    return facts;
  }

  async #engineSwarm(): Promise<EngineSwarm | undefined> {
    const { clock, engine } = this.#ports;
    const settled = this.#info?.info.swarm.localState === 'active';
    try {
      const info = await this.#aged('info', settled ? AGE_MS.info : AGE_MS.infoEager, () => engine.info());
      this.#info = { atMs: clock.now(), info };
      this.#away = undefined;
    } catch (error) {
      if (this.#info && clock.now() - this.#info.atMs > LAST_INFO_MS) this.#info = undefined;
      this.#away = await this.#whatIsAway(error);
    }
    return this.#info?.info.swarm;
  }

  /**
   * `GET /info` failed. Is it the engine that is slow, or only its swarm that is silent? A small other question tells. While nothing is known of its swarm the
   * engine does not count as ready: «in no swarm» would be a guess, and what follows from it wrong.
   */
  async #whatIsAway(error: unknown): Promise<Away | undefined> {
    const { engine } = this.#ports;
    const state = engine.state();
    if (state === 'absent') return undefined;
    const problem = engine.problem() ?? messageOf(error);
    const blind = state === 'slow' || this.#info === undefined;
    const silent = isTimeout(error) && (await engine.runningTaskContainers().then(always, never));
    if (engine.state() === 'absent') return undefined;
    return { silent, ...(blind ? { state: 'slow', problem } : {}) };
  }

  /** What only a ready engine can tell; a part that fails is left out this turn. */
  async #fromEngine(facts: Facts): Promise<void> {
    const { engine } = this.#ports;
    const swarm = facts.engineSwarm;
    const manager = swarm?.localState === 'active' && swarm.controlAvailable && swarm.cluster !== undefined;
    if (manager) await this.#fromManager(facts, swarm.nodeId);
    else this.#view = undefined;
    if (swarm?.localState === 'active') {
      const calm = facts.memory.intent === 'stay' && !this.#late;
      const ageMs = calm ? AGE_MS.containers : this.#late ? 0 : AGE_MS.infoEager;
      this.#late = false;
      facts.runningTasks = (await this.#maybe('containers', ageMs, () => engine.runningTaskContainers())) ?? 0;
    }
    const wanted = facts.peers.flatMap(peer => (peer.status.dissolving ? [] : (peer.status.images ?? [])));
    await this.#images(facts, [...wanted, ...facts.images]);
  }

  async #fromManager(facts: Facts, nodeId: string): Promise<void> {
    const { engine, images } = this.#ports;
    const nodes = await this.#maybe('nodes', this.#nodesAgeMs(), () => engine.nodes());
    if (nodes === undefined) return;
    facts.nodes = nodes;
    if (!nodes.some(node => node.leader && node.nodeId === nodeId)) {
      this.#view = undefined;
      return;
    }
    const work = await this.#maybe('work', this.#tasksAgeMs(), async () => {
      const tasks = await engine.tasks();
      return { tasks, services: await engine.services({ tasks, nodes }) };
    });
    facts.settings = await this.#maybe<SwarmSettings>('settings', AGE_MS.settings, () => engine.swarmSettings());
    if (work === undefined) return;
    const { services, tasks } = work;
    facts.services = services;
    facts.tasks = tasks;
    facts.busyNodes = [...new Set(tasks.filter(({ state }) => state === 'running').map(task => task.nodeId))];
    facts.images = images.filter(image => services.some(service => service.image === image));
    const version = this.#ports.meshVersion({ nodes, services, tasks });
    if (version !== undefined) facts.meshVersion = version;
    this.#view = { nodes, services, tasks };
  }

  /** How soon something that is known may have changed without an event; the loop rests no longer than that. */
  restMs(): number {
    return Math.min(this.#tasksAgeMs(), this.#nodesAgeMs());
  }

  #nodesAgeMs(): number {
    // After a change of leader it is soon known who is there (`core/moving`, isLost).
    const unsure = this.#view?.nodes.some(node => isChanging(node) || node.state === 'unknown');
    return unsure ? AGE_MS.nodesMoving : AGE_MS.nodes;
  }

  #tasksAgeMs(): number {
    const services = this.#view?.services ?? [];
    if (services.some(({ running, desired, move }) => running !== desired || move !== undefined))
      return AGE_MS.tasksMoving;
    if (this.#view?.nodes.some(isOnItsWay)) return AGE_MS.tasksMoving;
    if (services.some(({ ports }) => ports.length > 0)) return AGE_MS.tasksInUse;
    return services.length > 0 ? AGE_MS.tasks : AGE_MS.services;
  }

  async #images(facts: Facts, wanted: string[]): Promise<void> {
    for (const image of new Set(wanted.filter(image => this.#ports.images.includes(image)))) {
      const has = await this.#maybe(`image ${image}`, AGE_MS.images, () => this.#ports.engine.hasImage(image));
      if (has !== false) continue;
      facts.missingImages.push(image);
      this.#cache.delete(`image ${image}`);
    }
  }

  /** What comes after an answer that did not come is not waited for as well: a turn has to end, and to tell of it. */
  async #maybe<T>(key: string, ageMs: number, ask: () => Promise<T>): Promise<T | undefined> {
    if (this.#late) return undefined;
    try {
      return await this.#aged(key, ageMs, ask);
    } catch (error) {
      this.#late ||= isTimeout(error);
      this.lastProblem = `${key}: ${messageOf(error)}`;
      return undefined;
    }
  }

  /** The last part that could not be asked, for the log. */
  lastProblem: string | undefined;

  async #aged<T>(key: string, ageMs: number, ask: () => Promise<T>): Promise<T> {
    const cached = this.#cache.get(key);
    const now = this.#ports.clock.now();
    if (cached !== undefined && now - cached.atMs < ageMs) return cached.value as T;
    const value = await ask();
    this.#cache.set(key, { atMs: now, value });
    return value;
  }
}
