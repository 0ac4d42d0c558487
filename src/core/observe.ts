/** Facts become a World. Pure: the only memory is the world before. */
import { type Care, careOf, type HealthLimits } from './ailments.ts';
import { TAG_LABEL } from './labels.ts';
import { heldBack, leavingSince } from './leaving-times.ts';
import { type MoveTimes, moveTimes } from './move-times.ts';
import type { Flapping } from './patience.ts';
import { majority } from './quorum.ts';
import type { Steadiness } from './steady.ts';
import type {
  ActiveSwarm,
  EngineState,
  Memory,
  NodeId,
  Peer,
  SwarmNode,
  SwarmService,
  SwarmStatus,
  SwarmTask,
  Vitals,
} from './world.ts';

export * from './labels.ts';

/** What the wish is made of: the part of the configuration that the rules read. All times in ms. */
export interface Wish {
  settleMs: number;
  settleAloneMs: number;
  managers: 'auto' | number;
  replaceAfterMs: number;
  forgetAfterMs: number;
  drainTimeoutMs: number;
  /** Whether the load is evened out by itself, how long everything must have been calm before, and how long after each move. */
  rebalance: boolean;
  steadyForMs: number;
  rebalanceEveryMs: number;
  /** How long an engine may be `pending` or `error` beside a reachable manager before it starts anew. */
  stuckAfterMs: number;
  /** How long a worker without tasks waits for its vanished managers beside another swarm of the cluster. */
  orphanAfterMs: number;
  /** `auto`: by the number of nodes (`core/patience`). */
  dispatcherHeartbeatMs: 'auto' | number;
  nodeCertExpiryMs: number;
  /** `evict`: work of unwell Pis is moved to others, instead of only sparing them new work. */
  health: HealthLimits & { evict: boolean };
}

/** What the engine says of its swarm (`GET /info` → Swarm), before it is clear whose swarm it is. */
export interface EngineSwarm {
  localState: 'inactive' | 'pending' | 'active' | 'error' | 'locked';
  nodeId: string;
  controlAvailable: boolean;
  error: string;
  remoteManagers: string[];
  cluster?: { id: string; labels: Record<string, string>; createdAtMs: number };
}

export interface SwarmSettings {
  dispatcherHeartbeatMs: number;
  nodeCertExpiryMs: number;
  labels: Record<string, string>;
}

/** Everything that was collected for one turn. */
export interface Facts {
  nowMs: number;
  wallMs: number;
  self: {
    id: NodeId;
    name: string;
    version: string;
    boot: string;
    hardware: string;
    model?: string;
    architecture?: string;
    /** IPv4 that the swarm advertises; undefined while there is no network. */
    address: string | undefined;
    port: number;
    vitals?: Vitals;
  };
  /** Public tag of the cluster; undefined: no secret, unclaimed. */
  tag: string | undefined;
  wish: Wish;
  engine: EngineState;
  /** The engine answers, but not for its swarm (`GET /info` is late). */
  swarmSilent?: true;
  /** What the engine says when it is not ready. */
  engineProblem?: string;
  engineSwarm: EngineSwarm | undefined;
  memory: Memory;
  peers: Peer[];
  /** Managers with quorum only. */
  nodes?: SwarmNode[];
  services?: SwarmService[];
  /** Leader only. */
  tasks?: SwarmTask[];
  settings?: SwarmSettings;
  /** Somebody waits for `pi-swarm rebalance`: it need not have been calm for long. */
  rebalanceAsked?: true;
  /** On the card image, where all Pis begin alike: it may take another name than it was given. */
  mayRename?: true;
  /** Swarm node ids on which tasks still run, also those that were told to stop. */
  busyNodes?: string[];
  /** Version of the table of published ports, on managers that made one. */
  meshVersion?: string;
  /** The version that this Pi's own rules follow. */
  meshApplied?: string;
  /** Nodes and services of which a change failed, by id: not tried again before this (monotonic ms). Set by the loop. */
  failing?: Record<string, number>;
  runningTasks: number;
  /** Images of `pi-swarm` that should be here and are not. */
  missingImages: string[];
  /** Images that the leader wants on every Pi. */
  images: string[];
}

export interface Trouble {
  /** Monotonic ms since when the node is not ready. */
  downSinceMs?: number;
  /** Managers, and whom Raft still counts as one: since when Raft cannot reach it. */
  unreachableSinceMs?: number;
}

/** Facts, made comparable, with how long each has lasted. */
export interface World extends Omit<Facts, 'engineSwarm'> {
  swarm: SwarmStatus;
  since: {
    startMs: number;
    engineReadyMs: number;
    swarmMs: number;
    intentMs: number;
    /** Since when no manager of my swarm answers; undefined while one does. */
    orphanMs?: number;
  };
  /** F3: since when this Pi's swarm gives way to another; set by `turn`. */
  dissolvingSinceMs?: number;
  /** Since when this manager is lost to its swarm beside a leader that goes on without it; set by `turn`. */
  stuckSinceMs?: number;
  /** Leader: Pis that came and went; set by `turn`. */
  flapping?: Flapping;
  /** Leader: how long nodes and services have been calm; set by `turn`. */
  steady?: Steadiness;
  /** By swarm node id. */
  trouble: Record<string, Trouble>;
  /** Moves of tasks: since when they are where they are. */
  moves: MoveTimes;
  /** Since when each leaving node takes no new work, by swarm node id. */
  leavingSinceMs: Record<string, number>;
  /** How long of that its work could not move, for the sake of another Pi's. */
  heldBackMs: Record<string, number>;
  /** Since when Raft reaches each manager, by swarm node id. */
  managerSinceMs: Record<string, number>;
  /** Which Pis are unwell, and whether they are needed all the same. */
  care: Care;
}

export function observe(facts: Facts, before?: World): World {
  const swarm = whoseSwarm(facts);
  const { engineSwarm: _, ...rest } = facts;
  const kept = (same: boolean, since: number | undefined): number =>
    same && since !== undefined ? since : facts.nowMs;
  const leavingSinceMs = leavingSince(facts, before);
  const world: World = {
    ...rest,
    swarm,
    since: {
      startMs: before?.since.startMs ?? facts.nowMs,
      engineReadyMs: kept(facts.engine === before?.engine, before?.since.engineReadyMs),
      swarmMs: kept(sameSwarm(swarm, before?.swarm), before?.since.swarmMs),
      intentMs: kept(facts.memory.intent === before?.memory.intent, before?.since.intentMs),
    },
    trouble: troubles(facts, before),
    managerSinceMs: managersSince(facts, before),
    moves: moveTimes(facts, before?.moves),
    leavingSinceMs,
    heldBackMs: heldBack(facts, leavingSinceMs, before),
    care: careOf(facts, before?.care),
  };
  if (isOrphan(world)) world.since.orphanMs = before?.since.orphanMs ?? facts.nowMs;
  return world;
}

const sameSwarm = (a: SwarmStatus, b: SwarmStatus | undefined): boolean =>
  a.state === b?.state && ('nodeId' in a ? a.nodeId : '') === (b && 'nodeId' in b ? b.nodeId : '');

/**
 * Whose swarm is this engine in? A manager sees the swarm's label. A worker knows it from what it remembers, or from a
 * manager of ours that lists it (the agent may have been killed between joining and remembering).
 */
export function whoseSwarm(facts: Facts): SwarmStatus {
  const it = facts.engineSwarm;
  if (it === undefined || it.localState === 'inactive') return { state: 'none' };
  const nodeId = it.nodeId;
  if (it.localState !== 'active') {
    return { state: it.localState, nodeId, reason: it.error || `the engine says ${it.localState}` };
  }
  const swarmId = ownSwarmId(facts, it);
  if (swarmId === undefined) return { state: 'foreign', nodeId };
  const own = facts.nodes?.find(node => node.nodeId === nodeId);
  // `GET /info` still names the cluster when the majority is gone; only the list of nodes needs a leader.
  const quorum = it.controlAvailable && hasQuorum(facts.nodes ?? []);
  const status: ActiveSwarm = {
    state: 'active',
    swarmId,
    nodeId,
    role: it.controlAvailable ? 'manager' : 'worker',
    leader: quorum && own?.leader === true,
    quorum,
    managers: it.remoteManagers,
  };
  if (status.leader && it.cluster && facts.services && facts.nodes) {
    status.summary = {
      services: facts.services.length,
      nodes: facts.nodes.filter(node => node.state === 'ready').length,
      createdAtMs: it.cluster.createdAtMs,
    };
  }
  return status;
}

/** A leader, and a majority that it reaches. */
function hasQuorum(nodes: SwarmNode[]): boolean {
  const voters = nodes.filter(node => node.voter);
  return nodes.some(node => node.leader) && voters.filter(node => node.reachable).length >= majority(voters.length);
}

function ownSwarmId(facts: Facts, it: EngineSwarm): string | undefined {
  const { memory } = facts;
  if (it.cluster !== undefined) {
    const ours = facts.tag !== undefined && it.cluster.labels[TAG_LABEL] === facts.tag;
    return ours || memory.swarmId === it.cluster.id ? it.cluster.id : undefined;
  }
  if (memory.swarmId !== undefined && memory.swarmNodeId === it.nodeId) return memory.swarmId;
  // Without a node id in memory the agent was stopped between the engine's join and remembering it: the managers tell.
  const joined = memory.swarmNodeId === undefined ? memory.swarmId : undefined;
  for (const { status } of facts.peers) {
    const theirs = status.swarm;
    if (theirs.state !== 'active') continue;
    if (status.members?.includes(it.nodeId)) return theirs.swarmId;
    if (theirs.swarmId === joined && it.remoteManagers.some(manager => manager.startsWith(`${status.address}:`))) {
      return joined;
    }
  }
  return undefined;
}

function troubles(facts: Facts, before: World | undefined): Record<string, Trouble> {
  if (facts.nodes === undefined) return before?.trouble ?? {};
  const result: Record<string, Trouble> = {};
  for (const node of facts.nodes) {
    const old = before?.trouble[node.nodeId];
    const trouble: Trouble = {};
    if (node.state !== 'ready') trouble.downSinceMs = old?.downSinceMs ?? facts.nowMs;
    if ((node.role === 'manager' || node.voter) && !node.reachable) {
      trouble.unreachableSinceMs = old?.unreachableSinceMs ?? facts.nowMs;
    }
    if (trouble.downSinceMs !== undefined || trouble.unreachableSinceMs !== undefined) result[node.nodeId] = trouble;
  }
  return result;
}

function managersSince(facts: Facts, before: World | undefined): Record<string, number> {
  if (facts.nodes === undefined) return before?.managerSinceMs ?? {};
  const managers = facts.nodes.filter(node => node.role === 'manager' && node.reachable);
  return Object.fromEntries(managers.map(({ nodeId }) => [nodeId, before?.managerSinceMs[nodeId] ?? facts.nowMs]));
}

/** In a swarm of which no manager with quorum is heard. */
function isOrphan(world: World): boolean {
  const { swarm } = world;
  if (swarm.state !== 'active') return false;
  if (swarm.role === 'manager') return !swarm.quorum;
  return !activePeers(world).some(peer => peer.swarm.swarmId === swarm.swarmId && peer.swarm.quorum);
}

export interface ActivePeer extends Peer {
  swarm: ActiveSwarm;
}

/** Peers that are not dead and in a swarm of this cluster. */
export function activePeers(world: Pick<World, 'peers'>): ActivePeer[] {
  const result: ActivePeer[] = [];
  for (const peer of world.peers) {
    if (peer.liveness !== 'dead' && peer.status.swarm.state === 'active') {
      result.push({ ...peer, swarm: peer.status.swarm });
    }
  }
  return result;
}

/** Peers that are not dead: a suspect one may only be slow. */
export const visiblePeers = (world: Pick<World, 'peers'>): Peer[] =>
  world.peers.filter(peer => peer.liveness !== 'dead');
