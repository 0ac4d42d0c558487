/**
 * Where tasks run, and where swarm would start one more: the node with the fewest of its service, then the one with the fewest of all
 * (swarmkit `manager/scheduler`, nodeLess). Pure.
 */
import { holds, parseConstraint, platformFits } from './constraints.ts';
import type { SwarmNode, SwarmService, SwarmTask } from './world.ts';

/** How many tasks there are on each node. Keys are ids. */
export interface Layout {
  /** Of each service: those that shall run. */
  services: Map<string, Map<string, number>>;
  /** In all: those that do. A service that fails again and again would be here in one moment and there in the next. */
  totals: Map<string, number>;
}

export function layoutOf(tasks: readonly SwarmTask[]): Layout {
  const layout: Layout = { services: new Map(), totals: new Map() };
  for (const task of tasks) {
    if (task.desired !== 'running' || task.nodeId === '') continue;
    count(layout, task, 1);
    if (task.state === 'running') load(layout, task, 1);
  }
  return layout;
}

type Place = Pick<SwarmTask, 'serviceId' | 'nodeId'>;

/** Changes `layout`. */
export function add(layout: Layout, place: Place, by: number): void {
  count(layout, place, by);
  load(layout, place, by);
}

function count({ services }: Layout, { serviceId, nodeId }: Place, by: number): void {
  const counts = services.get(serviceId) ?? new Map<string, number>();
  services.set(serviceId, counts.set(nodeId, (counts.get(nodeId) ?? 0) + by));
}

function load({ totals }: Layout, { nodeId }: Place, by: number): void {
  totals.set(nodeId, (totals.get(nodeId) ?? 0) + by);
}

export const copyOf = ({ services, totals }: Layout): Layout => ({
  services: new Map([...services].map(([id, counts]) => [id, new Map(counts)])),
  totals: new Map(totals),
});

export const countOf = (layout: Layout, service: SwarmService, node: SwarmNode): number =>
  layout.services.get(service.id)?.get(node.nodeId) ?? 0;

export const totalOf = (layout: Layout, node: SwarmNode): number => layout.totals.get(node.nodeId) ?? 0;

/** Nodes that may run this service, full or not; undefined where we cannot know. */
export function nodesFor(service: SwarmService, nodes: readonly SwarmNode[]): SwarmNode[] | undefined {
  const result: SwarmNode[] = [];
  const constraints = (service.constraints ?? []).map(parseConstraint);
  for (const node of nodes) {
    if (node.state !== 'ready' || node.availability !== 'active' || !platformFits(service.platforms, node)) continue;
    const answers = constraints.map(it => it && holds(it, node));
    if (answers.includes(undefined)) return undefined;
    if (!answers.includes(false)) result.push(node);
  }
  return result;
}

/** Its limit per node is not reached, and no other service there has its host port. */
export function hasRoom(
  layout: Layout,
  services: readonly SwarmService[],
  service: SwarmService,
  node: SwarmNode,
): boolean {
  const count = countOf(layout, service, node);
  if (service.maxReplicas !== undefined && count >= service.maxReplicas) return false;
  const ports = hostPorts(service);
  if (ports.length === 0) return true;
  if (count > 0) return false;
  return !services.some(
    other => countOf(layout, other, node) > 0 && hostPorts(other).some(port => ports.includes(port)),
  );
}

/** How many more tasks of it the swarm could start on `nodes`, as far as its placement goes; undefined where we cannot know. */
export function roomFor(
  layout: Layout,
  services: readonly SwarmService[],
  service: SwarmService,
  nodes: readonly SwarmNode[],
): number | undefined {
  const most = hostPorts(service).length > 0 ? 1 : Number.POSITIVE_INFINITY;
  return nodesFor(service, nodes)
    ?.filter(node => hasRoom(layout, services, service, node))
    .reduce((sum, node) => {
      const free = (service.maxReplicas ?? Number.POSITIVE_INFINITY) - countOf(layout, service, node);
      return sum + Math.min(most, free);
    }, 0);
}

const hostPorts = ({ ports }: SwarmService): string[] =>
  ports.filter(({ mode }) => mode === 'host').map(({ protocol, published }) => `${protocol} ${published}`);

/** The one of `nodes` where swarm would start the next task of this service. Among equals it takes any; here the first by id. */
export const emptiest = (layout: Layout, service: SwarmService, nodes: readonly SwarmNode[]): SwarmNode | undefined =>
  [...nodes].sort(
    (a, b) =>
      countOf(layout, service, a) - countOf(layout, service, b) ||
      totalOf(layout, a) - totalOf(layout, b) ||
      (a.nodeId < b.nodeId ? -1 : 1),
  )[0];

/** The less even, the larger: the sum of squares. */
export const unevenness = (counts: ReadonlyMap<string, number> | undefined): number =>
  [...(counts?.values() ?? [])].reduce((sum, count) => sum + count * count, 0);
