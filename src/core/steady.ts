/** Since when nodes and services are as they are, and what moves of tasks have brought. Pure memory from one turn to the next. */
import { ailmentOf } from './ailments.ts';
import { ID_LABEL, LEAVING_LABEL, type World } from './observe.ts';
import { layoutOf, unevenness } from './spread.ts';
import type { SwarmNode, SwarmService, SwarmTask } from './world.ts';

/** A service that was moved and is no more even than before is left alone for so long, and twice as long each time after that. */
export const USELESS_MS = 10 * 60_000;
const USELESS_MS_MAX = 24 * 3_600_000;
/** What runs for less than this between two crashes has not got well. */
const WELL_AFTER_MS = 15_000;
/** A leader that cannot read its own swarm for longer than this has missed too much. */
const BLIND_MS = 10_000;

export interface Since<State extends string> {
  state: State;
  sinceMs: number;
}

/**
 * `here`: up, and its agent is heard, where it has one. `away`: down. `going`: marked, and not yet empty. `silent`: its engine is heard, its
 * agent not. `unsure`: the swarm has not made up its mind.
 */
export type NodeState = 'here' | 'away' | 'going' | 'silent' | 'unsure';
/** `full`: as many run as are wished, and no more. */
export type ServiceState = 'full' | 'moving' | 'updating' | 'unsettled';

interface SeenService extends Since<ServiceState> {
  /** Since when it has been complete for moments at most. */
  brokenSinceMs?: number;
}

export interface Steadiness {
  /** Since when nothing of this could be seen. */
  blindSinceMs?: number;
  /** By swarm node id; the state is told apart by availability and health, too. `turnedMs`: when it last came or went. */
  nodes: Record<string, Since<NodeState> & { as: string; turnedMs: number }>;
  /** By service id. */
  services: Record<string, SeenService>;
  /** When the last move of tasks ended. */
  movedMs?: number;
  /** How uneven services were before the move that evens them out; by service id. */
  judged: Record<string, number>;
  /** When such a move turned out to be of no use, and how often in a row while no Pi came or went; by service id. */
  useless: Record<string, Useless>;
}

export interface Useless {
  count: number;
  lastMs: number;
}

const NOTHING_SEEN: Steadiness = { nodes: {}, services: {}, judged: {}, useless: {} };

/** How long the service is left alone after that. */
export const leftAloneForMs = ({ count }: Useless): number => Math.min(USELESS_MS * 2 ** (count - 1), USELESS_MS_MAX);

/** When the last Pi came or went. */
export const lastTurnMs = ({ nodes }: Steadiness): number =>
  Math.max(0, ...Object.values(nodes).map(({ turnedMs }) => turnedMs));

/** @returns undefined where the swarm's tasks have not been seen for a while: whoever becomes the leader begins anew */
export function steadiness(world: World, before: World | undefined): Steadiness | undefined {
  const { nowMs, nodes, services, tasks } = world;
  const { blindSinceMs = nowMs, ...memory } = before?.steady ?? NOTHING_SEEN;
  const kept = nowMs - blindSinceMs < BLIND_MS ? memory : undefined;
  if (nodes === undefined || services === undefined || tasks === undefined) {
    return before?.steady && kept && { ...kept, blindSinceMs };
  }
  const was = kept ?? NOTHING_SEEN;
  const result: Steadiness = { nodes: {}, services: {}, judged: {}, useless: {} };
  const heard = heardNodes(world);
  for (const node of nodes) {
    const state = nodeState(node, heard);
    const as = [state, node.availability, ailmentOf(world.care, node.nodeId) ?? ''].join();
    const old = was.nodes[node.nodeId];
    const turned = (old?.state === 'here') !== (state === 'here');
    const turnedMs = old === undefined || turned ? nowMs : old.turnedMs;
    result.nodes[node.nodeId] = { state, as, sinceMs: old?.as === as ? old.sinceMs : nowMs, turnedMs };
  }
  const down = new Set(nodes.filter(({ state }) => state !== 'ready').map(({ nodeId }) => nodeId));
  for (const service of services) {
    const own = tasks.filter(({ serviceId }) => serviceId === service.id);
    const state = serviceState(service, own, down);
    const old = was.services[service.id];
    const sinceMs = old?.state === state ? old.sinceMs : nowMs;
    const brokenSinceMs = brokenSince(state, old, nowMs);
    result.services[service.id] = { state, sinceMs, ...(brokenSinceMs === undefined ? {} : { brokenSinceMs }) };
    judge(world, before, service, result, was);
  }
  const ended = services.some(({ id, move }) => move === undefined && was.services[id]?.state === 'moving');
  const movedMs = ended ? nowMs : was.movedMs;
  if (movedMs !== undefined) result.movedMs = movedMs;
  return result;
}

function heardNodes({ peers, swarm }: World): Set<string> {
  const heard = new Set<string>(swarm.state === 'active' ? [swarm.nodeId] : []);
  for (const { liveness, status } of peers) {
    if (liveness !== 'dead' && status.swarm.state === 'active') heard.add(status.swarm.nodeId);
  }
  return heard;
}

function nodeState(node: SwarmNode, heard: ReadonlySet<string>): NodeState {
  if (node.state === 'down') return 'away';
  const mark = node.labels[LEAVING_LABEL];
  const isHeard = heard.has(node.nodeId);
  // Drained for good: it stays, without work. So does one whose agent was stopped, as long as it is.
  const isEmpty = node.availability === 'drain' && (mark === 'drain' || !isHeard);
  if (mark !== undefined && !isEmpty) return 'going';
  if (node.state !== 'ready') return 'unsure';
  // A node that was joined by hand has no agent, and nobody waits to hear it.
  return isHeard || node.labels[ID_LABEL] === undefined ? 'here' : 'silent';
}

/** It is marked and up, and not one that only stays on without work. */
export function isOnTheMove({ steady, nowMs, wish }: World, { nodeId, labels, state }: SwarmNode): boolean {
  if (labels[LEAVING_LABEL] === undefined || state !== 'ready') return false;
  const { state: is = 'going', sinceMs = nowMs } = steady?.nodes[nodeId] ?? {};
  return is !== 'here' && (is !== 'silent' || nowMs - sinceMs < wish.replaceAfterMs);
}

function serviceState(service: SwarmService, tasks: readonly SwarmTask[], down: ReadonlySet<string>): ServiceState {
  if (service.move !== undefined) return 'moving';
  if (service.updating) return 'updating';
  const wished = tasks.filter(({ desired }) => desired === 'running');
  const all = wished.every(({ state, nodeId }) => state === 'running' && !down.has(nodeId));
  const enough = service.replicas === undefined || wished.length === service.replicas;
  return all && enough && service.running >= service.desired ? 'full' : 'unsettled';
}

/** A service that crashes every few seconds is complete for a moment each time: that ends nothing. */
function brokenSince(state: ServiceState, old: SeenService | undefined, nowMs: number): number | undefined {
  const wasWell = old?.state === 'moving' || (old?.state === 'full' && nowMs - old.sinceMs >= WELL_AFTER_MS);
  const before = wasWell ? undefined : old?.brokenSinceMs;
  return state === 'unsettled' || state === 'updating' ? (before ?? nowMs) : before;
}

/** Whether a move that was to even out a service did so: where the swarm puts tasks is its own affair. */
function judge(
  world: World,
  before: World | undefined,
  { id, move }: SwarmService,
  result: Steadiness,
  was: Steadiness,
): void {
  const useless = was.useless[id];
  // Its maker may have changed what was in the way. Until a move is judged, the update is the end of that move.
  const isNew = result.services[id]?.state === 'updating' && was.judged[id] === undefined;
  if (useless !== undefined && !isNew && useless.lastMs >= lastTurnMs(result)) result.useless[id] = useless;
  const judged = was.judged[id];
  if (move?.why === 'rebalance') {
    const first = was.services[id]?.state === 'full' ? weight(id, before) : undefined;
    if ((judged ?? first) !== undefined) result.judged[id] = judged ?? first ?? 0;
  } else if (judged !== undefined && result.services[id]?.state !== 'full') {
    result.judged[id] = judged;
  } else if (judged !== undefined && weight(id, world) >= judged) {
    result.useless[id] = { count: (result.useless[id]?.count ?? 0) + 1, lastMs: world.nowMs };
  } else if (judged !== undefined) {
    delete result.useless[id];
  }
}

/** How uneven a service lies and then, far less weighty, the whole: its squares beyond what an even one has. */
function weight(service: string, world: World | undefined): number {
  const { services, totals } = layoutOf(world?.tasks ?? []);
  const all = [...totals.values()].reduce((sum, count) => sum + count, 0);
  const even = all ** 2 / Math.max(1, world?.nodes?.length ?? 1);
  return unevenness(services.get(service)) + (unevenness(totals) - even) / 1e6;
}
