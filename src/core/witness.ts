/**
 * What this Pi has seen of the others with its own eyes and its own clock: when each was last heard, since when it goes,
 * when its work ran elsewhere. Every Pi keeps it, so that one that has just become the leader can tell what happened before.
 */
import { LEAVING_LABEL, type World } from './observe.ts';
import type { NodeId, Peer, ServiceMove, SwarmNode, SwarmTask, Vitals } from './world.ts';

/** Of Pis that are gone: more than any shelf has, and no longer than anybody asks how long. */
const SEEN_MAX = 1024;
const SEEN_FOR_MS = 7 * 86_400_000;

/** One Pi. All times are monotonic ms of the Pi that has seen it. */
export interface Seen {
  lastWordMs: number;
  /** When it last said that its engine is ready. */
  engineWordMs: number;
  /** Running tasks that can run elsewhere, as far as known. */
  tasks: number;
  /** The same by service id; absent where this Pi does not know them. */
  work?: Work;
  /** The last silence that was taken for death. */
  silence?: Silence;
  /** Managers: since when its node has been Ready. */
  readyMs?: number;
  /** It gives its work away. */
  going?: { mark: Mark; sinceMs: number; tasks: number; work?: Work };
  /** Leader: when its node was no longer ready and everything that ran there ran elsewhere. */
  recoveredMs?: number;
}

/** Numbers of tasks by service id. */
export type Work = Record<string, number>;

export interface Silence {
  sinceMs: number;
  /** What it had said last. */
  boot: string;
  uptimeSeconds?: number;
  /** When the first word came again. */
  overMs?: number;
  /** It has said something new of itself since: an agent that has only just begun answers before it knows what to say. */
  fresh?: boolean;
}

/** It leaves for good, it shuts down, or a person takes its work away. */
export type Mark = 'leave' | 'shutdown' | 'drain';

export interface SeenMove {
  move: ServiceMove;
  sinceMs: number;
  /** Running tasks by swarm node id when it began. */
  before: Record<string, number>;
}

export interface Witness {
  pis: Record<NodeId, Seen>;
  /** Leader: moves under way by service id, and those that have ended since the turn before. */
  moves: Record<string, SeenMove>;
  ended: Record<string, SeenMove>;
}

export const NOTHING_SEEN: Witness = { pis: {}, moves: {}, ended: {} };

/** To be called each turn, on every Pi. */
export function witness(world: World, before: Witness): Witness {
  const pis: Record<NodeId, Seen> = {};
  const { self, nowMs, memory } = world;
  for (const [id, seen] of Object.entries(before.pis).slice(-SEEN_MAX)) {
    if (nowMs - seen.lastWordMs < SEEN_FOR_MS) pis[id] = seen;
  }
  const movable = countMovable(world);
  for (const peer of world.peers) pis[peer.id] = look(world, peer, before.pis[peer.id], movable);
  const own = { intent: memory.intent, engine: world.engine, boot: self.boot, tasks: world.runningTasks, vitals: {} };
  const known = { id: self.id, liveness: 'alive' as const, lastSeenMs: nowMs, nodeId: nodeIdOf(world.swarm) };
  pis[self.id] = seenOf(world, { ...known, ...own }, before.pis[self.id], movable);
  return { pis, ...movesOf(world, before) };
}

interface Sight
  extends Pick<Peer, 'id' | 'liveness' | 'lastSeenMs'>,
    Pick<Peer['status'], 'intent' | 'engine' | 'boot' | 'tasks'> {
  nodeId: string;
  vitals?: Vitals;
}

const nodeIdOf = (swarm: World['swarm']): string => ('nodeId' in swarm ? swarm.nodeId : '');

/** By swarm node id; undefined where this Pi does not know the tasks. */
type Movable = Map<string, Work> | undefined;

function countMovable(world: World): Movable {
  if (world.tasks === undefined) return undefined;
  const movable = movableServices(world);
  const works = new Map<string, Work>();
  for (const { nodeId, state, serviceId } of world.tasks) {
    if (state !== 'running' || !movable.has(serviceId)) continue;
    const work = works.get(nodeId) ?? {};
    work[serviceId] = (work[serviceId] ?? 0) + 1;
    works.set(nodeId, work);
  }
  return works;
}

const movableServices = ({ services }: Pick<World, 'services'>): Set<string> =>
  new Set((services ?? []).filter(({ replicas }) => replicas !== undefined).map(({ id }) => id));

const look = (
  world: World,
  { id, liveness, lastSeenMs, status }: Peer,
  before: Seen | undefined,
  movable: Movable,
): Seen => seenOf(world, { ...status, id, liveness, lastSeenMs, nodeId: nodeIdOf(status.swarm) }, before, movable);

function seenOf(world: World, it: Sight, before: Seen | undefined, movable: Movable): Seen {
  const node = world.nodes?.find(({ nodeId }) => nodeId === it.nodeId);
  const work = movable && (movable.get(it.nodeId) ?? {});
  const seen: Seen = {
    lastWordMs: it.lastSeenMs,
    engineWordMs: it.engine === 'ready' || before === undefined ? it.lastSeenMs : before.engineWordMs,
    tasks: work === undefined ? it.tasks : Object.values(work).reduce((sum, tasks) => sum + tasks, 0),
    ...(work === undefined ? {} : { work }),
  };
  const silence = silenceOf(it, before, world.nowMs);
  if (silence !== undefined) seen.silence = silence;
  const readyMs = before?.readyMs ?? (node?.state === 'ready' ? world.nowMs : undefined);
  if (readyMs !== undefined && (world.nodes === undefined || node?.state === 'ready')) seen.readyMs = readyMs;
  const going = goingOf(world, it, node, before);
  if (going !== undefined) seen.going = going;
  const recoveredMs = node && recoveredAt(world, node, before);
  if (recoveredMs !== undefined) seen.recoveredMs = recoveredMs;
  return seen;
}

function silenceOf(it: Sight, before: Seen | undefined, nowMs: number): Silence | undefined {
  const known = before?.silence;
  const { uptimeSeconds } = it.vitals ?? {};
  if (it.liveness === 'dead') {
    if (known !== undefined && known.overMs === undefined) return known;
    const silence: Silence = { sinceMs: it.lastSeenMs, boot: it.boot };
    return uptimeSeconds === undefined ? silence : { ...silence, uptimeSeconds };
  }
  // A pause of this Pi's own excuses everybody's silence; only a word ends it.
  if (known === undefined || it.lastSeenMs <= known.sinceMs || known.fresh) return known;
  const overMs = known.overMs ?? nowMs;
  const fresh = it.boot !== known.boot || uptimeSeconds === undefined || uptimeSeconds !== known.uptimeSeconds;
  return fresh ? { ...known, overMs, fresh } : { ...known, overMs };
}

function goingOf(world: World, it: Sight, node: SwarmNode | undefined, before: Seen | undefined): Seen['going'] {
  const known = before?.going;
  const mark = it.intent === 'leave' || it.intent === 'shutdown' ? it.intent : isDrained(node) ? 'drain' : undefined;
  // What it said last stays true while nothing new is heard of it, and when it has done what it said.
  if (mark === undefined) return it.liveness === 'dead' || it.intent === 'left' ? known : undefined;
  if (known?.mark === mark) return known;
  const now: Pick<Seen, 'tasks' | 'work'> = before ?? { tasks: it.tasks };
  const { tasks, work } = known !== undefined && known.tasks > now.tasks ? known : now;
  return { mark, sinceMs: world.nowMs, tasks, ...(work === undefined ? {} : { work }) };
}

/** By a person: with `pi-swarm drain`, or with Docker's own command. */
export const isDrained = (node: SwarmNode | undefined): boolean => {
  const mark = node?.labels[LEAVING_LABEL];
  return mark === 'drain' || (mark === undefined && node?.availability === 'drain');
};

function recoveredAt(world: World, node: SwarmNode, before: Seen | undefined): number | undefined {
  if (node.state === 'ready' || world.tasks === undefined) return undefined;
  return before?.recoveredMs ?? (missingOf(world, node.nodeId) === 0 ? world.nowMs : undefined);
}

/** Tasks that run on a node, as far as the swarm knows, and that can run elsewhere; also those that were told to stop. */
export function movableOn({ services, tasks }: Pick<World, 'services' | 'tasks'>, nodeId: string): SwarmTask[] {
  const movable = movableServices({ services: services ?? [] });
  return (tasks ?? []).filter(
    task => task.nodeId === nodeId && task.state === 'running' && movable.has(task.serviceId),
  );
}

/** Of what ran on a node that is gone: how much does not run elsewhere yet. */
export function missingOf(world: Pick<World, 'services' | 'tasks' | 'nodes'>, nodeId: string): number {
  const ready = new Set((world.nodes ?? []).filter(({ state }) => state === 'ready').map(node => node.nodeId));
  const live = (world.tasks ?? []).filter(
    task => task.state === 'running' && task.desired === 'running' && ready.has(task.nodeId) && task.nodeId !== nodeId,
  );
  return movableOn(world, nodeId).filter(({ serviceId, slot }) => {
    const running = live.filter(task => task.serviceId === serviceId);
    const desired = world.services?.find(({ id }) => id === serviceId)?.desired ?? 0;
    return running.length < desired && !running.some(task => task.slot === slot);
  }).length;
}

function movesOf(world: World, before: Witness): Pick<Witness, 'moves' | 'ended'> {
  const { services, nowMs } = world;
  if (services === undefined) return { moves: {}, ended: {} };
  const moves: Witness['moves'] = {};
  const ended: Witness['ended'] = {};
  for (const { id, move } of services) {
    const known = before.moves[id];
    const same = known !== undefined && move?.from === known.move.from && move.why === known.move.why;
    if (known !== undefined && !same) ended[id] = known;
    if (move !== undefined) moves[id] = same ? known : { move, sinceMs: nowMs, before: spreadOf(world, id) };
  }
  return { moves, ended };
}

/** Running tasks of a service by swarm node id. */
export function spreadOf({ tasks }: Pick<World, 'tasks'>, serviceId: string): Record<string, number> {
  const spread: Record<string, number> = {};
  for (const task of tasks ?? []) {
    if (task.serviceId !== serviceId || task.state !== 'running' || task.desired !== 'running') continue;
    spread[task.nodeId] = (spread[task.nodeId] ?? 0) + 1;
  }
  return spread;
}
