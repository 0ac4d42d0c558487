/**
 * Engines in memory that behave like real ones as far as the port goes: init, join, leave, promotion, removal, quorum,
 * scheduling, Down detection. Nothing moves but by `FakeSwarmLan.tick()`; time is the `now` it was given. Deterministic.
 */
import type { SwarmNode, SwarmService, SwarmTask } from '../../src/core/world.ts';
import { EngineError, RefusedError } from '../../src/errors.ts';
import type {
  Engine,
  EngineInfo,
  ImagePlatform,
  NodeChange,
  ServiceWish,
  SwarmInitOptions,
  SwarmJoinOptions,
} from '../../src/ports.ts';
import type { FakeSwarmLan } from './engine-lan.ts';
import { FakeMachine } from './engine-machine.ts';
import type { FakeSwarm, Member } from './engine-swarm.ts';
import { refused } from './engine-tasks.ts';

export { FakeSwarmLan } from './engine-lan.ts';

const NO_LEADER = "The swarm does not have a leader. It's possible that too few managers are online.";
const NOT_MANAGER = 'This node is not a swarm manager.';

export class FakeEngine extends FakeMachine implements Engine {
  readonly images = new Set<string>();
  /** Platforms that the «registry» offers. */
  readonly registry = new Map<string, ImagePlatform[]>();
  swarm: FakeSwarm | undefined;
  nodeId = '';
  readonly #lan: FakeSwarmLan;
  #active = false;
  #join: SwarmJoinOptions | undefined;

  constructor(lan: FakeSwarmLan, name: string, address: string, architecture: string) {
    super(name, address, architecture, (a, b) => lan.linked(a as FakeEngine, b as FakeEngine));
    this.#lan = lan;
  }

  override powerOn(): void {
    super.powerOn();
    this.#active = false;
  }

  /** A new SD card: nothing is left. */
  wipe(): void {
    this.#forget();
    this.images.clear();
  }

  // What the swarm asks.

  registered(): void {
    if (!this.#active) this.emit('swarm');
    this.#active = true;
  }

  retryJoin(): void {
    if (this.#join === undefined || !this.runs()) return;
    const found = this.#findSwarm(this.#join);
    if (found === undefined) return;
    this.#join = undefined;
    this.#enter(found, 'worker');
  }

  // The port.

  async info(): Promise<EngineInfo> {
    this.call('info');
    const member = this.#member();
    const control = this.swarm !== undefined && member?.role === 'manager';
    const led = control && this.#active && this.swarm?.leaderFor(this) !== undefined;
    const { swarm } = this;
    return {
      engineId: `engine-${this.name}`,
      version: '0.0.0-fake',
      apiVersion: '1.41',
      architecture: this.architecture,
      os: 'linux',
      cpus: 4,
      memoryBytes: 1 << 30,
      warnings: [],
      swarm: {
        localState: swarm === undefined ? (this.#join ? 'pending' : 'inactive') : this.#active ? 'active' : 'pending',
        nodeId: this.nodeId,
        nodeAddress: member?.address ?? '',
        controlAvailable: control,
        error: control && !led ? NO_LEADER : '',
        remoteManagers: swarm?.voters().map(voter => `${voter.address}:2377`) ?? this.#join?.managers ?? [],
        ...(swarm !== undefined && led
          ? {
              cluster: { id: swarm.id, labels: { ...swarm.labels }, createdAtMs: swarm.createdAtMs },
              nodes: swarm.members.size,
              managers: swarm.voters().length,
            }
          : {}),
      },
    };
  }

  async swarmInit(options: SwarmInitOptions): Promise<string> {
    this.call('swarmInit');
    this.#mustBeOutside();
    const swarm = this.#lan.makeSwarm({ ...options, labels: { ...options.labels } });
    this.#enter(swarm, 'manager');
    return this.nodeId;
  }

  async swarmJoin(options: SwarmJoinOptions): Promise<void> {
    this.call('swarmJoin');
    this.#mustBeOutside();
    if (!options.token.startsWith('SWMTKN-')) throw refused(400, 'invalid join token');
    const swarm = this.#findSwarm(options);
    if (swarm === undefined) {
      this.#join = options;
      throw new EngineError(
        'could not join the swarm in time; the engine goes on trying in the background',
        undefined,
        { code: 'timeout' },
      );
    }
    this.#enter(swarm, 'worker');
  }

  async swarmLeave(force: boolean): Promise<void> {
    this.call('swarmLeave');
    if (this.swarm === undefined && this.#join === undefined) throw refused(503, 'This node is not part of a swarm');
    if (!force && this.#member()?.role === 'manager') {
      throw refused(503, 'You are attempting to leave the swarm on a node that is participating as a manager.');
    }
    this.#forget();
    this.emit('swarm');
  }

  async workerToken(): Promise<string> {
    return this.#manage('workerToken').token;
  }

  async swarmTune(options: Parameters<Engine['swarmTune']>[0]): Promise<void> {
    const swarm = this.#manage('swarmTune');
    swarm.dispatcherHeartbeatMs = options.dispatcherHeartbeatMs ?? swarm.dispatcherHeartbeatMs;
    swarm.nodeCertExpiryMs = options.nodeCertExpiryMs ?? swarm.nodeCertExpiryMs;
    swarm.labels = { ...swarm.labels, ...options.labels };
  }

  async swarmSettings(): ReturnType<Engine['swarmSettings']> {
    const { dispatcherHeartbeatMs, nodeCertExpiryMs, labels } = this.#manage('swarmSettings');
    return { dispatcherHeartbeatMs, nodeCertExpiryMs, labels: { ...labels } };
  }

  async nodes(): Promise<SwarmNode[]> {
    const swarm = this.#manage('nodes');
    return [...swarm.members.values()].map(member => swarm.toNode(member));
  }

  async nodeUpdate(nodeId: string, change: NodeChange): Promise<void> {
    const swarm = this.#manage('nodeUpdate');
    const member = this.#require(swarm, nodeId);
    if (change.role === 'worker' && member.wantedRole === 'manager') {
      const rest = [...swarm.members.values()].filter(other => other.wantedRole === 'manager').length - 1;
      if (rest < 1) throw refused(400, 'attempting to demote the last manager of the swarm');
    }
    if (change.role !== undefined && change.role !== member.wantedRole) {
      member.wantedRole = change.role;
      member.roleAskedMs = this.#lan.now();
    }
    member.availability = change.availability ?? member.availability;
    for (const [key, value] of Object.entries(change.labels ?? {})) {
      if (value === null) delete member.labels[key];
      else member.labels[key] = value;
    }
    swarm.changed();
  }

  async nodeRemove(nodeId: string, force: boolean): Promise<void> {
    const swarm = this.#manage('nodeRemove');
    const member = this.#require(swarm, nodeId);
    if (member.role === 'manager')
      throw refused(
        400,
        `node ${nodeId} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal`,
      );
    if (!force && member.state !== 'down') throw refused(400, `node ${nodeId} is not down and can't be removed`);
    // The removed engine is not told: it goes on believing that it is an active worker.
    swarm.remove(nodeId);
    swarm.changed();
  }

  async services(): Promise<SwarmService[]> {
    return this.#manage('services').services.list();
  }

  async tasks(): Promise<SwarmTask[]> {
    return this.#manage('tasks').services.listTasks();
  }

  async serviceCreate(wish: ServiceWish): Promise<{ id: string; warnings: string[] }> {
    return { id: this.#manage('serviceCreate').services.create(wish, this.#lan.now()), warnings: [] };
  }

  async serviceScale(name: string, replicas: number): Promise<void> {
    const { services } = this.#manage('serviceScale');
    const service = services.list().find(one => one.name === name || one.id === name);
    if (service !== undefined && service.replicas === undefined)
      throw new RefusedError(`${name} runs once on every Pi (--global): there is nothing to scale.`);
    services.scale(name, replicas, this.#lan.now());
  }

  serviceMoveStart(): Promise<void> {
    throw new Error('FakeEngine: moves are not faked');
  }

  serviceMoveBlock(): Promise<void> {
    throw new Error('FakeEngine: moves are not faked');
  }

  serviceMoveEnd(): Promise<void> {
    throw new Error('FakeEngine: moves are not faked');
  }

  async serviceRemove(name: string): Promise<void> {
    this.#manage('serviceRemove').services.delete(name);
  }

  async runningTaskContainers(): Promise<number> {
    this.call('runningTaskContainers');
    return this.containers.size;
  }

  async imagePlatforms(image: string): Promise<ImagePlatform[] | undefined> {
    this.call('imagePlatforms');
    return this.registry.get(image);
  }

  async hasImage(image: string): Promise<boolean> {
    this.call('hasImage');
    return this.images.has(image);
  }

  /** The fake's «tar» is the image's name. */
  async loadImage(tar: Uint8Array): Promise<void> {
    this.call('loadImage');
    this.images.add(new TextDecoder().decode(tar));
  }

  #manage(method: keyof Engine): FakeSwarm {
    this.call(method);
    const { swarm } = this;
    if (swarm === undefined || this.#member()?.role !== 'manager') throw refused(503, NOT_MANAGER);
    if (!this.#active || swarm.leaderFor(this) === undefined) throw refused(503, NO_LEADER);
    return swarm;
  }

  #member(): Member | undefined {
    return this.swarm?.members.get(this.nodeId);
  }

  #require(swarm: FakeSwarm, nodeId: string): Member {
    const member = swarm.members.get(nodeId);
    if (member === undefined) throw refused(404, `node ${nodeId} not found`);
    return member;
  }

  #mustBeOutside(): void {
    if (this.swarm === undefined && this.#join === undefined) return;
    throw refused(
      503,
      'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.',
    );
  }

  #findSwarm(options: SwarmJoinOptions): FakeSwarm | undefined {
    for (const engine of this.#lan.engines.values()) {
      if (
        engine === this ||
        !options.managers.includes(`${engine.address}:2377`) ||
        !engine.runs() ||
        !this.reaches(engine)
      )
        continue;
      const { swarm } = engine;
      if (swarm?.members.get(engine.nodeId)?.role !== 'manager' || swarm.leaderFor(engine) === undefined) continue;
      if (swarm.token !== options.token) throw refused(400, 'invalid join token');
      return swarm;
    }
    return undefined;
  }

  #enter(swarm: FakeSwarm, role: 'worker' | 'manager'): void {
    this.swarm = swarm;
    this.nodeId = this.#lan.id('node');
    this.#active = true;
    swarm.add(this.nodeId, this, role, this.#lan.now());
    swarm.changed();
    this.emit('swarm');
  }

  #forget(): void {
    this.swarm = undefined;
    this.nodeId = '';
    this.#active = false;
    this.#join = undefined;
    this.containers.clear();
  }
}
