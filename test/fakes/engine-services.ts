/** Services of the fake swarm, kept as the engine keeps them: a spec and a version. */
import type { SwarmService, SwarmTask } from '../../src/core/world.ts';
import { toServiceSpec, toServices, type WireService, type WireServiceSpec } from '../../src/io/engine-map.ts';
import type { ServiceWish } from '../../src/ports.ts';
import { FakeOrchestrator } from './engine-orchestrator.ts';
import { FakeScheduler, holds } from './engine-scheduler.ts';
import type { FakeSwarm } from './engine-swarm.ts';
import { FakeTasks, refused } from './engine-tasks.ts';

export class FakeServices {
  readonly #swarm: FakeSwarm;
  readonly #services = new Map<string, WireService>();
  readonly #tasks: FakeTasks;
  readonly #scheduler: FakeScheduler;
  readonly #orchestrator: FakeOrchestrator;
  #made = 0;
  #writes = 0;

  constructor(swarm: FakeSwarm) {
    this.#swarm = swarm;
    this.#tasks = new FakeTasks(swarm);
    this.#scheduler = new FakeScheduler(swarm, this.#tasks);
    this.#orchestrator = new FakeOrchestrator(swarm, this.#tasks);
  }

  create(wish: ServiceWish, nowMs: number): string {
    if (this.#find(wish.name))
      throw refused(409, `name conflicts with an existing object: service ${wish.name} already exists`);
    for (const port of wish.ports) this.#mustBeFree(port);
    const spec: WireServiceSpec = toServiceSpec(wish);
    this.#mustBeFaked(spec);
    const id = `s${String(++this.#made).padStart(4, '0')}${this.#swarm.id}`.padEnd(25, '0').slice(0, 25);
    const CreatedAt = new Date(nowMs).toISOString();
    this.#services.set(id, { ID: id, Version: { Index: ++this.#writes }, CreatedAt, Spec: spec });
    this.#changed(nowMs);
    return id;
  }

  /** `docker service update`, by whomever. @param change the new spec, or undefined where it is right already */
  update(name: string, change: (spec: WireServiceSpec) => WireServiceSpec | undefined, nowMs: number): void {
    const service = this.#require(name);
    const spec = change(structuredClone(service.Spec));
    if (spec === undefined) return;
    this.#mustBeFaked(spec);
    service.Spec = structuredClone(spec);
    service.Version = { Index: ++this.#writes };
    delete service.UpdateStatus;
    this.#changed(nowMs);
  }

  /** `docker service inspect`. */
  spec(name: string): WireServiceSpec {
    return structuredClone(this.#require(name).Spec);
  }

  delete(name: string): void {
    const { ID } = this.#require(name);
    this.#services.delete(ID);
    this.#orchestrator.forget(ID);
    this.#tasks.drop(ID);
    this.#swarm.changed();
  }

  forgetNode(nodeId: string): void {
    this.#tasks.forgetNode(nodeId);
  }

  listTasks(): SwarmTask[] {
    return this.#tasks.list();
  }

  list(): SwarmService[] {
    const down = [...this.#swarm.members.values()].filter(({ state }) => state === 'down').map(({ nodeId }) => nodeId);
    return toServices([...this.#services.values()], this.#tasks.list(), new Set(down));
  }

  tick(nowMs: number): void {
    this.#tasks.tick(nowMs);
    this.#orchestrator.tick(this.#services.values(), nowMs);
    this.#scheduler.tick(nowMs);
    this.#tasks.release(nowMs);
  }

  #changed(nowMs: number): void {
    this.tick(nowMs);
    this.#swarm.changed();
  }

  #mustBeFree({ published, protocol, mode }: ServiceWish['ports'][number]): void {
    if (published === 0) throw new Error('FakeServices: ports that the swarm chooses are not faked');
    if (mode === 'host') return;
    const taken = [...this.#services.values()].some(({ Spec }) =>
      Spec.EndpointSpec?.Ports?.some(
        port => port.PublishedPort === published && port.Protocol === protocol && port.PublishMode !== 'host',
      ),
    );
    if (taken) throw refused(400, `port '${published}' is already in use by another service as an ingress port`);
  }

  /** @throws where a constraint is not understood, as the engine does when it is written */
  #mustBeFaked(spec: WireServiceSpec): void {
    const [member] = this.#swarm.members.values();
    if (member === undefined) throw new Error('FakeServices: a swarm without members has no services');
    for (const constraint of spec.TaskTemplate?.Placement?.Constraints ?? []) holds(member, constraint);
    if (spec.Mode?.Replicated === undefined && spec.Mode?.Global === undefined)
      throw new Error('FakeServices: jobs are not faked');
    const { RestartPolicy, Placement } = (spec.TaskTemplate ?? {}) as Record<string, { [key: string]: unknown }>;
    if ((RestartPolicy?.Condition ?? 'any') !== 'any')
      throw new Error('FakeServices: tasks that stay ended are not faked');
    if (Placement?.Preferences !== undefined) throw new Error('FakeServices: placement preferences are not faked');
  }

  #find(name: string): WireService | undefined {
    return [...this.#services.values()].find(({ ID, Spec }) => Spec.Name === name || ID === name);
  }

  #require(name: string): WireService {
    const service = this.#find(name);
    if (service === undefined) throw refused(404, `service ${name} not found`);
    return service;
  }
}
