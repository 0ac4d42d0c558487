/** Follows the tasks of services while a test goes on: how many ran at any time, and what stopped before what ran. */

import { askEngine } from '../../scripts/swarm-view.ts';
import type { Lab } from '../../src/lab/lab.ts';

interface ApiTask {
  ID: string;
  NodeID?: string;
  ServiceID: string;
  DesiredState: string;
  Status: { State: string; Timestamp: string; ContainerStatus?: { ContainerID?: string } };
}

interface ApiService {
  ID: string;
  Spec: { Name: string; Labels?: Record<string, string> };
}

interface ApiNode {
  ID: string;
  Description: { Hostname: string };
  Spec: { Role: string; Availability: string };
  Status: { State: string };
  ManagerStatus?: { Leader?: boolean; Reachability?: string };
}

export interface TaskLife {
  id: string;
  service: string;
  pi: string;
  /** As whoami says it. */
  container: string;
  /** Milliseconds since 1970, by the engine that ran it. */
  runsSinceMs: number;
  endedMs?: number;
}

export interface Watched {
  /** Fewest that ran and were meant to, in any look; by service. */
  least: Record<string, number>;
  looks: number;
  tasks: TaskLife[];
  /** What changed when, for a person: `[ms since 1970, text]`. */
  story: [number, string][];
}

const EVERY_MS = 100;
/** While a leader is elected no manager answers. */
const ANSWER_MS = 1_000;
const ENDED = new Set(['complete', 'failed', 'shutdown', 'rejected', 'remove', 'orphaned']);

export class TaskWatch {
  readonly #lab: Lab;
  readonly #least: Record<string, number> = {};
  readonly #lives = new Map<string, TaskLife>();
  readonly #states = new Map<string, string>();
  readonly #story: [number, string][] = [];
  #looks = 0;
  #last = '';
  #stopped = false;
  #running: Promise<void>;

  constructor(lab: Lab) {
    this.#lab = lab;
    this.#running = this.#run();
  }

  async stop(): Promise<Watched> {
    this.#stopped = true;
    await this.#running;
    return { least: this.#least, looks: this.#looks, tasks: [...this.#lives.values()], story: this.#story };
  }

  /** Adds to what happened, for a person. */
  note(text: string): void {
    this.#story.push([Date.now(), text]);
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#look();
      await new Promise(resolve => setTimeout(resolve, EVERY_MS));
    }
  }

  /** Asks first whoever answered last. */
  async #look(): Promise<void> {
    for (const pi of [this.#last, ...this.#lab.pis().filter(pi => pi !== this.#last)].filter(Boolean)) {
      try {
        const [services, tasks, nodes] = await Promise.all([
          askEngine<ApiService[]>(this.#lab, pi, '/services', ANSWER_MS),
          askEngine<ApiTask[]>(this.#lab, pi, '/tasks', ANSWER_MS),
          askEngine<ApiNode[]>(this.#lab, pi, '/nodes', ANSWER_MS),
        ]);
        this.#last = pi;
        this.#see(services, tasks, new Map(nodes.map(node => [node.ID, node.Description.Hostname])));
        for (const node of nodes) this.#tell(`node ${node.Description.Hostname}`, stateOf(node));
        return;
      } catch {
        // Off, a worker, or without a leader: the next one.
      }
    }
  }

  #see(services: ApiService[], tasks: ApiTask[], names: Map<string, string>): void {
    this.#looks++;
    const nameOf = new Map(services.map(({ ID, Spec }) => [ID, Spec.Name]));
    for (const { ID, Spec } of services) {
      const running = tasks.filter(
        task => task.ServiceID === ID && task.DesiredState === 'running' && task.Status.State === 'running',
      ).length;
      this.#least[Spec.Name] = Math.min(this.#least[Spec.Name] ?? running, running);
      this.#tell(`service ${Spec.Name}`, Spec.Labels?.['pi-swarm.move'] ?? 'no move');
    }
    for (const task of tasks) this.#follow(task, nameOf.get(task.ServiceID), names.get(task.NodeID ?? ''));
    const listed = new Set(tasks.map(({ ID }) => ID));
    for (const life of this.#lives.values()) if (!listed.has(life.id)) life.endedMs ??= Date.now();
  }

  #follow(task: ApiTask, service = '(gone)', pi = '–'): void {
    const { State, Timestamp, ContainerStatus } = task.Status;
    const container = ContainerStatus?.ContainerID?.slice(0, 12) ?? '';
    this.#tell(`${service} ${task.ID.slice(0, 6)} ${container} on ${pi}`, `${State}, wanted ${task.DesiredState}`);
    const life = this.#lives.get(task.ID);
    if (State === 'running' && life === undefined) {
      this.#lives.set(task.ID, { id: task.ID, service, pi, container, runsSinceMs: Date.parse(Timestamp) });
    }
    if (life !== undefined && ENDED.has(State)) life.endedMs ??= Date.parse(Timestamp);
  }

  #tell(who: string, what: string): void {
    if (this.#states.get(who) === what) return;
    this.#states.set(who, what);
    this.#story.push([Date.now(), `${who}: ${what}`]);
  }
}

function stateOf({ Spec, Status, ManagerStatus }: ApiNode): string {
  const raft =
    ManagerStatus === undefined ? 'not in Raft' : `${ManagerStatus.Leader ? 'leads' : ManagerStatus.Reachability}`;
  return `${Status.State}, ${Spec.Availability}, ${Spec.Role}, ${raft}`;
}

/** How many tasks of its service ran at the moment that this one ended, itself not counted. */
export function runningWhenEnded(tasks: readonly TaskLife[], gone: TaskLife): number {
  const at = gone.endedMs ?? Number.POSITIVE_INFINITY;
  return tasks.filter(
    ({ id, service, runsSinceMs, endedMs }) =>
      id !== gone.id && service === gone.service && runsSinceMs <= at && (endedMs === undefined || endedMs > at),
  ).length;
}
