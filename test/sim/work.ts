/** Work for a simulated cluster, and what has to hold of it at every moment. */
import { expect } from 'vitest';
import type { ServiceWish } from '../../src/ports.ts';
import type { FakeServices } from '../fakes/engine-services.ts';
import type { SimCluster } from './cluster.ts';
import type { SimPi } from './pi.ts';

const service = (name: string, more: Partial<ServiceWish>): ServiceWish => ({
  name,
  image: 'web',
  platforms: [],
  ports: [],
  env: [],
  constraints: [],
  labels: {},
  mounts: [],
  networks: [],
  restartDelayMs: 100,
  ...more,
});

export class Work {
  readonly sim: SimCluster;
  readonly #specs = new Map<string, object>();

  constructor(sim: SimCluster) {
    this.sim = sim;
  }

  get services(): FakeServices {
    const [swarm] = this.sim.swarms.swarms();
    if (swarm === undefined) throw new Error('there is no swarm');
    return swarm.services;
  }

  get leader(): SimPi {
    const [swarm] = this.sim.swarms.swarms();
    const pi = this.sim.pis.find(({ engine }) => engine.nodeId !== '' && engine.nodeId === swarm?.leader);
    if (pi === undefined) throw new Error('there is no leader');
    return pi;
  }

  async begin(): Promise<void> {
    const { sim } = this;
    for (const pi of sim.pis) pi.powerOn();
    await sim.until('everybody is in', () => sim.pis.every(pi => pi.world?.swarm.state === 'active'), 60_000);
    await sim.run(15_000);
    const ingress = (published: number): ServiceWish['ports'] => [
      { protocol: 'tcp', published, target: 80, mode: 'ingress' },
    ];
    const wishes = [
      service('web', { replicas: 1 + Math.floor(sim.random() * 7), ports: ingress(80), labels: { team: 'a' } }),
      service('single', { replicas: 1, ports: ingress(81), constraints: ['node.hostname!=nobody'] }),
      service('everywhere', {}),
    ];
    for (const wish of wishes) await this.leader.engine.serviceCreate(wish);
    await sim.until('all run', () => this.isComplete(), 20_000);
    for (const { name } of wishes) this.#specs.set(name, this.services.spec(name));
    await sim.until(
      'every Pi answers on the published ports',
      () => sim.pis.every(pi => pi.mesh.targets().size === 2) && this.problem() === undefined,
      60_000,
    );
  }

  isComplete(): boolean {
    return this.services.list().every(({ running, desired }) => running === desired);
  }

  /** Those that answer: what runs on a Pi without power does not. */
  answering(): Map<string, { service: string; address: string }> {
    const containers = new Set(this.sim.pis.flatMap(pi => [...pi.engine.containers]));
    const tasks = this.services.listTasks().filter(task => task.desired === 'running' && task.state === 'running');
    const alive = tasks.filter(({ id }) => containers.has(id));
    return new Map(
      alive.map(({ id, serviceId, ingressAddress = '' }) => [id, { service: serviceId, address: ingressAddress }]),
    );
  }

  /** Tasks that answer, by service. */
  counts(): Map<string, number> {
    const counts = new Map(this.services.list().map(({ name }) => [name, 0]));
    const names = new Map(this.services.list().map(({ id, name }) => [id, name]));
    for (const { service } of this.answering().values()) {
      const name = names.get(service) ?? '';
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  }

  /** As many tasks as wished, and no Pi sends a request to one that does not answer. */
  problem(): string | undefined {
    const answering = [...this.answering().values()];
    for (const { id, name, replicas } of this.services.list()) {
      const count = answering.filter(task => task.service === id).length;
      if (replicas !== undefined && count < replicas) return `${count} of ${replicas} tasks of ${name} run`;
    }
    const addresses = new Set(answering.map(({ address }) => address));
    for (const pi of this.sim.pis.filter(({ running }) => running)) {
      for (const [port, targets] of pi.mesh.targets()) {
        if (targets.length === 0) return `${pi.name} refuses port ${port}`;
        const dead = targets.find(target => !addresses.has(target));
        if (dead !== undefined) return `${pi.name} sends requests for port ${port} to ${dead}, where nothing runs`;
      }
    }
    return undefined;
  }

  /** @throws when something is wrong at any moment until then */
  async smoothly(what: string, fact: () => boolean, limitMs: number): Promise<void> {
    await this.sim.until(
      what,
      () => {
        const problem = this.problem();
        if (problem !== undefined) throw new Error(`${problem}\n${this.sim.report()}`);
        return fact();
      },
      limitMs,
    );
  }

  /** So long nothing may be wrong at any moment. */
  async calm(ms: number): Promise<void> {
    const endMs = this.sim.clock.now() + ms;
    await this.smoothly('time passes', () => this.sim.clock.now() >= endMs, ms + 1_000);
  }

  async ask(pi: SimPi, intent: 'leave' | 'shutdown'): Promise<void> {
    this.sim.note(`${pi.name}: is to ${intent}`);
    await pi.intend(intent);
  }

  /** Takes its power when it says that it may go. */
  hasGone(pi: SimPi): boolean {
    if (!pi.running) return true;
    if (pi.memory.intent !== 'left' && pi.decision?.mayStop !== true) return false;
    this.sim.note(`${pi.name}: goes`);
    pi.powerOff();
    return true;
  }

  async comeBack(pi: SimPi): Promise<void> {
    this.sim.note(`${pi.name}: comes back`);
    pi.powerOn();
    // `pi-swarm join`, after a `leave`.
    if (pi.memory.intent === 'left') await pi.intend('stay');
  }

  /** Nothing of any move is left: the specs are as they were. */
  async isAsBefore(): Promise<void> {
    await this.sim.until(
      'no move is under way, and all run',
      () => this.isComplete() && this.services.list().every(({ move }) => move === undefined),
      120_000,
    );
    for (const [name, spec] of this.#specs) expect(this.services.spec(name)).toEqual(spec);
  }
}
