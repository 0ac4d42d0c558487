/** How many managers, which, and who is forgotten: M1 count, M2 heal, M3 forget (design §5). Leader only. */
import { ailmentOf, isPausedAsUnwell } from './ailments.ts';
import { handOver, stepsDown } from './handover.ts';
import { settleLimitMs } from './move-times.ts';
import { isComing } from './moving.ts';
import { HARDWARE_LABEL, ID_LABEL, LEAVING_LABEL, visiblePeers, type World } from './observe.ts';
import { majority } from './quorum.ts';
import { type Decision, type NodeRef, type Step, wait } from './step.ts';
import type { Peer, SwarmNode } from './world.ts';

/**
 * M1: Raft needs a majority, so an even count buys nothing. Two Pis have one manager: with two, losing either would
 * stop the swarm (docs/decisions.md).
 */
export function managersFor(pis: number, wish: 'auto' | number): number {
  const most = pis % 2 === 0 ? pis - 1 : pis;
  if (wish !== 'auto') return Math.max(1, Math.min(wish, most));
  if (pis >= 7) return 5;
  return pis >= 3 ? 3 : 1;
}

/**
 * The engine hands leadership to any manager that is up, also to one that has no log yet; then the swarm decides nothing
 * for 25 s. Seen on 20.10 with one that was promoted 0.1 s before; it takes its log well within a second.
 */
const HANDOVER_AFTER_MS = 3_000;

interface Roster {
  managers: SwarmNode[];
  reachable: SwarmNode[];
  /** Live workers that could become managers, the best first. */
  bench: SwarmNode[];
  wished: number;
}

function rosterOf(world: World, nodes: SwarmNode[]): Roster {
  const managers = nodes.filter(node => node.role === 'manager');
  return {
    managers,
    reachable: managers.filter(node => node.reachable && node.state === 'ready'),
    bench: nodes.filter(node => node.role === 'worker' && fit(world, node)).sort(byHealthAndAge(world)),
    wished: managersFor(nodes.filter(node => node.labels[LEAVING_LABEL] !== 'leave').length, world.wish.managers),
  };
}

/** Ready, in use, its agent alive, and not about to go. An unwell one is better than none. */
function fit(world: World, node: SwarmNode): boolean {
  if (node.state !== 'ready' || node.labels[LEAVING_LABEL] !== undefined) return false;
  if (node.availability !== 'active' && !isPausedAsUnwell(node)) return false;
  const peer = peerOf(world, node);
  return peer === undefined ? isSelf(world, node) : peer.liveness === 'alive' && peer.status.intent === 'stay';
}

const byAge = (a: SwarmNode, b: SwarmNode): number => a.createdAtMs - b.createdAtMs || (a.nodeId < b.nodeId ? -1 : 1);

const byHealthAndAge = (world: World) => {
  const isUnwell = (node: SwarmNode): number => Number(ailmentOf(world.care, node.nodeId) !== undefined);
  return (a: SwarmNode, b: SwarmNode): number => isUnwell(a) - isUnwell(b) || byAge(a, b);
};

export const refOf = (node: SwarmNode): NodeRef => ({ node: node.nodeId, name: node.hostname || node.nodeId });

export const isSelf = (world: World, node: SwarmNode): boolean =>
  world.swarm.state === 'active' && world.swarm.nodeId === node.nodeId;

export const peerOf = (world: World, node: SwarmNode): Peer | undefined =>
  visiblePeers(world).find(({ status }) => status.swarm.state === 'active' && status.swarm.nodeId === node.nodeId);

/** Its role was changed, and Raft has not followed yet. */
export const isChanging = (node: SwarmNode): boolean =>
  node.role === 'manager' ? !node.reachable && node.state === 'ready' : node.voter;

/** M1 and M2: at most one promotion or demotion, and only while a majority stays reachable before and after. */
export function manage(world: World, nodes: SwarmNode[]): Decision | undefined {
  const roster = rosterOf(world, nodes);
  const { managers, bench, wished } = roster;
  const rising = managers.find(node => isChanging(node) && !overdue(world, node));
  if (rising !== undefined) return wait('M1', `${refOf(rising).name} becomes a manager`);
  const falling = nodes.find(node => node.role === 'worker' && isChanging(node));
  if (falling !== undefined && isLeftOver(world, falling)) return takeOut(world, falling, roster);
  if (falling !== undefined) return wait('M1', `${refOf(falling).name} becomes a worker`);
  return replace(world, roster) ?? grow(world, managers, bench, wished) ?? shrink(world, roster);
}

const overdue = (world: World, node: SwarmNode): boolean => {
  const since = world.trouble[node.nodeId]?.unreachableSinceMs;
  return since !== undefined && world.nowMs - since >= world.wish.replaceAfterMs;
};

/**
 * A worker that Raft counts as a manager for ever: its engine went off between its demotion and its worker's certificate, came
 * back as a manager, joined Raft anew and learned only then what it is. Swarm takes members out only when it demotes them.
 */
const isLeftOver = (world: World, node: SwarmNode): boolean =>
  node.state === 'ready' && !node.reachable && overdue(world, node);

/** A crash in between leaves a manager that cannot be reached, which is M2's. */
function takeOut(world: World, node: SwarmNode, { reachable }: Roster): Decision {
  const voters = (world.nodes ?? []).filter(({ voter }) => voter).length;
  const ref = refOf(node);
  if (reachable.length < majority(voters)) return wait('M2', `${ref.name} becomes a worker when more managers answer`);
  const why = `Raft still counts ${ref.name}, which is a worker`;
  return {
    rule: 'M2',
    why,
    steps: [
      { action: 'promote', ...ref },
      { action: 'demote', ...ref },
    ],
  };
}

/** M2: a manager that is gone for long is demoted when a live worker can take its place. */
function replace(world: World, { managers, reachable, bench }: Roster): Decision | undefined {
  const gone = managers.find(node => !node.reachable && overdue(world, node));
  if (gone === undefined || bench.length === 0) return undefined;
  if (reachable.length < majority(managers.length - 1)) return undefined;
  const why = `it could not be reached for ${Math.round(world.wish.replaceAfterMs / 1000)} s and ${bench[0]?.hostname} can replace it`;
  return step('M2', why, unmake(gone));
}

function grow(world: World, managers: SwarmNode[], bench: SwarmNode[], wished: number): Decision | undefined {
  const staying = managers.filter(node => !isLeaving(world, node));
  const next = bench[0];
  if (next === undefined || staying.length >= wished) return undefined;
  // From an odd count one promotion alone would stay even: wait until there are two to promote, unless one replaces.
  const endsOdd = managers.length % 2 === 0 || bench.length >= 2 || managers.length > staying.length;
  if (!endsOdd) return wait('M1', `${wished} managers are wished, but only one more Pi is ready to be one`);
  return step('M1', `${staying.length} of ${wished} managers`, { action: 'promote', ...refOf(next) });
}

function shrink(world: World, { managers, reachable, wished }: Roster): Decision | undefined {
  const leaving = managers.filter(node => isLeaving(world, node));
  const gone = managers.filter(node => !node.reachable);
  const extra = managers.length > wished ? [...gone, ...[...reachable].reverse()] : [];
  // The leader is the last one to be demoted: it hands over only when it is itself the one that goes.
  const pick = [...leaving, ...extra.filter(node => !node.leader && !isLeaving(world, node))][0];
  if (pick === undefined || managers.length === 1) return undefined;
  const left = pick.reachable ? reachable.length - 1 : reachable.length;
  if (left < majority(managers.length - 1)) return undefined;
  const weak = stepsDown(world, pick);
  if (isSelf(world, pick) && isMoving(world) && !weak) return wait('M1', 'its work moves first');
  const newest = pick.leader ? reachable.find(node => node !== pick && isFresh(world, node)) : undefined;
  if (newest !== undefined) return wait('M1', `${refOf(newest).name} has only just become a manager`);
  if (weak) return handOver(world, pick);
  const why = isLeaving(world, pick) ? 'it is leaving' : `${managers.length} managers, ${wished} wished`;
  return step('M1', why, { action: 'demote', ...refOf(pick) });
}

/** While leadership moves nothing is decided: what runs on the leader has to run elsewhere before, as far as it ever will. */
export const isMoving = (world: World): boolean => world.runningTasks > 0 || (isShort(world) && !isMostlyOver(world));

/** A service runs fewer tasks than it should, and will run more, or nobody could say. Some never get there: nobody waits for that for most of their time. */
export const isShort = (world: World): boolean =>
  world.services === undefined ||
  world.services.some(service => service.running < service.desired && isComing(world, service));

export const isMostlyOver = (world: World): boolean => world.nowMs - world.since.intentMs >= settleLimitMs(world);

const isFresh = (world: World, node: SwarmNode): boolean =>
  world.nowMs - (world.managerSinceMs[node.nodeId] ?? world.nowMs) < HANDOVER_AFTER_MS;

/**
 * Leaving for good, or a leader that shuts down where two others remain (then leadership is handed over first), or that is unwell.
 * Another one is promoted before it is demoted: an engine asks the Pi that it joined the swarm by for Raft's log, and becomes no
 * manager where that one is none any more («can't initialize raft node»; 20.10 never asks another one).
 */
function isLeaving(world: World, node: SwarmNode): boolean {
  const mark = node.labels[LEAVING_LABEL];
  if (mark === 'leave' || stepsDown(world, node)) return true;
  if (mark !== 'shutdown' || !node.leader) return false;
  return (world.nodes ?? []).filter(other => other.role === 'manager' && other.reachable).length >= 3;
}

/** The swarm refuses to demote one that never came as far as Raft («can't find manager in raft memberlist»). */
const unmake = (node: SwarmNode): Step =>
  node.voter || node.state !== 'down'
    ? { action: 'demote', ...refOf(node) }
    : { action: 'remove', ...refOf(node), force: true };

/** M3: ghosts of re-flashed cards, those who left, and those who stayed away for too long. */
export function forget(world: World, nodes: SwarmNode[]): Decision | undefined {
  const managers = nodes.filter(node => node.role === 'manager');
  for (const node of nodes) {
    if (node.state !== 'down' || isSelf(world, node)) continue;
    const why = whyForget(world, node, nodes);
    if (why === undefined) continue;
    if (node.role === 'worker') return step('M3', why, { action: 'remove', ...refOf(node), force: true });
    const reachable = managers.filter(other => other.reachable && other.nodeId !== node.nodeId);
    if (reachable.length < majority(managers.length)) continue;
    return step('M3', why, unmake(node));
  }
  return undefined;
}

/** A Pi on its way out may be Down for a while (a manager's engine, after it handed over), and still needs the swarm. */
function whyForget(world: World, node: SwarmNode, nodes: SwarmNode[]): string | undefined {
  if (node.labels[LEAVING_LABEL] === 'leave') return peerOf(world, node) === undefined ? 'it left' : undefined;
  const left = world.peers.some(({ id, status }) => id === node.labels[ID_LABEL] && status.intent === 'left');
  if (left) return 'it left';
  const twin = nodes.find(other => other.state === 'ready' && other.nodeId !== node.nodeId && sameBoard(other, node));
  if (twin !== undefined) return `the same Pi is back as ${twin.hostname}`;
  const since = world.trouble[node.nodeId]?.downSinceMs;
  if (since !== undefined && world.nowMs - since >= world.wish.forgetAfterMs) return 'it was away for too long';
  return undefined;
}

function sameBoard(a: SwarmNode, b: SwarmNode): boolean {
  const same = (label: string) => a.labels[label] !== undefined && a.labels[label] === b.labels[label];
  return same(HARDWARE_LABEL) || same(ID_LABEL);
}

const step = (rule: string, why: string, it: Step): Decision => ({ rule, why, steps: [it] });
