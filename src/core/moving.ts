/**
 * Tasks move to other Pis without a gap: new ones run before old ones stop (design §5, L1 and B1). Leader only.
 *
 * Swarm itself stops first: draining a node, or scaling down, ends tasks at once and anywhere. So a move goes in three writes to the
 * service, each visible in it, which any leader can go on with (`io/service-move` writes them):
 *  1. `move`: as many replicas more as shall leave. They start where there is most room; the Pi that loses work takes none.
 *  2. `block-move`: the tasks that leave get successors that no node may run. So it is known which tasks will go, and the routing
 *     mesh sends nothing new to them.
 *  3. `end-move`: as many replicas as before. Swarm takes the tasks with a waiting successor away first.
 * Where the new ones do not come to run, `block-move` marks those instead, so that `end-move` takes them away and nothing else.
 */
import { isFailing } from './known.ts';
import { startLimitMs } from './move-times.ts';
import { activePeers, LEAVING_LABEL, type World } from './observe.ts';
import { layoutOf, roomFor } from './spread.ts';
import type { Decision, Step } from './step.ts';
import type { ServiceMove, SwarmNode, SwarmService, SwarmTask } from './world.ts';

/** Every Pi hears of the new ports within two heartbeats; one that does not hear is about to be dead. */
export const BLOCK_LIMIT_MS = 6_000;
/** An engine without an agent needs so long to register with a new leader. */
const REGISTER_MS = 1_500;

/** What each move that is under way needs next. */
export function advance(world: World): Decision | undefined {
  const steps: Step[] = [];
  const whys: string[] = [];
  for (const service of world.services ?? []) {
    const next = service.move && !isFailing(world, service.id) && nextOf(world, service, service.move);
    if (!next) continue;
    steps.push(next.step);
    whys.push(`${service.name}: ${next.why}`);
  }
  return steps.length === 0 ? undefined : { rule: 'B0', why: whys.join('; '), steps };
}

interface Next {
  step: Step;
  why: string;
}

function nextOf(world: World, service: SwarmService, move: ServiceMove): Next | undefined {
  const ref = { service: service.id, serviceName: service.name };
  const end = (why: string): Next => ({ step: { action: 'end-move', ...ref }, why });
  const ageMs = ageOf(world, service, move);
  if (move.phase === 'back') {
    const marked = unfinished(world, service).every(task => isSuperseded(world, service, task));
    return marked || ageMs >= BLOCK_LIMIT_MS ? end('it came to nothing') : undefined;
  }
  const node = world.nodes?.find(({ nodeId }) => nodeId === move.from);
  const going = node === undefined ? [] : tasksOf(world, service, node);
  const over = whyOver(world, move, node, going);
  if (move.phase === 'surge') {
    if (move.disturbed) return end('somebody has scaled it');
    // Marking tasks would go over an update of the user's.
    const all = !isUpdating(service) && answering(world, service).length >= neededOf(service, move, node, going);
    if (all && over !== undefined) return end(over);
    if (all) return markGoing(world, service, move, `${move.count} more run`);
    const why = over ?? whyLate(world, move, ageMs);
    if (why === undefined) return undefined;
    const starting = unfinished(world, service).length > 0;
    if (isUpdating(service) || !starting) return end(why);
    // The old ones go in any case: at least those that start now may go on with it.
    return over === undefined && move.why === 'leave'
      ? markGoing(world, service, move, why)
      : takeBack(world, service, why);
  }
  if (over !== undefined) return end(over);
  const marked = going.filter(task => isSuperseded(world, service, task)).length;
  if (marked >= Math.min(move.count, going.length) && isMeshSettled(world)) return end('nothing goes to the old ones');
  return ageMs >= BLOCK_LIMIT_MS ? end('some Pi does not follow') : undefined;
}

/** How long it has been in this phase; a Pi that was drained for minutes and then goes has its time from then on. */
function ageOf({ nowMs, moves, leavingSinceMs }: World, { id }: SwarmService, { why, from }: ServiceMove): number {
  const goesSinceMs = why === 'leave' ? (leavingSinceMs[from] ?? 0) : 0;
  return nowMs - Math.max(moves.since[id]?.sinceMs ?? nowMs, goesSinceMs);
}

function markGoing(world: World, service: SwarmService, move: ServiceMove, why: string): Next {
  const empty = emptyNodes(world, service, [move.from]);
  return { step: { action: 'block-move', service: service.id, serviceName: service.name, empty }, why };
}

function whyOver(
  world: World,
  move: ServiceMove,
  node: SwarmNode | undefined,
  going: readonly SwarmTask[],
): string | undefined {
  if (node === undefined || node.state === 'down') return 'the Pi is gone, the swarm replaces its tasks itself';
  if (!isWanted(world, node, move)) return 'it is not needed any more';
  return going.length === 0 ? 'nothing of it runs there any more' : undefined;
}

/** Nobody waits for an even load, and who is back with a new card has to fetch the images first; but a Pi that goes cannot wait. */
function whyLate(world: World, move: ServiceMove, ageMs: number): string | undefined {
  const goes = (node: SwarmNode): boolean =>
    node.labels[LEAVING_LABEL] !== undefined && node.state === 'ready' && node.availability !== 'drain';
  if (move.why === 'rebalance' && world.nodes?.some(goes)) return 'a Pi goes, and its work is first';
  return ageMs >= startLimitMs(world, move) ? 'no other Pi has room for it, or it does not start there' : undefined;
}

/**
 * Swarm scales down where most tasks are, not those that do not run: on a Pi that is still fetching the image the new one would stay,
 * and one that runs elsewhere would stop. So the new ones are marked first.
 */
function takeBack(world: World, service: SwarmService, why: string): Next {
  const back = [...new Set(unfinished(world, service).map(({ nodeId }) => nodeId))];
  const ref = { service: service.id, serviceName: service.name };
  return { step: { action: 'block-move', ...ref, empty: emptyNodes(world, service, back), back }, why };
}

/** Those that have a Pi, and do not run there yet. Those that have none go first anyway. */
const unfinished = (world: World, service: SwarmService): SwarmTask[] =>
  wantedOf(world, service).filter(({ state, nodeId }) => state !== 'running' && nodeId !== '');

/** Also those that wait for their turn to start. */
const wantedOf = (world: World, service: SwarmService): SwarmTask[] =>
  (world.tasks ?? []).filter(
    ({ serviceId, desired }) => serviceId === service.id && (desired === 'running' || desired === 'ready'),
  );

function isWanted(world: World, node: SwarmNode, { why }: ServiceMove): boolean {
  if (why === 'leave') return node.labels[LEAVING_LABEL] !== undefined;
  if (why === 'lost') return isLost(world, node);
  return true;
}

/** As many as were asked for; those on a Pi that is lost are among them, but nobody counts on them. */
const neededOf = (
  { replicas = 0 }: SwarmService,
  { count }: ServiceMove,
  node: SwarmNode | undefined,
  going: readonly SwarmTask[],
): number => replicas + count - (node?.state === 'ready' ? 0 : going.length);

/** Running on Pis that are there: after a change of leader, tasks on the one that died still say that they run. */
const answering = (world: World, service: SwarmService): SwarmTask[] =>
  tasksOf(world, service).filter(task =>
    world.nodes?.some(({ nodeId, state }) => nodeId === task.nodeId && state === 'ready'),
  );

/** After a change of leader nobody is ready for a moment: who is there but has not registered yet may take work soon. */
export const isGathering = (world: World): boolean =>
  (world.nodes ?? []).some(node => node.state === 'unknown' && !isLost(world, node));

/** Steps that start moves: every task there that can move, and for which others have a place. */
export function startMoves(world: World, node: SwarmNode, why: ServiceMove['why']): Step[] {
  const others = (world.nodes ?? []).filter(other => other !== node && takesWork(other));
  if (others.length === 0) return [];
  const services = world.services ?? [];
  const layout = layoutOf(world.tasks ?? []);
  return services
    .filter(service => canMove(world, service))
    .flatMap((service): Step[] => {
      const there = tasksOf(world, service, node).length;
      const count = Math.min(there, roomFor(layout, services, service, others) ?? there);
      if (count === 0) return [];
      const ref = { service: service.id, serviceName: service.name };
      return [{ action: 'move', ...ref, node: node.nodeId, name: node.hostname || node.nodeId, count, why }];
    });
}

/** Whether a service that runs too few tasks gets more by waiting: they start somewhere, or others than those that go may run them. */
export function isComing(world: World, service: SwarmService): boolean {
  const { nodes = [], services = [], tasks } = world;
  // After a change of leader nobody is there for a moment.
  if (tasks === undefined || isGathering(world)) return true;
  const others = nodes.filter(takesWork);
  const ids = new Set(others.map(({ nodeId }) => nodeId));
  const starts = wantedOf(world, service).some(({ state, nodeId }) => state !== 'running' && ids.has(nodeId));
  return starts || (roomFor(layoutOf(tasks), services, service, others) ?? 1) > 0;
}

/**
 * Some of its tasks are on their way, or will be when another move of their service is over (two Pis may go at once), or
 * when its rolling update is, which goes on being «updating» for seconds after the last task.
 */
export const isGivingAway = (world: World, node: SwarmNode): boolean =>
  (world.services ?? []).some(service => {
    const { move, replicas, localVolumes } = service;
    if (move?.from === node.nodeId) return true;
    const later = move !== undefined || (isUpdating(service) && replicas !== undefined && localVolumes !== true);
    return later && tasksOf(world, service, node).length > 0;
  });

/** One that is paused half-way may stay so for days. */
const isUpdating = ({ updating, updateHalted }: SwarmService): boolean => updating === true && updateHalted !== true;

/** Global services have one task on each Pi anyway, and local volumes do not come along: draining stops those. */
export const canMove = (world: World, service: SwarmService): boolean =>
  service.replicas !== undefined &&
  service.move === undefined &&
  service.updating !== true &&
  service.localVolumes !== true &&
  world.moves.gaveUpMs[service.id] === undefined &&
  !isFailing(world, service.id);

export const takesWork = (node: SwarmNode): boolean =>
  node.state === 'ready' && node.availability === 'active' && node.labels[LEAVING_LABEL] === undefined;

/**
 * Its agent is silent and its engine has not registered with the new leader, which waits six heartbeats for it. An engine that is
 * there does so within two, with or without its agent. A Pi whose card was changed is a new peer with the old engine.
 */
export function isLost(world: World, node: SwarmNode): boolean {
  const downSinceMs = world.trouble[node.nodeId]?.downSinceMs ?? world.nowMs;
  if (node.state === 'ready' || world.nowMs - downSinceMs < REGISTER_MS) return false;
  const own = world.peers.filter(({ status }) => 'nodeId' in status.swarm && status.swarm.nodeId === node.nodeId);
  return own.length > 0 && own.every(({ liveness }) => liveness === 'dead');
}

/** After a change of leader: what ran on the Pi that died runs elsewhere before the swarm gives that Pi up. */
export function rescue(world: World, nodes: SwarmNode[]): Decision | undefined {
  const lost = nodes.filter(node => node.state !== 'down' && isLost(world, node));
  const steps = lost.flatMap(node => startMoves(world, node, 'lost'));
  const names = lost.map(({ hostname }) => hostname).join(', ');
  return steps.length === 0 ? undefined : { rule: 'B0', why: `nothing is heard of ${names}`, steps };
}

/** Running tasks that shall run, of one service; on one node, or anywhere. */
const tasksOf = (world: World, service: SwarmService, node?: SwarmNode): SwarmTask[] =>
  (world.tasks ?? []).filter(
    task =>
      task.serviceId === service.id &&
      task.state === 'running' &&
      task.desired === 'running' &&
      (node === undefined || task.nodeId === node.nodeId),
  );

/** A successor waits in its slot: it goes when the move ends. */
const isSuperseded = (world: World, service: SwarmService, task: SwarmTask): boolean =>
  (world.tasks ?? []).some(
    ({ serviceId, slot, nodeId, desired }) =>
      serviceId === service.id && slot === task.slot && nodeId === '' && desired === 'running',
  );

/** Where none of its tasks is; not those that are named anyway. */
function emptyNodes(world: World, service: SwarmService, named: readonly string[]): string[] {
  const used = new Set(wantedOf(world, service).map(({ nodeId }) => nodeId));
  return (world.nodes ?? []).map(({ nodeId }) => nodeId).filter(node => !used.has(node) && !named.includes(node));
}

/** Every Pi that makes its own routing mesh has followed the newest table. Where the kernel does it, nobody can tell. */
export function isMeshSettled(world: World): boolean {
  const { meshVersion, meshApplied, swarm } = world;
  if (meshVersion === undefined || swarm.state !== 'active') return true;
  const follows = (applied: string | undefined): boolean => applied === undefined || applied === meshVersion;
  return (
    follows(meshApplied) &&
    activePeers(world)
      .filter(peer => peer.liveness === 'alive' && peer.swarm.swarmId === swarm.swarmId)
      .every(({ status }) => follows(status.meshApplied))
  );
}
