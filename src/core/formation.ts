/** How Pis become one swarm: F1 join, F2 init, F3 merge (design §5). */
import { type ActivePeer, activePeers, TAG_LABEL, visiblePeers, type World } from './observe.ts';
import { type Decision, type Step, wait } from './step.ts';
import type { ActiveSwarm, NodeId, SwarmSummary } from './world.ts';

/** Once nobody of a dissolving swarm has moved for this long, its leader goes too. */
export const DISSOLVE_LIMIT_MS = 20_000;

/** This Pi is in no swarm: join one (F1), make one (F2), or wait for a reason that can be told. */
export function form(world: World): Decision {
  if (world.self.address === undefined) return wait('F1', 'no network address yet');
  return join(world) ?? init(world);
}

function join(world: World): Decision | undefined {
  const open = activePeers(world).filter(
    peer => peer.liveness === 'alive' && peer.swarm.role === 'manager' && peer.swarm.quorum && !peer.status.dissolving,
  );
  const via = open.sort(byWhomToAsk)[0];
  if (via === undefined) return undefined;
  const { swarmId } = via.swarm;
  const steps: Step[] = [
    { action: 'remember', swarmId, swarmNodeId: undefined },
    { action: 'join', via: via.id, name: via.status.name, swarmId },
  ];
  return { rule: 'F1', why: `${via.status.name} is a manager of this cluster's swarm`, steps };
}

/** The better swarm first, in it the leader, then by id so that the choice does not hop. */
function byWhomToAsk(a: ActivePeer, b: ActivePeer): number {
  if (a.swarm.swarmId !== b.swarm.swarmId) {
    if (a.swarm.summary && b.swarm.summary)
      return strength(b.swarm.swarmId, b.swarm.summary, a.swarm.swarmId, a.swarm.summary);
    return Number(b.swarm.leader) - Number(a.swarm.leader) || compare(a.swarm.swarmId, b.swarm.swarmId);
  }
  return Number(b.swarm.leader) - Number(a.swarm.leader) || compare(a.id, b.id);
}

/** F2. The candidate is the smallest id among those that could do it; everybody has to name the same one. */
export function candidateOf(world: World): NodeId | undefined {
  if (world.engine === 'ready' && world.swarm.state !== 'none') return undefined;
  const ids = visiblePeers(world)
    .filter(({ status }) => status.swarm.state === 'none' && status.engine === 'ready' && status.intent === 'stay')
    .map(peer => peer.id);
  if (world.swarm.state === 'none' && world.engine === 'ready' && world.memory.intent === 'stay')
    ids.push(world.self.id);
  return ids.sort()[0];
}

function init(world: World): Decision {
  const visible = visiblePeers(world);
  const taken = visible.find(({ status }) => status.swarm.state !== 'none' && status.swarm.state !== 'foreign');
  if (taken !== undefined) {
    return wait('F2', `${taken.status.name} is in a swarm already, but none of its managers can be reached`);
  }
  const candidate = candidateOf(world);
  if (candidate !== world.self.id) {
    return wait('F2', `${nameOf(world, candidate)} is the one to start the swarm`);
  }
  const waiting = visible.filter(({ status }) => status.intent === 'stay' && status.swarm.state === 'none');
  const other = waiting.find(({ status }) => status.candidate !== world.self.id);
  if (other !== undefined) return wait('F2', `${other.status.name} does not name this Pi as the first one yet`);
  const settleMs = waiting.length > 0 ? world.wish.settleMs : world.wish.settleAloneMs;
  const lastNewsMs = Math.max(world.since.engineReadyMs, world.since.swarmMs, ...waiting.map(peer => peer.firstSeenMs));
  const leftMs = lastNewsMs + settleMs - world.nowMs;
  if (leftMs > 0) return wait('F2', `settling: no new Pi for ${settleMs} ms is asked for`);
  const others = waiting.length > 0 ? `${waiting.length} others agree` : 'nobody else is here';
  return { rule: 'F2', why: `nobody is in a swarm and ${others}`, steps: [{ action: 'init' }] };
}

/** The labels that mark a swarm as this cluster's. */
export const swarmLabels = (tag: string): Record<string, string> => ({ [TAG_LABEL]: tag });

/** F3, as the two leaders see it. Both compute the same from what each tells of itself. */
export type MergeVerdict =
  | { verdict: 'alone' }
  | { verdict: 'stays'; other: string }
  | { verdict: 'yields'; into: string; because: string }
  | { verdict: 'alarm'; other: string };

export function mergeVerdict(world: World): MergeVerdict {
  const { swarm, memory } = world;
  if (swarm.state !== 'active') return { verdict: 'alone' };
  const begun = memory.swarmId === swarm.swarmId ? memory.yieldingTo : undefined;
  // The managers that have gone over may have taken the majority with them: what was begun with it is finished.
  if (begun !== undefined && !swarm.leader)
    return { verdict: 'yields', into: begun, because: 'it has begun to join it' };
  if (!swarm.leader || !swarm.summary) return { verdict: 'alone' };
  for (const peer of activePeers(world)) {
    const theirs = peer.swarm;
    if (theirs.swarmId === swarm.swarmId || !theirs.leader || !theirs.summary || peer.liveness !== 'alive') continue;
    if (theirs.summary.services > 0 && swarm.summary.services > 0) return { verdict: 'alarm', other: theirs.swarmId };
    if (strength(swarm.swarmId, swarm.summary, theirs.swarmId, theirs.summary) > 0) {
      return { verdict: 'stays', other: theirs.swarmId };
    }
    return { verdict: 'yields', into: theirs.swarmId, because: whyWeaker(swarm.summary, theirs.summary) };
  }
  return { verdict: 'alone' };
}

/** F3's alarm as each Pi of the two swarms can see it: both leaders say that they have services. @returns the other swarm */
export function rivalOf(world: World): string | undefined {
  const { swarm } = world;
  if (swarm.state !== 'active') return undefined;
  const verdict = mergeVerdict(world);
  if (verdict.verdict === 'alarm') return verdict.other;
  if (swarm.leader) return undefined;
  const busy = activePeers(world).filter(peer => peer.liveness === 'alive' && (peer.swarm.summary?.services ?? 0) > 0);
  if (!busy.some(peer => peer.swarm.swarmId === swarm.swarmId)) return undefined;
  return busy.find(peer => peer.swarm.swarmId !== swarm.swarmId)?.swarm.swarmId;
}

/** Positive: the first one stays. Services first, then size, then age, then id so that both sides agree. */
function strength(idA: string, a: SwarmSummary, idB: string, b: SwarmSummary): number {
  const services = Math.sign(a.services) - Math.sign(b.services);
  return services || a.nodes - b.nodes || b.createdAtMs - a.createdAtMs || compare(idB, idA);
}

function whyWeaker(mine: SwarmSummary, theirs: SwarmSummary): string {
  if (theirs.services > 0) return 'the other swarm has services and this one has none';
  if (theirs.nodes > mine.nodes) return 'the other swarm is larger';
  return 'the other swarm is older';
}

/** F3, carried out: the leader tells the others and goes last; they go when they hear it. */
export function merge(world: World, swarm: ActiveSwarm): Decision | undefined {
  const mine = activePeers(world).filter(peer => peer.swarm.swarmId === swarm.swarmId && peer.id !== world.self.id);
  const verdict = mergeVerdict(world);
  const into = verdict.verdict === 'yields' ? verdict.into : undefined;
  if (world.memory.yieldingTo !== into) {
    const why =
      verdict.verdict === 'yields' ? verdict.because : 'the other swarm is gone, or this one has services now';
    return { rule: 'F3', why, steps: [{ action: 'yield', into }] };
  }
  if (verdict.verdict === 'yields') {
    if (mine.length > 0 && !lingered(world)) {
      return wait('F3', `${verdict.because}: waiting for ${mine.length} Pis to move there`);
    }
    return abandon('F3', verdict.because);
  }
  if (swarm.leader) return undefined;
  const yielding = mine.find(peer => peer.status.dissolving);
  if (yielding !== undefined) return abandon('F3', `${yielding.status.name} says this swarm joins another one`);
  return orphan(world, swarm);
}

/** Those who still say they are in the swarm have had their time (they may have been cut off in the middle). */
function lingered(world: World): boolean {
  return world.dissolvingSinceMs !== undefined && world.nowMs - world.dissolvingSinceMs > DISSOLVE_LIMIT_MS;
}

/** A worker whose managers vanished (into the other swarm, perhaps) and that runs nothing goes where the others are. */
function orphan(world: World, swarm: ActiveSwarm): Decision | undefined {
  const { orphanMs } = world.since;
  if (orphanMs === undefined || swarm.role === 'manager' || world.runningTasks > 0) return undefined;
  if (world.nowMs - orphanMs < world.wish.orphanAfterMs) return undefined;
  const other = activePeers(world).find(peer => peer.swarm.swarmId !== swarm.swarmId && peer.swarm.leader);
  if (other === undefined) return undefined;
  return abandon('F3', `its managers are gone and ${other.status.name} leads another swarm of this cluster`);
}

export const abandon = (rule: string, because: string): Decision => ({
  rule,
  why: because,
  steps: [
    { action: 'abandon', because },
    { action: 'remember', swarmId: undefined, swarmNodeId: undefined },
  ],
});

export function nameOf(world: World, id: NodeId | undefined): string {
  if (id === world.self.id) return world.self.name;
  return world.peers.find(peer => peer.id === id)?.status.name ?? 'nobody yet';
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
