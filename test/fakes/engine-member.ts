/** A fake engine in or out of a swarm: init, join, leave, and what it says of itself. */
import { EngineError } from '../../src/errors.ts';
import type { Engine, EngineInfo, SwarmInitOptions, SwarmJoinOptions } from '../../src/ports.ts';
import type { FakeEngine } from './engine.ts';
import type { FakeSwarmLan } from './engine-lan.ts';
import { FakeMachine } from './engine-machine.ts';
import type { FakeSwarm, Member } from './engine-swarm.ts';
import { refused } from './engine-tasks.ts';

const NO_LEADER = "The swarm does not have a leader. It's possible that too few managers are online.";
const NOT_MANAGER = 'This node is not a swarm manager.';

export class FakeMember extends FakeMachine {
  swarm: FakeSwarm | undefined;
  nodeId = '';
  protected readonly lan: FakeSwarmLan;
  #active = false;
  #join: SwarmJoinOptions | undefined;

  constructor(lan: FakeSwarmLan, name: string, address: string, architecture: string) {
    super(name, address, architecture, (a, b) => lan.linked(a as FakeEngine, b as FakeEngine));
    this.lan = lan;
  }

  override powerOn(): void {
    super.powerOn();
    this.#active = false;
  }

  /** A new SD card: nothing is left. */
  wipe(): void {
    this.#forget();
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
    const swarm = this.lan.makeSwarm({ ...options, labels: { ...options.labels } });
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

  /** @throws what an engine says that cannot speak for its swarm */
  protected manage(method: keyof Engine): FakeSwarm {
    this.call(method);
    const { swarm } = this;
    if (swarm === undefined || this.#member()?.role !== 'manager') throw refused(503, NOT_MANAGER);
    if (!this.#active || swarm.leaderFor(this) === undefined) throw refused(503, NO_LEADER);
    return swarm;
  }

  #member(): Member | undefined {
    return this.swarm?.members.get(this.nodeId);
  }

  #mustBeOutside(): void {
    if (this.swarm === undefined && this.#join === undefined) return;
    throw refused(
      503,
      'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.',
    );
  }

  #findSwarm(options: SwarmJoinOptions): FakeSwarm | undefined {
    for (const engine of this.lan.engines.values()) {
      if (
        engine.name === this.name ||
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
    this.nodeId = this.lan.id('node');
    this.#active = true;
    swarm.add(this.nodeId, this, role, this.lan.now());
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
