/** swarmkit's updater of one service, towards one version of its spec (`update/updater.go`). */
import type { WireService } from '../../src/io/engine-map.ts';
import { matches } from './engine-scheduler.ts';
import type { FakeSwarm } from './engine-swarm.ts';
import { type FakeTasks, isWanted, OLD_TASK_TIMEOUT_MS, type Task } from './engine-tasks.ts';

interface UpdateConfig {
  Parallelism?: number;
  Order?: string;
  Monitor?: number;
  Delay?: number;
}

const MONITOR_MS = 5_000;

export class FakeUpdate {
  readonly version: number;
  readonly #swarm: FakeSwarm;
  readonly #tasks: FakeTasks;
  readonly #service: WireService;
  readonly #config: UpdateConfig;
  /** Slots that wait for their turn. */
  readonly #queue: number[];
  /** Successors that have to run before the next slot's turn comes. */
  readonly #working = new Map<number, Task>();
  #doneMs: number | undefined;

  /** @param slots those that are to stay */
  constructor(swarm: FakeSwarm, tasks: FakeTasks, service: WireService, slots: Task[][]) {
    this.version = service.Version.Index;
    this.#swarm = swarm;
    this.#tasks = tasks;
    this.#service = service;
    this.#config = service.Spec.UpdateConfig ?? {};
    if (this.#config.Delay) throw new Error('FakeUpdate: UpdateConfig.Delay is not faked');
    this.#queue = slots
      .filter(slot => slot.length > 1 || slot.some(task => this.#isDirty(task)))
      .map(slot => slot[0]?.slot ?? 0);
    if (this.#queue.length > 0 && service.UpdateStatus === undefined) service.UpdateStatus = { State: 'updating' };
  }

  tick(nowMs: number): void {
    for (const [slot, successor] of this.#working) this.#look(slot, successor, nowMs);
    const most = this.#config.Parallelism === 0 ? Number.POSITIVE_INFINITY : (this.#config.Parallelism ?? 1);
    while (this.#working.size < most) {
      const slot = this.#queue.shift();
      if (slot === undefined) break;
      this.#begin(slot, nowMs);
    }
    if (this.#queue.length > 0 || this.#working.size > 0) return;
    this.#doneMs ??= nowMs;
    const monitorMs = this.#config.Monitor === undefined ? MONITOR_MS : this.#config.Monitor / 1e6;
    if (this.#service.UpdateStatus?.State === 'updating' && nowMs - this.#doneMs >= monitorMs)
      this.#service.UpdateStatus = { State: 'completed' };
  }

  #begin(slot: number, nowMs: number): void {
    const tasks = this.#inSlot(slot);
    const clean = tasks.filter(task => !this.#isDirty(task));
    // A clean one that shall run is taken for the new one, whether it runs or waits for a node: the others go.
    const existing = clean.find(({ desired }) => desired === 'running') ?? clean[0];
    if (existing !== undefined) {
      for (const task of tasks) if (task !== existing) this.#tasks.end(task, 'shutdown', nowMs);
      return;
    }
    const [old] = tasks;
    if (old === undefined) return;
    const startFirst = this.#config.Order === 'start-first';
    if (!startFirst) for (const task of tasks) this.#tasks.end(task, 'shutdown', nowMs);
    const service = { id: this.#service.ID, spec: this.#service.Spec };
    // Nobody stops a task that never had a node: its successor waits in vain (measured on 20.10).
    const notBeforeMs = nowMs + (startFirst || old.nodeId !== '' ? 0 : OLD_TASK_TIMEOUT_MS);
    const successor = this.#tasks.make(service, slot, nowMs, { notBeforeMs, ...(startFirst ? {} : { after: old.id }) });
    this.#working.set(slot, successor);
  }

  #look(slot: number, successor: Task, nowMs: number): void {
    const waits = ['pending', 'assigned', 'starting'].includes(successor.state) && isWanted(successor);
    if (waits) return;
    this.#working.delete(slot);
    if (successor.state !== 'running') return;
    for (const task of this.#inSlot(slot)) if (task !== successor) this.#tasks.end(task, 'shutdown', nowMs);
  }

  #inSlot(slot: number): Task[] {
    return this.#tasks.wanted(this.#service.ID).filter(task => task.slot === slot);
  }

  /** `orchestrator.IsTaskDirty`: not when only the placement changed and the task's node still matches. */
  #isDirty(task: Task): boolean {
    const spec = this.#service.Spec;
    const node = this.#swarm.members.get(task.nodeId);
    if (spec === task.spec) return false;
    const { Placement: now, ...template } = spec.TaskTemplate ?? {};
    const { Placement: then, ...was } = task.spec.TaskTemplate ?? {};
    if (!isSame(template, was) || !isSame(spec.EndpointSpec, task.spec.EndpointSpec)) return true;
    return !isSame(now, then) && (node === undefined || !matches(node, spec));
  }
}

const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
