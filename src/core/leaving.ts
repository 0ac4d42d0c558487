/** L1 leave and L2 return (design §5): what the leader does for others, and what a leaving Pi does itself. */

import { UNWELL_LABEL } from './ailments.ts';
import { isBlind, isFailing } from './known.ts';
import { isMostlyOver, isMoving, isSelf, isShort, peerOf, refOf } from './managers.ts';
import { sendOffLimitMs } from './move-times.ts';
import { isGathering, isGivingAway, isMeshSettled, startMoves } from './moving.ts';
import {
  type ActivePeer,
  activePeers,
  HARDWARE_LABEL,
  ID_LABEL,
  LEAVING_LABEL,
  RETURN_LABEL,
  type World,
} from './observe.ts';
import { type Decision, type Step, wait } from './step.ts';
import type { ActiveSwarm, Intent, SwarmNode } from './world.ts';

/** A peer list that was read a moment before the engine's own state must not look like a removal. */
export const REMOVED_GRACE_MS = 5_000;

/** Leader: those that say they go are drained, those that are back are used again, and each node carries its labels. */
export function tend(world: World, nodes: SwarmNode[]): Decision | undefined {
  const steps: Step[] = [];
  const whys: string[] = [];
  for (const node of nodes) {
    if (isFailing(world, node.nodeId)) continue;
    const wish = wishFor(world, node);
    if (wish === undefined) continue;
    steps.push(...wish.steps);
    whys.push(`${refOf(node).name} ${wish.why}`);
  }
  if (steps.length === 0) return undefined;
  const has = (action: Step['action']): boolean => steps.some(step => step.action === action);
  const rule = has('pause') || has('move') || has('drain') ? 'L1' : has('activate') ? 'L2' : 'L0';
  return { rule, why: whys.join('; '), steps };
}

type Wish = { steps: Step[]; why: string } | undefined;

function wishFor(world: World, node: SwarmNode): Wish {
  const who = whoIs(world, node);
  const mark = node.labels[LEAVING_LABEL];
  if (who?.intent === 'leave' || who?.intent === 'shutdown') return sendOff(world, node, who.intent);
  if (mark === 'drain') return sendOff(world, node, mark);
  if (who === undefined) return undefined;
  if (who.intent === 'stay' && mark !== undefined && node.state === 'ready') {
    return { steps: [comeBack(node)], why: 'is back' };
  }
  const labels: Record<string, string> = {};
  if (node.labels[ID_LABEL] !== who.id) labels[ID_LABEL] = who.id;
  if (node.labels[HARDWARE_LABEL] !== who.hardware) labels[HARDWARE_LABEL] = who.hardware;
  if (Object.keys(labels).length === 0) return undefined;
  return { steps: [{ action: 'label', ...refOf(node), labels }], why: 'has no labels yet' };
}

/** No new work, then what can move moves, then the rest is stopped. */
function sendOff(world: World, node: SwarmNode, mark: 'leave' | 'shutdown' | 'drain'): Wish {
  const labels = { [LEAVING_LABEL]: mark, ...(mark === 'shutdown' ? { [RETURN_LABEL]: returnsAs(node) } : {}) };
  const marked = node.labels[LEAVING_LABEL] === mark;
  if (mark === 'drain' && node.availability === 'active') {
    // Somebody uses it again with `docker node update`.
    return {
      steps: [{ action: 'activate', ...refOf(node), labels: { [LEAVING_LABEL]: null } }],
      why: 'is in use again',
    };
  }
  if (node.availability === 'drain') {
    return marked ? undefined : { steps: [{ action: 'drain', ...refOf(node), labels }], why: `is about to ${mark}` };
  }
  if (!marked || node.availability === 'active') {
    return { steps: [{ action: 'pause', ...refOf(node), labels }], why: `is about to ${mark}` };
  }
  const goingMs = world.nowMs - (world.leavingSinceMs[node.nodeId] ?? world.nowMs);
  const late = goingMs - (world.heldBackMs[node.nodeId] ?? 0) >= sendOffLimitMs(world, mark);
  if (!late) {
    // What could not be asked this turn may be a lot.
    if (isBlind(world)) return undefined;
    const steps = startMoves(world, node, 'leave');
    if (steps.length > 0) return { steps, why: 'gives its work away' };
    if (isGivingAway(world, node) || isGathering(world) || !isMeshSettled(world)) return undefined;
  }
  return {
    steps: [{ action: 'drain', ...refOf(node), labels }],
    why: late ? 'has no more time' : 'has given its work away',
  };
}

/** Who was drained before a reboot is so after it. */
function returnsAs({ labels, availability }: SwarmNode): string | null {
  const mark = labels[LEAVING_LABEL];
  if (mark === 'drain') return 'marked';
  if (mark !== undefined) return labels[RETURN_LABEL] ?? null;
  // A Pi that is unwell is paused anew if it still is.
  return availability === 'active' || labels[UNWELL_LABEL] !== undefined ? null : availability;
}

function comeBack(node: SwarmNode): Step {
  const ref = refOf(node);
  const before = node.labels[RETURN_LABEL];
  // H2 pauses it anew if it is still unwell; its label without a pause would say that a person wants it used.
  const labels: Record<string, null> = { [LEAVING_LABEL]: null, [RETURN_LABEL]: null };
  if (node.labels[UNWELL_LABEL] !== undefined) labels[UNWELL_LABEL] = null;
  if (before === 'marked') return { action: 'drain', ...ref, labels: { ...labels, [LEAVING_LABEL]: 'drain' } };
  return { action: before === 'drain' || before === 'pause' ? before : 'activate', ...ref, labels };
}

/** Their tasks get nothing new. */
export const leavingNodes = (nodes: readonly SwarmNode[]): string[] =>
  nodes.filter(node => node.labels[LEAVING_LABEL] !== undefined).map(({ nodeId }) => nodeId);

function whoIs(world: World, node: SwarmNode): { id: string; hardware: string; intent: Intent } | undefined {
  if (isSelf(world, node)) return { id: world.self.id, hardware: world.self.hardware, intent: world.memory.intent };
  const peer = peerOf(world, node);
  if (peer === undefined) return undefined;
  return { id: peer.id, hardware: peer.status.hardware, intent: peer.status.intent };
}

/** L1 on the Pi that goes. Everything is bounded by `drainTimeoutMs`, after which it goes anyway. */
export function goodbye(world: World, swarm: ActiveSwarm, intent: 'leave' | 'shutdown'): Decision {
  const overdue = world.nowMs - world.since.intentMs >= world.wish.drainTimeoutMs;
  const others = othersIn(world, swarm);
  if (others === 0) return go(intent, true, 'it is the last Pi of the swarm');
  const leader = delistedBy(world, swarm);
  if (leader !== undefined) return go(intent, true, `${leader}, the leader, has removed this Pi already`);
  if (overdue) return go(intent, true, `it did not finish within ${Math.round(world.wish.drainTimeoutMs / 1000)} s`);
  if (!isDrained(world, swarm)) return wait('L1', 'the leader has not drained this Pi yet');
  if (world.runningTasks > 0) return wait('L1', `${world.runningTasks} tasks still run here`);
  if (isReleased(world, swarm)) return go(intent, swarm.role === 'manager', 'its work runs elsewhere');
  if (handsOver(world, swarm, intent)) return wait('L1', 'handing over to the other managers');
  if (swarm.leader && !isMoving(world)) return go(intent, false, 'its work runs elsewhere');
  if (!isMostlyOver(world)) return wait('L1', 'the leader does not say yet that its work runs elsewhere');
  return go(intent, false, 'most of its time is over and nothing runs here any more');
}

/** The leader's name, when it is in sight and does not list this engine: somebody removed it. */
export function delistedBy(world: World, swarm: ActiveSwarm): string | undefined {
  if (world.nowMs - world.since.swarmMs < REMOVED_GRACE_MS) return undefined;
  const leader = activePeers(world).find(peer => peer.swarm.swarmId === swarm.swarmId && peer.swarm.leader);
  if (leader?.liveness !== 'alive' || !hasList(leader)) return undefined;
  const { members, name } = leader.status;
  // A manager with quorum sees for itself.
  const listed = members?.includes(swarm.nodeId) || world.nodes?.some(node => node.nodeId === swarm.nodeId);
  return listed ? undefined : name;
}

/** Whether this peer says who is in its swarm. A list without itself is none: nobody goes because of it. */
export const hasList = ({ status, swarm }: ActivePeer): boolean => status.members?.includes(swarm.nodeId) === true;

/** Its work is moving, and it waits for the word to go. */
export const isOnItsWay = (node: SwarmNode): boolean =>
  node.labels[LEAVING_LABEL] !== undefined && node.state === 'ready';

/** Leader: whether this leaving Pi may go: nothing runs there, everything runs elsewhere, and Raft goes on without it. */
export function isFree(world: World, node: SwarmNode): boolean {
  const mark = node.labels[LEAVING_LABEL];
  if (mark === undefined || node.availability !== 'drain') return false;
  if (isBlind(world) || world.busyNodes?.includes(node.nodeId) || isShort(world)) return false;
  return mark === 'shutdown' ? !node.leader : node.role === 'worker' && !node.voter;
}

/**
 * The leader says that this Pi may go, also if its own engine still takes it for a manager. The engine of one that was the leader takes up to 30 s to notice: it
 * asks itself, and nobody answers there.
 */
function isReleased(world: World, swarm: ActiveSwarm): boolean {
  const leader = activePeers(world).find(peer => peer.swarm.swarmId === swarm.swarmId && peer.swarm.leader);
  return leader?.liveness === 'alive' && leader.status.released?.includes(swarm.nodeId) === true;
}

/** Who leaves for good stops being a manager first; who only shuts down hands over leadership where two others remain. */
function handsOver(world: World, swarm: ActiveSwarm, intent: 'leave' | 'shutdown'): boolean {
  if (swarm.role !== 'manager') return false;
  if (intent === 'leave') return true;
  return swarm.leader && (world.nodes ?? []).filter(node => node.role === 'manager' && node.reachable).length >= 3;
}

function othersIn(world: World, swarm: ActiveSwarm): number {
  const visible = activePeers(world).filter(peer => peer.swarm.swarmId === swarm.swarmId).length;
  const listed = (world.nodes ?? []).filter(node => node.state === 'ready' && !isSelf(world, node)).length;
  return Math.max(visible, listed);
}

function isDrained(world: World, swarm: ActiveSwarm): boolean {
  const own = world.nodes?.find(node => isSelf(world, node));
  if (own !== undefined) return own.labels[LEAVING_LABEL] !== undefined && own.availability === 'drain';
  return activePeers(world).some(peer => peer.swarm.leader && peer.status.leaving?.includes(swarm.nodeId));
}

function go(intent: 'leave' | 'shutdown', force: boolean, why: string): Decision {
  if (intent === 'shutdown') return { rule: 'L1', why, steps: [], mayStop: true };
  return {
    rule: 'L1',
    why,
    steps: [
      { action: 'leave', force },
      { action: 'remember', swarmId: undefined, swarmNodeId: undefined },
      { action: 'intend', intent: 'left' },
    ],
  };
}
