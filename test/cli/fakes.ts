/** A manager's commands with fakes behind them; whatever was not faked throws when it is called. */
import { type CommandDeps, createCommands } from '../../src/commands.ts';
import { meshTable, meshVersion } from '../../src/core/mesh.ts';
import type { Peer, SwarmNode, SwarmService, SwarmTask } from '../../src/core/world.ts';
import { fromWire, isPiSwarmError } from '../../src/errors.ts';
import type { ServiceWish } from '../../src/ports.ts';
import { snapshotOf } from './fixtures.ts';

/** An object of which only `methods` work. */
export function only<T extends object>(methods: Partial<T>): T {
  return new Proxy(methods as T, {
    get(target, key) {
      if (key in target) return Reflect.get(target, key);
      throw new Error(`${String(key)} was not faked`);
    },
  });
}

export const nodeOf = (number: number, more: Partial<SwarmNode> = {}): SwarmNode => ({
  nodeId: `node${number}`,
  hostname: `pi${number}`,
  labels: {},
  role: number <= 3 ? 'manager' : 'worker',
  availability: 'active',
  state: 'ready',
  leader: number === 1,
  reachable: true,
  voter: number <= 3,
  address: `192.168.1.${10 + number}`,
  architecture: 'aarch64',
  os: 'linux',
  createdAtMs: 0,
  ...more,
});

export const taskOf = (slot: number, more: Partial<SwarmTask> = {}): SwarmTask => ({
  id: `task${slot}`,
  serviceId: 'svc1',
  nodeId: `node${((slot - 1) % 3) + 1}`,
  slot,
  state: 'running',
  desired: 'running',
  ...more,
});

export const peerOf = (number: number, more: Partial<Peer['status']> = {}): Peer =>
  ({
    id: `peer${number}`,
    liveness: 'alive',
    firstSeenMs: 0,
    lastSeenMs: 0,
    status: only<Peer['status']>({
      name: `pi${number}`,
      swarm: { state: 'active' } as Peer['status']['swarm'],
      ...more,
    }),
  }) satisfies Peer;

/** A small swarm in memory: `deploy` makes a service whose tasks run at once, unless `fail` says why they do not. */
export class FakeManager {
  services: SwarmService[] = [];
  tasks: SwarmTask[] = [];
  nodes: SwarmNode[] = [1, 2, 3].map(number => nodeOf(number));
  wishes: ServiceWish[] = [];
  intents: string[] = [];
  /** What each task fails with. */
  fail: string | undefined;
  #failures = 0;
  prepared = 0;

  readonly engine: CommandDeps['engine'] = only<CommandDeps['engine']>({
    nodes: async () => this.nodes,
    services: async () => structuredClone(this.services),
    tasks: async () => this.tasks,
    imagePlatforms: async () => [{ os: 'linux', architecture: 'arm64' }],
    serviceCreate: async wish => {
      this.wishes.push(wish);
      const { name, image, replicas, ports } = wish;
      this.services.push({
        id: `svc${this.wishes.length}`,
        name,
        image,
        ...(replicas === undefined ? {} : { replicas }),
        ports,
        running: 0,
        desired: 0,
        createdAtMs: 0,
      });
      this.run(name, replicas ?? this.nodes.length);
      return { id: `svc${this.wishes.length}`, warnings: [] };
    },
    serviceScale: async (name, replicas) => this.run(name, replicas),
    serviceRemove: async name => {
      this.services = this.services.filter(service => service.name !== name);
    },
  });

  run(name: string, replicas: number): void {
    const service = this.services.find(candidate => candidate.name === name);
    if (service === undefined) throw new Error(`no ${name}`);
    if (service.replicas !== undefined) service.replicas = replicas;
    service.desired = replicas;
    service.running = this.fail === undefined ? replicas : 0;
    const others = this.tasks.filter(task => task.serviceId !== service.id);
    const mine = this.tasks.filter(task => task.serviceId === service.id);
    const failed = { state: 'rejected', desired: 'shutdown', error: this.fail, id: `failed${++this.#failures}` };
    const now =
      this.fail === undefined
        ? Array.from({ length: replicas }, (_, index) => taskOf(index + 1, { serviceId: service.id }))
        : // The engine remembers two failed tasks of a slot and forgets the older ones.
          [...mine.slice(-1), taskOf(1, { serviceId: service.id, ...failed })];
    this.tasks = [...others, ...now];
  }

  /** Every Pi follows the latest version of the published ports. */
  applied(): string[] {
    const version = meshVersion(meshTable(this.services, this.tasks));
    return this.nodes.map(() => version);
  }

  deps(more: Partial<CommandDeps> = {}): CommandDeps {
    return only<CommandDeps>({
      self: { id: '1111111111111111', name: 'pi1' },
      engine: this.engine,
      peers: only<CommandDeps['peers']>({ list: () => [] }),
      snapshot: () => snapshotOf({ pis: 3, services: this.services }),
      isManager: () => true,
      managers: () => [],
      world: () => undefined,
      meshApplied: () => this.applied(),
      requestIntent: async intent => {
        this.intents.push(intent);
      },
      whoami: {
        image: 'pi-swarm/whoami:1',
        port: 8000,
        ensure: async () => {
          this.prepared++;
        },
      },
      restartDelayMs: 100,
      ...more,
    });
  }

  commands(more: Partial<CommandDeps> = {}) {
    return createCommands(this.deps(more));
  }
}

/** As an error looks after it crossed a socket. */
export const overWire = (error: unknown): Error =>
  isPiSwarmError(error) ? fromWire(error.toWire()) : (error as Error);
