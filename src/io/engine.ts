/** The Docker Engine of this Pi, through dockerode. API versions are never named: the engine speaks its newest. */
import type { EngineState, SwarmNode, SwarmService, SwarmTask } from '../core/world.ts';
import { EngineError } from '../errors.ts';
import type {
  Engine,
  EngineInfo,
  ImagePlatform,
  NodeChange,
  ServiceWish,
  SwarmInitOptions,
  SwarmJoinOptions,
} from '../ports.ts';
import { DEFAULT_SOCKET, EngineCalls, engineText } from './engine-calls.ts';
import { type EngineChange, EngineEvents } from './engine-events.ts';
import * as images from './engine-images.ts';
import * as wire from './engine-map.ts';
import * as services from './engine-services.ts';

/** Where swarm managers listen. */
const SWARM_LISTEN = '0.0.0.0:2377';
/** The engine itself waits 20 s for a join before it goes on in the background and says so. */
const JOIN_TIMEOUT_MS = 25_000;
const LEAVE_TIMEOUT_MS = 30_000;
const MANAGER_INFO_MS = 5_000;
/** Finished tasks kept per slot. Each is a write to every manager's SD card; two tell why something failed. */
const TASK_HISTORY = 2;
/** Reading, changing and writing again when somebody else wrote in between. */
const CONFLICT_RETRIES = 5;

export interface DockerEngineOptions {
  socketPath?: string;
  timeoutMs?: number;
  random?: () => number;
}

export class DockerEngine implements Engine {
  readonly #calls: EngineCalls;
  readonly #events: EngineEvents;
  readonly #listeners: ((what: EngineChange) => void)[] = [];
  #apiVersion: string | undefined;
  #manager = false;
  readonly #services: services.SwarmCalls = { call: (...it) => this.#swarm(...it), retry: retryConflicts };

  constructor(options: DockerEngineOptions = {}) {
    const socketPath = options.socketPath ?? DEFAULT_SOCKET;
    this.#calls = new EngineCalls(socketPath, options.timeoutMs);
    this.#events = new EngineEvents({
      socketPath,
      random: options.random,
      onReachable: () => this.#calls.reachable(),
      onUnreachable: cause => this.#calls.unreachable(cause),
      onChange: what => this.#changed(what),
    });
  }

  state(): EngineState {
    return this.#calls.state();
  }

  problem(): string | undefined {
    return this.#calls.problem();
  }

  /** The events stream is opened with the first listener. */
  onChange(listener: (what: EngineChange) => void): void {
    this.#listeners.push(listener);
    if (this.#listeners.length === 1) this.#events.start();
  }

  async info(): Promise<EngineInfo> {
    const what = 'ask the engine for its state';
    // The newest version that this engine speaks; asked again after it restarted (it may have been upgraded).
    this.#apiVersion ??= (
      await this.#calls.request<{ ApiVersion?: string }>({ method: 'GET', path: '/version', what })
    ).ApiVersion;
    // On a manager `GET /info` asks the swarm's leader, and waits for one: then it is not the engine that is slow.
    const limits = this.#manager ? { swarm: true, timeoutMs: MANAGER_INFO_MS } : {};
    const wireInfo = await this.#calls.request<wire.WireInfo>({ method: 'GET', path: '/info', what, ...limits });
    const info = wire.toInfo(wireInfo, this.#apiVersion ?? '');
    this.#manager = info.swarm.controlAvailable;
    return info;
  }

  swarmInit(options: SwarmInitOptions): Promise<string> {
    const body = {
      ListenAddr: SWARM_LISTEN,
      AdvertiseAddr: options.advertiseAddress,
      Spec: {
        Labels: options.labels,
        Orchestration: { TaskHistoryRetentionLimit: TASK_HISTORY },
        Dispatcher: { HeartbeatPeriod: wire.toNanoseconds(options.dispatcherHeartbeatMs) },
        CAConfig: { NodeCertExpiry: wire.toNanoseconds(options.nodeCertExpiryMs) },
      },
    };
    return this.#swarm('POST', '/swarm/init', 'make a swarm', { body, timeoutMs: JOIN_TIMEOUT_MS });
  }

  async swarmJoin(options: SwarmJoinOptions): Promise<void> {
    const body = {
      ListenAddr: SWARM_LISTEN,
      AdvertiseAddr: options.advertiseAddress,
      RemoteAddrs: options.managers,
      JoinToken: options.token,
    };
    await this.#swarm('POST', '/swarm/join', 'join the swarm', {
      body,
      timeoutMs: options.timeoutMs ?? JOIN_TIMEOUT_MS,
    });
  }

  async swarmLeave(force: boolean): Promise<void> {
    await this.#swarm('POST', '/swarm/leave', 'leave the swarm', { query: { force }, timeoutMs: LEAVE_TIMEOUT_MS });
  }

  async workerToken(): Promise<string> {
    const { JoinTokens } = await this.#inspectSwarm();
    if (!JoinTokens?.Worker) throw new EngineError('the swarm has no join token for workers');
    return JoinTokens.Worker;
  }

  async swarmSettings(): Promise<{
    dispatcherHeartbeatMs: number;
    nodeCertExpiryMs: number;
    labels: Record<string, string>;
  }> {
    const { Spec } = await this.#inspectSwarm();
    return {
      dispatcherHeartbeatMs: (Spec.Dispatcher?.HeartbeatPeriod ?? 0) / 1e6,
      nodeCertExpiryMs: (Spec.CAConfig?.NodeCertExpiry ?? 0) / 1e6,
      labels: Spec.Labels ?? {},
    };
  }

  async swarmTune(options: Parameters<Engine['swarmTune']>[0]): Promise<void> {
    const { dispatcherHeartbeatMs, nodeCertExpiryMs, labels } = options;
    await retryConflicts(async () => {
      const { Version, Spec } = await this.#inspectSwarm();
      const body = {
        ...Spec,
        Labels: { ...Spec.Labels, ...labels },
        Dispatcher: { ...Spec.Dispatcher, ...nanoseconds('HeartbeatPeriod', dispatcherHeartbeatMs) },
        CAConfig: { ...Spec.CAConfig, ...nanoseconds('NodeCertExpiry', nodeCertExpiryMs) },
      };
      if (
        same(body.Labels, Spec.Labels) &&
        same(body.Dispatcher, Spec.Dispatcher) &&
        same(body.CAConfig, Spec.CAConfig)
      )
        return;
      await this.#swarm('POST', '/swarm/update', 'change the swarm settings', {
        query: { version: Version.Index },
        body,
      });
    });
  }

  async nodes(): Promise<SwarmNode[]> {
    return (await this.#swarm<wire.WireNode[]>('GET', '/nodes', 'list the nodes')).map(wire.toNode);
  }

  async nodeUpdate(nodeId: string, change: NodeChange): Promise<void> {
    const path = `/nodes/${encodeURIComponent(nodeId)}`;
    await retryConflicts(async () => {
      const { Version, Spec } = await this.#swarm<wire.WireNode>('GET', path, 'look at the node');
      const body = {
        ...Spec,
        Labels: withLabels(Spec.Labels ?? {}, change.labels ?? {}),
        ...(change.role === undefined ? {} : { Role: change.role }),
        ...(change.availability === undefined ? {} : { Availability: change.availability }),
      };
      if (same({ ...Spec, Labels: Spec.Labels ?? {} }, body)) return;
      await this.#swarm('POST', `${path}/update`, 'change the node', { query: { version: Version.Index }, body });
    });
  }

  async nodeRemove(nodeId: string, force: boolean): Promise<void> {
    await this.#swarm('DELETE', `/nodes/${encodeURIComponent(nodeId)}`, 'remove the node', { query: { force } });
  }

  async services(known?: { tasks: SwarmTask[]; nodes: SwarmNode[] }): Promise<SwarmService[]> {
    const [listed, tasks, nodes] = await Promise.all([
      this.#swarm<wire.WireService[]>('GET', '/services', 'list the services'),
      known?.tasks ?? this.tasks(),
      known?.nodes ?? this.nodes(),
    ]);
    return wire.toServices(
      listed,
      tasks,
      new Set(nodes.filter(node => node.state === 'down').map(node => node.nodeId)),
    );
  }

  async tasks(): Promise<SwarmTask[]> {
    return (await this.#swarm<wire.WireTask[]>('GET', '/tasks', 'list the tasks')).map(wire.toTask);
  }

  async serviceCreate(wish: ServiceWish): Promise<{ id: string; warnings: string[] }> {
    const body = wire.toServiceSpec(wish);
    const what = `create the service ${wish.name}`;
    const made = await this.#swarm<{ ID: string; Warnings?: string[] | null }>('POST', '/services/create', what, {
      body,
    });
    return { id: made.ID, warnings: made.Warnings ?? [] };
  }

  serviceScale(name: string, replicas: number): Promise<void> {
    return services.scaleService(this.#services, name, replicas);
  }

  serviceMoveStart(id: string, move: Parameters<Engine['serviceMoveStart']>[1]): Promise<void> {
    return services.startMove(this.#services, id, move);
  }

  serviceMoveBlock(id: string, empty: readonly string[], back?: readonly string[]): Promise<void> {
    return services.blockMove(this.#services, id, empty, back);
  }

  serviceMoveEnd(id: string): Promise<void> {
    return services.endMove(this.#services, id);
  }

  async serviceRemove(name: string): Promise<void> {
    await this.#swarm('DELETE', `/services/${encodeURIComponent(name)}`, `remove the service ${name}`);
  }

  async runningTaskContainers(): Promise<number> {
    const filters = JSON.stringify({ label: ['com.docker.swarm.task.id'], status: ['running'] });
    const what = 'list the containers';
    return (await this.#calls.request<unknown[]>({ method: 'GET', path: '/containers/json', query: { filters }, what }))
      .length;
  }

  imagePlatforms(image: string): Promise<ImagePlatform[] | undefined> {
    return images.imagePlatforms(this.#calls, image);
  }

  hasImage(image: string): Promise<boolean> {
    return images.hasImage(this.#calls, image);
  }

  loadImage(tar: Uint8Array): Promise<void> {
    return images.loadImage(this.#calls, tar);
  }

  async stop(): Promise<void> {
    this.#listeners.length = 0;
    this.#events.stop();
    this.#calls.stop();
  }

  #changed(what: EngineChange): void {
    if (what === 'engine') this.#apiVersion = undefined;
    for (const listener of this.#listeners) listener(what);
  }

  #inspectSwarm(): Promise<wire.WireSwarm> {
    return this.#swarm('GET', '/swarm', 'look at the swarm');
  }

  #swarm<T>(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    what: string,
    more: { query?: Record<string, string | number | boolean>; body?: object; timeoutMs?: number } = {},
  ): Promise<T> {
    return this.#calls.request<T>({ method, path, what, swarm: true, ...more });
  }
}

/** Raft refuses a write whose version index is old: «update out of sequence». @throws what `change` throws in the end */
async function retryConflicts(change: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await change();
    } catch (error) {
      const conflict = error instanceof EngineError && /update out of sequence/i.test(engineText(error.cause ?? error));
      if (!conflict || attempt > CONFLICT_RETRIES) throw error;
    }
  }
}

const nanoseconds = (key: string, ms: number | undefined): Record<string, number> =>
  ms === undefined ? {} : { [key]: wire.toNanoseconds(ms) };

function withLabels(labels: Record<string, string>, change: Record<string, string | null>): Record<string, string> {
  const merged: Record<string, string | null> = { ...labels, ...change };
  return Object.fromEntries(Object.entries(merged).filter((entry): entry is [string, string] => entry[1] !== null));
}

/** Both come from the same JSON with the same order of keys; a false «different» costs one needless write. */
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a ?? {}) === JSON.stringify(b ?? {});
