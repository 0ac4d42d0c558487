/**
 * What swarmkit's orchestrators do for services, one turn at a time: as many slots as wished, restarts, drain, and updates when
 * the spec changes (`replicated/services.go`, `restart/restart.go`, `update/updater.go`). Deterministic where swarmkit is not.
 */
import type { WireService } from '../../src/io/engine-map.ts';
import { isAllowed, isReady } from './engine-scheduler.ts';
import type { FakeSwarm } from './engine-swarm.ts';
import type { FakeTasks, Task } from './engine-tasks.ts';
import { FakeUpdate } from './engine-update.ts';

const DEFAULT_DELAY_MS = 5_000;

export class FakeOrchestrator {
  readonly #swarm: FakeSwarm;
  readonly #tasks: FakeTasks;
  /** By service; only in the leader's memory. */
  readonly #updates = new Map<string, FakeUpdate>();
  #leader: string | undefined;

  constructor(swarm: FakeSwarm, tasks: FakeTasks) {
    this.#swarm = swarm;
    this.#tasks = tasks;
  }

  tick(services: Iterable<WireService>, nowMs: number): void {
    if (this.#leader !== this.#swarm.leader) this.#updates.clear();
    this.#leader = this.#swarm.leader;
    for (const service of services) {
      for (const task of this.#tasks.wanted(service.ID)) this.#restart(service, task, nowMs);
      if (service.Spec.Mode?.Global !== undefined) this.#everywhere(service, nowMs);
      else this.#replicate(service, nowMs);
    }
  }

  forget(serviceId: string): void {
    this.#updates.delete(serviceId);
  }

  /** Tasks that ended, and those on nodes that are down or drained, get a successor in their slot. */
  #restart(service: WireService, task: Task, nowMs: number): void {
    const node = this.#swarm.members.get(task.nodeId);
    const ended = task.state === 'failed';
    const down = node?.state === 'down';
    const drained = node?.availability === 'drain';
    if (task.nodeId === '' || !(ended || down || drained)) return;
    this.#tasks.end(task, 'shutdown', nowMs);
    const isGlobal = service.Spec.Mode?.Global !== undefined;
    if (isGlobal && (down || drained)) return;
    this.#tasks.make({ id: service.ID, spec: service.Spec }, task.slot, nowMs, {
      ...(isGlobal ? { nodeId: task.nodeId } : {}),
      // The delay is not for drained nodes.
      notBeforeMs: nowMs + (drained ? 0 : delayMsOf(service)),
      ...(ended || down ? {} : { after: task.id }),
    });
  }

  #everywhere(service: WireService, nowMs: number): void {
    const live = this.#tasks.wanted(service.ID);
    for (const member of this.#swarm.members.values()) {
      if (!isReady(member) || !isAllowed(member, service.Spec)) continue;
      if (live.some(task => task.nodeId === member.nodeId)) continue;
      this.#tasks.make({ id: service.ID, spec: service.Spec }, 0, nowMs, { nodeId: member.nodeId });
    }
  }

  #replicate(service: WireService, nowMs: number): void {
    const wished = service.Spec.Mode?.Replicated?.Replicas ?? 0;
    const slots = this.#slotsOf(service);
    const kept = slots.length > wished ? byWhatGoesLast(slots).slice(0, wished) : slots;
    this.#update(service, kept, nowMs);
    for (const slot of slots) {
      if (!kept.includes(slot)) for (const task of slot) this.#tasks.end(task, 'remove', nowMs);
    }
    const used = new Set(slots.map(slot => slot[0]?.slot));
    for (let slot = 1, missing = wished - slots.length; missing > 0; slot++) {
      if (used.has(slot)) continue;
      this.#tasks.make({ id: service.ID, spec: service.Spec }, slot, nowMs);
      missing--;
    }
  }

  #slotsOf(service: WireService): Task[][] {
    const slots = new Map<number, Task[]>();
    for (const task of this.#tasks.wanted(service.ID)) slots.set(task.slot, [...(slots.get(task.slot) ?? []), task]);
    return [...slots.entries()].sort(([a], [b]) => a - b).map(([, slot]) => slot);
  }

  #update(service: WireService, slots: Task[][], nowMs: number): void {
    let update = this.#updates.get(service.ID);
    if (update === undefined || update.version !== service.Version.Index) {
      update = new FakeUpdate(this.#swarm, this.#tasks, service, slots);
      this.#updates.set(service.ID, update);
    }
    update.tick(nowMs);
  }
}

/** Scale-down takes from the end: first what does not run or is there twice, then what is the nth on its node. */
function byWhatGoesLast(slots: Task[][]): Task[][] {
  const runs = (slot: Task[]): number => (slot.some(({ state }) => state === 'running') ? 0 : 1);
  const copies = new Map<string, number>();
  const indexed = [...slots]
    .sort((a, b) => runs(a) - runs(b))
    .map(slot => {
      const [only, second] = slot;
      if (only === undefined || second !== undefined || only.nodeId === '') {
        return { slot, index: Number.MAX_SAFE_INTEGER };
      }
      const index = (copies.get(only.nodeId) ?? 0) + 1;
      copies.set(only.nodeId, index);
      return { slot, index };
    });
  return indexed.sort((a, b) => a.index - b.index).map(({ slot }) => slot);
}

function delayMsOf({ Spec }: WireService): number {
  const { RestartPolicy } = (Spec.TaskTemplate ?? {}) as { RestartPolicy?: { Delay?: number } };
  return RestartPolicy?.Delay === undefined ? DEFAULT_DELAY_MS : RestartPolicy.Delay / 1e6;
}
