/**
 * B1: swarm starts tasks where there is most room, and never moves them again. A Pi that comes back stays empty until somebody evens
 * out the load: this does (design §5). Leader only.
 *
 * First each service by itself, then the Pis by all their tasks. Each move takes a task from a Pi to one that has at least two fewer, so
 * the sum of squares falls with each and it ends, whatever the services are.
 */
import { ailmentOf } from './ailments.ts';
import { calmInMs, hindrance } from './hindrance.ts';
import { GIVE_UP_MS } from './move-times.ts';
import type { World } from './observe.ts';
import { add, copyOf, countOf, emptiest, hasRoom, type Layout, layoutOf, nodesFor, totalOf } from './spread.ts';
import { lastTurnMs, leftAloneForMs, USELESS_MS } from './steady.ts';
import type { Decision } from './step.ts';
import type { SwarmNode, SwarmService } from './world.ts';

/** Service label: `off` leaves the service where it is, `on` moves it although it has constraints, placement preferences or local volumes. */
export const REBALANCE_LABEL = 'pi-swarm.rebalance';

/** While tasks move, this many more run than were asked for. */
const AT_ONCE_MAX = 10;
/** More moves than this are not foreseen. */
const FORESEEN_MAX = 50;

export interface PlannedMove {
  service: string;
  serviceName: string;
  /** Swarm node id. */
  from: string;
  fromName: string;
  /** Names of the Pis where the swarm will most likely start them, one for each task. */
  to: string[];
  count: number;
}

/** @param asked somebody waits for it: a service need not have been calm for long */
export interface PlanOptions {
  asked: boolean;
  /** How many moves to look ahead. */
  most?: number;
  /** Also what has come to nothing. */
  again?: boolean;
}

/** B1: the next move, when everything has been calm for long enough. */
export function rebalance(world: World): Decision | undefined {
  const asked = world.rebalanceAsked === true;
  if (!asked && !world.wish.rebalance) return undefined;
  if (hindrance(world, asked) !== undefined) return undefined;
  const move = planRebalance(world, { asked, most: 1 })[0];
  if (move === undefined) return undefined;
  const { service, serviceName, from, fromName, count } = move;
  const step = { action: 'move', service, serviceName, node: from, name: fromName, count, why: 'rebalance' } as const;
  return { rule: 'B1', why: `${fromName} has more than ${[...new Set(move.to)].join(', ')}`, steps: [step] };
}

/** The moves that even out the load, in order; nothing where it is even. */
export function planRebalance(world: World, { asked, most = FORESEEN_MAX, again = false }: PlanOptions): PlannedMove[] {
  const { nodes = [], services = [], tasks = [] } = world;
  const unwell = new Set(nodes.filter(({ nodeId }) => ailmentOf(world.care, nodeId) !== undefined));
  const board: Board = { services, nodes, unwell, layout: layoutOf(tasks) };
  const movable = services.filter(service => whyNot(world, service, asked, again) === undefined).sort(statelessFirst);
  const moves: PlannedMove[] = [];
  while (moves.length < most) {
    const move = unevenService(board, movable) ?? unevenPis(board, movable);
    if (move === undefined) break;
    const { service, from, to } = move;
    const ref = { service: service.id, serviceName: service.name, from: from.nodeId, fromName: nameOf(from) };
    moves.push({ ...ref, to: to.map(nameOf), count: to.length });
    for (const node of to) shift(board.layout, service, from, node);
  }
  return moves;
}

/** Services that stay where they are although they have replicas, with the reason. What lies even is not kept from anything. */
export function leftAlone(world: World): { service: string; why: string }[] {
  const uneven = new Set(planRebalance(world, { asked: true, again: true }).map(({ service }) => service));
  return (world.services ?? []).flatMap(service => {
    if (service.replicas === undefined) return [];
    const resting = uneven.has(service.id) ? cameToNothing(world, service, true) : undefined;
    const why = byItsMaker(service) ?? foreign(world, service) ?? resting;
    return why === undefined ? [] : [{ service: service.name, why }];
  });
}

/** In how long the first move is made by itself, if all stays as it is; undefined: nothing is to be moved. */
export function byItselfInMs(world: World): number | undefined {
  const { steady, nowMs, wish, services = [] } = world;
  const planned = new Set(planRebalance(world, { asked: true }).map(({ service }) => service));
  if (steady === undefined || planned.size === 0) return undefined;
  const waits = services
    .filter(({ id }) => planned.has(id))
    .map(service => {
      const fullMs = nowMs - (steady.services[service.id]?.sinceMs ?? nowMs);
      return Math.max(wish.rebalanceEveryMs - fullMs, restsForMs(world, service, false));
    });
  return Math.max(0, calmInMs(world, steady), Math.min(...waits));
}

interface Board {
  services: readonly SwarmService[];
  nodes: readonly SwarmNode[];
  /** Nothing is moved to them, and nothing away. */
  unwell: ReadonlySet<SwarmNode>;
  layout: Layout;
}

interface Move {
  service: SwarmService;
  from: SwarmNode;
  to: SwarmNode[];
}

const nameOf = (node: SwarmNode): string => node.hostname || node.nodeId;

const hasState = ({ localVolumes, preferences, constraints = [] }: SwarmService): boolean =>
  localVolumes === true || preferences === true || constraints.length > 0;

const statelessFirst = (a: SwarmService, b: SwarmService): number =>
  Number(hasState(a)) - Number(hasState(b)) || a.name.localeCompare(b.name);

/** Why a service stays where it is; undefined: it may be moved. */
function whyNot(world: World, service: SwarmService, asked: boolean, again: boolean): string | undefined {
  const { steady, nowMs, wish } = world;
  if (service.replicas === undefined) return 'it runs on every Pi';
  const why =
    byItsMaker(service) ?? foreign(world, service) ?? (again ? undefined : cameToNothing(world, service, asked));
  if (why !== undefined) return why;
  const since = steady?.services[service.id];
  if (since?.state !== 'full') return 'it is not complete';
  return asked || nowMs - since.sinceMs >= wish.rebalanceEveryMs ? undefined : 'it has only just become complete';
}

function byItsMaker(service: SwarmService): string | undefined {
  const label = service.labels?.[REBALANCE_LABEL];
  if (label === 'off') return `its label ${REBALANCE_LABEL} says off`;
  if (label === 'on') return undefined;
  if (service.localVolumes === true) return 'its data is on the Pis where it runs';
  if (service.preferences === true) return 'it says how it wants to be spread (--placement-pref)';
  const [constraint] = service.constraints ?? [];
  return constraint === undefined ? undefined : `it says where it wants to run (${constraint})`;
}

const foreign = (world: World, service: SwarmService): string | undefined =>
  nodesFor(service, world.nodes ?? []) === undefined
    ? `only the swarm knows where it may run (${service.constraints?.join(', ')})`
    : undefined;

/** It would only be tried again and again, as long as the Pis are the same. */
function cameToNothing(world: World, service: SwarmService, asked: boolean): string | undefined {
  const ms = restsForMs(world, service, asked);
  if (ms <= 0) return undefined;
  return `its last move came to nothing; the next one is in ${duration(ms)}, or when a Pi comes or goes`;
}

/** How long a service is still left alone after a move that came to nothing; who asks need not wait for longer than after the first. */
function restsForMs({ nowMs, steady, moves }: World, { id }: SwarmService, asked: boolean): number {
  if (steady === undefined) return 0;
  const gaveUpMs = moves.gaveUpMs[id];
  const useless = steady.useless[id];
  const ends = [
    gaveUpMs === undefined || gaveUpMs < lastTurnMs(steady) ? 0 : gaveUpMs + GIVE_UP_MS,
    useless === undefined ? 0 : useless.lastMs + (asked ? USELESS_MS : leftAloneForMs(useless)),
  ];
  return Math.max(...ends) - nowMs;
}

/** The service that lies least even, and what leaves its fullest Pi. */
function unevenService(board: Board, movable: readonly SwarmService[]): Move | undefined {
  let best: { move: Move; gap: number } | undefined;
  for (const service of movable) {
    if (best !== undefined && hasState(service) && !hasState(best.move.service)) break;
    const found = unevenIn(board, service);
    if (found !== undefined && found.gap > (best?.gap ?? 0)) best = found;
  }
  return best?.move;
}

function unevenIn(board: Board, service: SwarmService): { move: Move; gap: number } | undefined {
  const nodes = nodesFor(service, board.nodes) ?? [];
  const layout = copyOf(board.layout);
  const count = (node: SwarmNode): number => countOf(layout, service, node);
  const well = nodes.filter(node => !board.unwell.has(node)).sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  // Among equals the one that has more to do in all.
  const fullest = (): SwarmNode | undefined =>
    well.reduce<SwarmNode | undefined>(
      (a, b) => (a && (count(a) - count(b) || totalOf(layout, a) - totalOf(layout, b)) >= 0 ? a : b),
      undefined,
    );
  const from = fullest();
  if (from === undefined) return undefined;
  const least = Math.min(...nodes.filter(node => room(board, layout, service, node)).map(count));
  const gap = count(from) - least;
  // As it would be when all is even: what `from` loses on the way there is what leaves it now.
  let leaving = 0;
  for (let a = fullest(); a !== undefined; a = fullest()) {
    const b = next(board, layout, service, nodes);
    if (b === undefined || count(a) - count(b) < 2) break;
    shift(layout, service, a, b);
    if (a === from) leaving++;
  }
  const to = whereTo(board, service, nodes, Math.min(leaving, AT_ONCE_MAX));
  return to.length === 0 ? undefined : { move: { service, from, to }, gap };
}

/** Where the swarm will start so many more; as many as find a place where they may stay. */
function whereTo(board: Board, service: SwarmService, nodes: readonly SwarmNode[], count: number): SwarmNode[] {
  const layout = copyOf(board.layout);
  const to: SwarmNode[] = [];
  while (to.length < count) {
    const node = next(board, layout, service, nodes);
    if (node === undefined) break;
    add(layout, { serviceId: service.id, nodeId: node.nodeId }, 1);
    to.push(node);
  }
  return to;
}

/** Every service lies even, but the Pis do not: five services of one task each may all sit on one Pi. */
function unevenPis(board: Board, movable: readonly SwarmService[]): Move | undefined {
  const { layout } = board;
  let best: { move: Move; gap: number } | undefined;
  for (const service of movable) {
    if (best !== undefined && hasState(service) && !hasState(best.move.service)) break;
    const nodes = nodesFor(service, board.nodes) ?? [];
    const to = next(board, layout, service, nodes);
    if (to === undefined) continue;
    for (const from of nodes) {
      const gap = totalOf(layout, from) - totalOf(layout, to);
      // One more there than here would make the service itself less even.
      if (board.unwell.has(from) || countOf(layout, service, from) <= countOf(layout, service, to)) continue;
      if (gap >= 2 && gap > (best?.gap ?? 0)) best = { move: { service, from, to: [to] }, gap };
    }
  }
  return best?.move;
}

const room = (board: Board, layout: Layout, service: SwarmService, node: SwarmNode): boolean =>
  hasRoom(layout, board.services, service, node);

/** Where the swarm starts the next one; undefined where it cannot, or where it had better not (the swarm does not know that a Pi is unwell). */
function next(board: Board, layout: Layout, service: SwarmService, nodes: readonly SwarmNode[]): SwarmNode | undefined {
  const node = emptiest(
    layout,
    service,
    nodes.filter(it => room(board, layout, service, it)),
  );
  return node === undefined || board.unwell.has(node) ? undefined : node;
}

function shift(layout: Layout, { id }: SwarmService, from: SwarmNode, to: SwarmNode): void {
  add(layout, { serviceId: id, nodeId: from.nodeId }, -1);
  add(layout, { serviceId: id, nodeId: to.nodeId }, 1);
}

/** `45 s`, `10 min`, `3 h`. */
export function duration(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.ceil(minutes / 60)} h`;
}
