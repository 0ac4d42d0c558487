/** Services and tasks of the fake swarm: the spread scheduler, restarts, drain, and what happens on nodes that are down. */
import type { SwarmService, SwarmTask } from '../../src/core/world.ts';
import { EngineError } from '../../src/errors.ts';
import type { ServiceWish } from '../../src/ports.ts';
import type { FakeSwarm, Member } from './engine-swarm.ts';

interface Service {
  id: string;
  wish: ServiceWish;
  createdAtMs: number;
}

interface Task extends SwarmTask {
  stateSinceMs: number;
  notBeforeMs: number;
}

const RUNTIME = new Set(['starting', 'running']);

export class FakeServices {
  readonly #swarm: FakeSwarm;
  readonly #services = new Map<string, Service>();
  #tasks: Task[] = [];
  #made = 0;

  constructor(swarm: FakeSwarm) {
    this.#swarm = swarm;
  }

  create(wish: ServiceWish, nowMs: number): string {
    if (wish.constraints.length > 0) throw new Error('FakeServices: constraints are not faked');
    if (this.#find(wish.name))
      throw refused(409, `name conflicts with an existing object: service ${wish.name} already exists`);
    for (const port of wish.ports) {
      const taken = [...this.#services.values()].some(other =>
        other.wish.ports.some(p => p.published === port.published && p.protocol === port.protocol),
      );
      if (taken) throw refused(400, `port '${port.published}' is already in use by another service as an ingress port`);
    }
    const id = this.#id('s');
    this.#services.set(id, { id, wish: { ...wish }, createdAtMs: nowMs });
    this.tick(nowMs);
    this.#swarm.changed();
    return id;
  }

  scale(name: string, replicas: number, nowMs: number): void {
    const service = this.#require(name);
    if (service.wish.replicas === undefined) throw refused(400, `${name} is global`);
    service.wish = { ...service.wish, replicas };
    this.tick(nowMs);
    this.#swarm.changed();
  }

  delete(name: string): void {
    const service = this.#require(name);
    this.#services.delete(service.id);
    for (const task of this.#tasks) if (task.serviceId === service.id) this.#drop(task);
    this.#tasks = this.#tasks.filter(task => task.serviceId !== service.id);
    this.#swarm.changed();
  }

  forgetNode(nodeId: string): void {
    this.#tasks = this.#tasks.filter(task => task.nodeId !== nodeId);
  }

  listTasks(): SwarmTask[] {
    return this.#tasks.map(({ stateSinceMs: _, notBeforeMs: __, ...task }) => task);
  }

  list(): SwarmService[] {
    return [...this.#services.values()].map(({ id, wish, createdAtMs }) => {
      const wanted = this.#tasks.filter(task => task.serviceId === id && task.desired === 'running');
      const running = wanted.filter(
        task => task.state === 'running' && this.#swarm.members.get(task.nodeId)?.state === 'ready',
      );
      return {
        id,
        name: wish.name,
        image: wish.image,
        ...(wish.replicas === undefined ? {} : { replicas: wish.replicas }),
        running: running.length,
        desired: wish.replicas ?? wanted.length,
        ports: wish.ports.map(port => ({ ...port })),
        createdAtMs,
      };
    });
  }

  tick(nowMs: number): void {
    for (const task of [...this.#tasks]) this.#step(task, nowMs);
    for (const service of this.#services.values()) this.#reconcile(service, nowMs);
    for (const task of this.#tasks) this.#schedule(task, nowMs);
    // The real one keeps two finished tasks a slot; nobody reads them here.
    this.#tasks = this.#tasks.filter(task => task.desired === 'running' || task.state === 'running');
  }

  /** What the agent on the task's node does, as far as the managers hear of it. */
  #step(task: Task, nowMs: number): void {
    const member = this.#swarm.members.get(task.nodeId);
    if (member === undefined) return;
    if (member.state === 'down') {
      if (task.desired === 'running') task.desired = 'shutdown';
      return;
    }
    if (member.connectedSinceMs === undefined) return;
    const ageMs = nowMs - task.stateSinceMs;
    if (task.desired === 'shutdown') {
      if (ageMs >= this.#swarm.times.taskStopMs) this.#drop(task);
      return;
    }
    if (member.availability === 'drain') {
      task.desired = 'shutdown';
      task.stateSinceMs = nowMs;
    } else if (task.state === 'running' && !member.engine.containers.has(task.id)) {
      task.state = 'failed';
      task.desired = 'shutdown';
    } else if (task.state === 'starting' && ageMs >= this.#swarm.times.taskStartMs) {
      task.state = 'running';
      task.containerId = task.id;
      member.engine.containers.add(task.id);
      member.engine.emit('container');
    }
  }

  #reconcile(service: Service, nowMs: number): void {
    const live = this.#tasks.filter(task => task.serviceId === service.id && task.desired === 'running');
    const { replicas } = service.wish;
    if (replicas === undefined) {
      for (const member of this.#eligible(service)) {
        if (!live.some(task => task.nodeId === member.nodeId)) this.#add(service, nowMs, member.nodeId);
      }
      return;
    }
    const surplus = [...live].sort((a, b) => this.#load(b.nodeId, service.id) - this.#load(a.nodeId, service.id));
    for (const task of surplus.slice(0, Math.max(0, live.length - replicas))) {
      task.desired = 'shutdown';
      task.stateSinceMs = nowMs;
    }
    for (let count = live.length; count < replicas; count++) this.#add(service, nowMs);
  }

  #add(service: Service, nowMs: number, nodeId = ''): void {
    const used = new Set(
      this.#tasks.filter(task => task.serviceId === service.id && task.desired === 'running').map(task => task.slot),
    );
    let slot = 1;
    while (used.has(slot)) slot++;
    // Only what replaces an earlier task waits for the restart delay.
    const replaces = this.#tasks.some(task => task.serviceId === service.id && task.slot === slot);
    this.#tasks.push({
      id: this.#id('t'),
      serviceId: service.id,
      nodeId: '',
      slot,
      state: 'pending',
      desired: 'running',
      stateSinceMs: nowMs,
      notBeforeMs: nowMs + (replaces ? service.wish.restartDelayMs : 0),
      ...(nodeId === '' ? {} : { nodeId, state: 'starting' }),
      ...(service.wish.ports.some(port => port.mode === 'ingress')
        ? { ingressAddress: `10.0.${this.#made >> 8}.${this.#made & 255}` }
        : {}),
    });
  }

  /** Spread: the node with the fewest tasks of the service, then with the fewest at all. */
  #schedule(task: Task, nowMs: number): void {
    const service = this.#services.get(task.serviceId);
    if (task.state !== 'pending' || nowMs < task.notBeforeMs || service === undefined) return;
    const [best] = this.#eligible(service).sort(
      (a, b) =>
        this.#load(a.nodeId, service.id) - this.#load(b.nodeId, service.id) ||
        this.#load(a.nodeId) - this.#load(b.nodeId) ||
        (a.nodeId < b.nodeId ? -1 : 1),
    );
    if (best === undefined) return;
    task.nodeId = best.nodeId;
    task.state = 'starting';
    task.stateSinceMs = nowMs;
  }

  #eligible(service: Service): Member[] {
    const { platforms } = service.wish;
    return [...this.#swarm.members.values()].filter(
      member =>
        member.state === 'ready' &&
        member.availability === 'active' &&
        (platforms.length === 0 || platforms.some(platform => platform.architecture === member.engine.architecture)),
    );
  }

  #load(nodeId: string, serviceId?: string): number {
    return this.#tasks.filter(
      task =>
        task.nodeId === nodeId &&
        task.desired === 'running' &&
        RUNTIME.has(task.state) &&
        (serviceId ?? task.serviceId) === task.serviceId,
    ).length;
  }

  #drop(task: Task): void {
    const engine = this.#swarm.members.get(task.nodeId)?.engine;
    task.state = 'shutdown';
    task.desired = 'shutdown';
    if (engine?.containers.delete(task.id)) engine.emit('container');
  }

  #find(name: string): Service | undefined {
    return [...this.#services.values()].find(({ id, wish }) => wish.name === name || id === name);
  }

  #require(name: string): Service {
    const service = this.#find(name);
    if (service === undefined) throw refused(404, `service ${name} not found`);
    return service;
  }

  #id(kind: string): string {
    return `${kind}${String(++this.#made).padStart(4, '0')}${this.#swarm.id}`.padEnd(25, '0').slice(0, 25);
  }
}

export function refused(status: number, message: string): EngineError {
  const code = status === 404 ? 'notFound' : status >= 500 ? 'unavailable' : 'refused';
  return new EngineError(message, undefined, { status, code });
}
