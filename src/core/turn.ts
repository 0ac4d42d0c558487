/** One turn of the loop, as far as it is pure: facts → world → decision, and what to tell the peers. */
import { decide } from './decide.ts';
import { candidateOf, mergeVerdict } from './formation.ts';
import { isFree } from './leaving.ts';
import { type Facts, LEAVING_LABEL, observe, visiblePeers, type World } from './observe.ts';
import { extraPatience, watchFlaps } from './patience.ts';
import { steadiness } from './steady.ts';
import type { Decision } from './step.ts';
import { leaderBeyond } from './stuck.ts';
import type { PeerHint, PiStatus } from './world.ts';

/** Heartbeats carry at most this many hints and members; beyond it Pis find each other by mDNS alone. */
export const HINTS_MAX = 64;
export const MEMBERS_MAX = 64;

export interface Turn {
  world: World;
  decision: Decision;
  /** What the next heartbeats say. */
  status: PiStatus;
}

export function turn(facts: Facts, before?: World): Turn {
  const world = observe(facts, before);
  const verdict = mergeVerdict(world);
  if (verdict.verdict === 'yields') world.dissolvingSinceMs = before?.dissolvingSinceMs ?? facts.nowMs;
  if (leaderBeyond(world) !== undefined) world.stuckSinceMs = before?.stuckSinceMs ?? facts.nowMs;
  const flapping = watchFlaps(world, before?.flapping);
  if (flapping !== undefined) world.flapping = flapping;
  const steady = steadiness(world, before);
  if (steady !== undefined) world.steady = steady;
  return { world, decision: decide(world), status: statusOf(world) };
}

export function statusOf(world: World): PiStatus {
  const { self, swarm } = world;
  const status: PiStatus = {
    id: self.id,
    name: self.name,
    version: self.version,
    boot: self.boot,
    hardware: self.hardware,
    address: self.address ?? '',
    port: self.port,
    engine: world.engine,
    swarm,
    intent: world.memory.intent,
    tasks: world.runningTasks,
    wallMs: world.wallMs,
    peers: hints(world),
  };
  if (self.model !== undefined) status.model = self.model;
  if (self.architecture !== undefined) status.architecture = self.architecture;
  if (self.vitals !== undefined) status.vitals = self.vitals;
  const candidate = candidateOf(world);
  if (candidate !== undefined) status.candidate = candidate;
  if (world.meshVersion !== undefined) status.meshVersion = world.meshVersion;
  if (world.meshApplied !== undefined) status.meshApplied = world.meshApplied;
  const verdict = mergeVerdict(world);
  if (verdict.verdict === 'yields' && world.memory.yieldingTo === verdict.into)
    status.dissolving = { into: verdict.into };
  if (swarm.state === 'active' && swarm.leader) addLeaderStatus(world, status);
  return status;
}

function addLeaderStatus(world: World, status: PiStatus): void {
  const nodes = world.nodes ?? [];
  if (nodes.length <= MEMBERS_MAX) status.members = nodes.map(node => node.nodeId);
  if (world.images.length > 0) status.images = world.images;
  const patience = extraPatience(world);
  if (patience !== undefined) status.patience = patience;
  const leaving = nodes.filter(node => node.labels[LEAVING_LABEL] !== undefined && node.availability === 'drain');
  const released = leaving.filter(node => isFree(world, node));
  if (leaving.length > 0) status.leaving = leaving.slice(0, MEMBERS_MAX).map(node => node.nodeId);
  if (released.length > 0) status.released = released.slice(0, MEMBERS_MAX).map(node => node.nodeId);
}

const hints = (world: World): PeerHint[] =>
  visiblePeers(world)
    .slice(0, HINTS_MAX)
    .map(({ id, status }) => ({ id, host: status.address, port: status.port }));
