/** The fake swarm's scheduler: filters as in swarmkit's `scheduler/filter.go`, spread as in its `nodeLess`. */
import type { WireServiceSpec } from '../../src/io/engine-map.ts';
import type { FakeSwarm, Member } from './engine-swarm.ts';
import { type FakeTasks, isWanted, refused, type Task } from './engine-tasks.ts';

export class FakeScheduler {
  readonly #swarm: FakeSwarm;
  readonly #tasks: FakeTasks;

  constructor(swarm: FakeSwarm, tasks: FakeTasks) {
    this.#swarm = swarm;
    this.#tasks = tasks;
  }

  /** Every task without a node gets the best one, if there is one. */
  tick(nowMs: number): void {
    for (const task of this.#tasks.all()) {
      if (task.state !== 'pending' || task.nodeId !== '' || !isWanted(task)) continue;
      const best = this.#best(task);
      if (best === undefined) continue;
      task.nodeId = best.nodeId;
      task.state = 'assigned';
      task.stateSinceMs = nowMs;
    }
  }

  /** The node with the fewest tasks of the service, then with the fewest at all. */
  #best(task: Task): Member | undefined {
    const [best] = [...this.#swarm.members.values()]
      .filter(member => isReady(member) && isAllowed(member, task.spec) && this.#hasRoom(member, task))
      .sort(
        (a, b) =>
          this.#on(a, task.serviceId).length - this.#on(b, task.serviceId).length ||
          this.#on(a).length - this.#on(b).length ||
          (a.nodeId < b.nodeId ? -1 : 1),
      );
    return best;
  }

  #hasRoom(member: Member, { serviceId, spec }: Task): boolean {
    const most = spec.TaskTemplate?.Placement?.MaxReplicas || Number.POSITIVE_INFINITY;
    if (this.#on(member, serviceId).length >= most) return false;
    const taken = new Set(this.#on(member).flatMap(other => hostPorts(other.spec)));
    return !hostPorts(spec).some(port => taken.has(port));
  }

  #on(member: Member, serviceId?: string): Task[] {
    return this.#tasks
      .all()
      .filter(
        task => task.nodeId === member.nodeId && isWanted(task) && (serviceId ?? task.serviceId) === task.serviceId,
      );
  }
}

export const isReady = (member: Member): boolean => member.state === 'ready' && member.availability === 'active';

/** Constraints and platforms. */
export function isAllowed(member: Member, spec: WireServiceSpec): boolean {
  const { Platforms } = spec.TaskTemplate?.Placement ?? {};
  const fits =
    (Platforms ?? []).length === 0 || Platforms?.some(one => one.Architecture === member.engine.architecture);
  return fits === true && matches(member, spec);
}

/** Whether a task that runs there may stay when only the placement changes: swarmkit's `nodeMatches`. */
export const matches = (member: Member, spec: WireServiceSpec): boolean =>
  (spec.TaskTemplate?.Placement?.Constraints ?? []).every(constraint => holds(member, constraint));

/** @throws what the engine says of a constraint that it does not understand, or that these fakes do not */
export function holds(member: Member, constraint: string): boolean {
  const [, key = '', operator, value = ''] = /^\s*([\w.-]+?)\s*(==|!=)\s*(.+?)\s*$/.exec(constraint) ?? [];
  if (operator === undefined) throw refused(400, `constraint expected one operator from ==, != (${constraint})`);
  const is = (factOf(member, key) ?? '').toLowerCase() === value.toLowerCase();
  return operator === '==' ? is : !is;
}

function factOf(member: Member, key: string): string | undefined {
  if (key === 'node.id') return member.nodeId;
  if (key === 'node.hostname') return member.hostname;
  if (key === 'node.role') return member.role;
  if (key === 'node.platform.arch') return member.engine.architecture;
  if (key.startsWith('node.labels.')) return member.labels[key.slice('node.labels.'.length)];
  throw new Error(`FakeScheduler: constraints on ${key} are not faked`);
}

const hostPorts = (spec: WireServiceSpec): string[] =>
  (spec.EndpointSpec?.Ports ?? [])
    .filter(port => port.PublishMode === 'host')
    .map(port => `${port.Protocol}/${port.PublishedPort}`);
