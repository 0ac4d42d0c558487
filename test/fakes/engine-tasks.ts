/** Tasks of the fake swarm, and what the engines do with theirs as far as the managers hear of it. */
import type { SwarmTask } from '../../src/core/world.ts';
import { EngineError } from '../../src/errors.ts';
import type { WireServiceSpec } from '../../src/io/engine-map.ts';
import type { FakeSwarm } from './engine-swarm.ts';

export interface Task extends SwarmTask {
  /** The service's spec when it was made. */
  spec: WireServiceSpec;
  stateSinceMs: number;
  /** While `desired` is `ready`: when it may start, and the task that has to stop before. */
  notBeforeMs: number;
  madeMs: number;
  after?: string;
}

/** swarmkit waits no longer for an old task to stop. */
export const OLD_TASK_TIMEOUT_MS = 60_000;

/** Neither shut down nor to be removed: it counts where tasks are counted (`DesiredState <= RUNNING`). */
export const isWanted = ({ desired }: Task): boolean => desired === 'running' || desired === 'ready';

const RUNTIME = new Set(['starting', 'running']);

export class FakeTasks {
  readonly #swarm: FakeSwarm;
  #all: Task[] = [];
  #made = 0;

  constructor(swarm: FakeSwarm) {
    this.#swarm = swarm;
  }

  /** Those of one service that count. */
  wanted(serviceId: string): Task[] {
    return this.#all.filter(task => task.serviceId === serviceId && isWanted(task));
  }

  all(): readonly Task[] {
    return this.#all;
  }

  list(): SwarmTask[] {
    return this.#all.map(
      ({ spec: _, stateSinceMs: __, notBeforeMs: ___, madeMs: ____, after: _____, ...task }) => task,
    );
  }

  make(
    service: { id: string; spec: WireServiceSpec },
    slot: number,
    nowMs: number,
    more: { nodeId?: string; notBeforeMs?: number; after?: string } = {},
  ): Task {
    const isIngress = service.spec.EndpointSpec?.Ports?.some(port => port.PublishMode !== 'host') === true;
    const { nodeId = '', notBeforeMs = nowMs, after } = more;
    const task: Task = {
      id: this.#id(),
      serviceId: service.id,
      nodeId,
      slot,
      state: nodeId === '' ? 'pending' : 'assigned',
      desired: 'ready',
      spec: service.spec,
      stateSinceMs: nowMs,
      madeMs: nowMs,
      notBeforeMs,
      ...(after === undefined ? {} : { after }),
      ...(isIngress ? { ingressAddress: `10.0.${this.#made >> 8}.${this.#made & 255}` } : {}),
    };
    this.#all.push(task);
    return task;
  }

  end(task: Task, desired: 'shutdown' | 'remove', nowMs: number): void {
    if (!isWanted(task)) return;
    task.desired = desired;
    task.stateSinceMs = nowMs;
  }

  /** The whole service is gone. */
  drop(serviceId: string): void {
    for (const task of this.#all) if (task.serviceId === serviceId) this.#stop(task);
    this.#all = this.#all.filter(task => task.serviceId !== serviceId);
  }

  forgetNode(nodeId: string): void {
    this.#all = this.#all.filter(task => task.nodeId !== nodeId);
  }

  /** What the engines did since. */
  tick(nowMs: number): void {
    for (const task of this.#all) this.#step(task, nowMs);
    // The real one keeps a few finished tasks a slot; nobody reads them here.
    this.#all = this.#all.filter(task => isWanted(task) || RUNTIME.has(task.state));
  }

  /** Tasks whose time has come start. */
  release(nowMs: number): void {
    for (const task of this.#all) {
      if (task.desired === 'ready' && nowMs >= task.notBeforeMs && !this.#waits(task, nowMs)) task.desired = 'running';
      if (task.desired !== 'running' || task.state !== 'assigned') continue;
      task.state = 'starting';
      task.stateSinceMs = nowMs;
    }
  }

  #step(task: Task, nowMs: number): void {
    const member = this.#swarm.members.get(task.nodeId);
    if (member === undefined || !RUNTIME.has(task.state)) return;
    if (member.state === 'down' || member.connectedSinceMs === undefined) return;
    const ageMs = nowMs - task.stateSinceMs;
    if (!isWanted(task)) {
      if (ageMs >= this.#swarm.times.taskStopMs) this.#stop(task);
    } else if (task.state === 'running' && !member.engine.containers.has(task.id)) {
      task.state = 'failed';
    } else if (task.state === 'starting' && ageMs >= (member.engine.taskStartMs ?? this.#swarm.times.taskStartMs)) {
      task.state = 'running';
      task.stateSinceMs = nowMs;
      task.containerId = task.id;
      member.engine.containers.add(task.id);
      member.engine.emit('container');
    }
  }

  #waits(task: Task, nowMs: number): boolean {
    const old = this.#all.find(({ id }) => id === task.after);
    if (old === undefined || !RUNTIME.has(old.state) || nowMs - task.madeMs >= OLD_TASK_TIMEOUT_MS) return false;
    const node = this.#swarm.members.get(old.nodeId);
    return node !== undefined && node.state !== 'down';
  }

  #stop(task: Task): void {
    const engine = this.#swarm.members.get(task.nodeId)?.engine;
    task.state = 'shutdown';
    task.desired = 'shutdown';
    if (engine?.containers.delete(task.id)) engine.emit('container');
  }

  #id(): string {
    return `t${String(++this.#made).padStart(4, '0')}${this.#swarm.id}`.padEnd(25, '0').slice(0, 25);
  }
}

export function refused(status: number, message: string): EngineError {
  const code = status === 404 ? 'notFound' : status >= 500 ? 'unavailable' : 'refused';
  return new EngineError(message, undefined, { status, code });
}
