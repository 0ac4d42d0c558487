/** What the core knows: plain data, made anew each turn. Nothing in here is ever a secret. */

/** First 16 hex digits of SHA-256 over the node key's SPKI. */
export type NodeId = string;

/** What a Pi says of its engine. */
export type EngineState = 'absent' | 'slow' | 'ready';

/** What a Pi means to do; `left` and `shutdown` survive restarts of the agent, a return clears `shutdown`. */
export type Intent = 'stay' | 'leave' | 'shutdown' | 'left';

/** The engine's own view of its swarm (`GET /info` → Swarm), made comparable between Pis. */
export type SwarmStatus =
  | { state: 'none' }
  /** In a swarm that this cluster did not make: left alone, reported. */
  | { state: 'foreign'; nodeId: string }
  /** `pending`: joining, or not admitted yet. `error`: removed, or certificates refused. `locked`: autolock is on. */
  | { state: 'pending'; nodeId: string; reason: string }
  | { state: 'error'; nodeId: string; reason: string }
  | { state: 'locked'; nodeId: string; reason: string }
  | ActiveSwarm;

export interface ActiveSwarm {
  state: 'active';
  /** The swarm's own id (`Swarm.Cluster.ID`); a worker knows it from the peer that admitted it. */
  swarmId: string;
  /** This engine's node id inside the swarm. */
  nodeId: string;
  role: 'worker' | 'manager';
  leader: boolean;
  /** Manager: a Raft quorum answers (`ControlAvailable` and a leader). Worker: always false. */
  quorum: boolean;
  /** `host:2377` of the managers, as the engine knows them. */
  managers: string[];
  /** Only the leader fills this in. */
  summary?: SwarmSummary;
}

export interface SwarmSummary {
  /** User services; the count decides which swarm survives a merge. */
  services: number;
  nodes: number;
  /** Milliseconds since 1970, by the engine that made it. */
  createdAtMs: number;
}

/** What each Pi tells its peers every second. Bounded: at most 64 `peers`. */
export interface PiStatus {
  id: NodeId;
  name: string;
  /** pi-swarm's version, for people. */
  version: string;
  /** A new random value at each start of the agent: tells a restart from a flap. */
  boot: string;
  /** Stable for one board, also after re-flashing. */
  hardware: string;
  /** Where this Pi's engine can be reached by others (IPv4). */
  address: string;
  port: number;
  engine: EngineState;
  swarm: SwarmStatus;
  intent: Intent;
  /** Whom this Pi would let `swarm init` (F2); absent when it is in a swarm. */
  candidate?: NodeId;
  /** Set by the leader of a swarm that gives way to another (F3). */
  dissolving?: { into: string };
  /** Swarm node id → state, from a manager with quorum: tells a removed Pi that it was removed. Bounded by the swarm's size. */
  members?: string[];
  /** Changes whenever the published ports or their tasks do; from managers. */
  meshVersion?: string;
  /** The version that this Pi's published ports follow now. */
  meshApplied?: string;
  /** Version of the events that this Pi has heard of; the leader's is the one to have. */
  events?: string;
  /** Images that every Pi should be able to run without a registry (whoami). */
  images?: string[];
  /** Swarm node ids that the leader has drained because their Pis go (L1): tells a leaving Pi that it was heard. */
  leaving?: string[];
  /** Those of them whose work runs elsewhere and, if they leave for good, that are out of Raft: they may go now. */
  released?: string[];
  /** H1: the swarm waits longer than it would, for the sake of the Pi with that name; from the leader. */
  patience?: { heartbeatMs: number; name?: string };
  /** Running swarm tasks on this Pi. */
  tasks: number;
  model?: string;
  /** `x86_64`, `aarch64`, `armv7l` … */
  architecture?: string;
  vitals?: Vitals;
  /** Wall clock, milliseconds since 1970; for peers without a clock. */
  wallMs: number;
  /** Others that this Pi is in contact with: hints for discovery, never identities. */
  peers: PeerHint[];
}

/** How the machine is doing; the names are the same in heartbeats, MQTT and JSON. Absent where it cannot tell. */
export interface Vitals {
  cpuPercent?: number;
  memoryPercent?: number;
  diskPercent?: number;
  temperatureCelsius?: number;
  underVoltage?: boolean;
  throttled?: boolean;
  uptimeSeconds?: number;
}

export interface PeerHint {
  id?: NodeId;
  host: string;
  port: number;
}

export type Liveness = 'alive' | 'suspect' | 'dead';

/** An authenticated peer. */
export interface Peer {
  id: NodeId;
  liveness: Liveness;
  /** Monotonic milliseconds when the first and the last word came. */
  firstSeenMs: number;
  lastSeenMs: number;
  /** The last it said. */
  status: PiStatus;
}

/** One row of `GET /nodes`. */
export interface SwarmNode {
  nodeId: string;
  hostname: string;
  /** `pi-swarm.*` labels and the user's. */
  labels: Record<string, string>;
  role: 'worker' | 'manager';
  availability: 'active' | 'pause' | 'drain';
  state: 'ready' | 'down' | 'unknown' | 'disconnected';
  leader: boolean;
  /** A member of the Raft group (`ManagerStatus` is there): follows `role` a moment later. */
  voter: boolean;
  /** Voters only: `ManagerStatus.Reachability`. */
  reachable: boolean;
  address: string;
  /** `x86_64`, `aarch64`, `armv7l` … */
  architecture: string;
  os: string;
  createdAtMs: number;
}

/** A task as far as pi-swarm cares (`GET /tasks`). */
export interface SwarmTask {
  id: string;
  serviceId: string;
  nodeId: string;
  slot: number;
  state: string;
  desired: string;
  /** Why it failed, as the engine says it. */
  error?: string;
  containerId?: string;
  /** Its IPv4 address on the ingress network, without prefix length. */
  ingressAddress?: string;
}

export interface PublishedPort {
  protocol: 'tcp' | 'udp';
  published: number;
  target: number;
  mode: 'ingress' | 'host';
}

export interface SwarmService {
  id: string;
  name: string;
  image: string;
  /** `undefined` replicas: global. */
  replicas?: number;
  running: number;
  desired: number;
  ports: PublishedPort[];
  createdAtMs: number;
  /** The service's own labels (`Spec.Labels`), `pi-swarm.*` and the user's. */
  labels?: Record<string, string>;
  /** `Placement.Constraints`, without those that a move has added. */
  constraints?: string[];
  /** `Placement.Platforms` of its image; absent or empty where every kind will do. */
  platforms?: { os: string; architecture: string }[];
  /** `Placement.MaxReplicas`, per node; absent: no limit. */
  maxReplicas?: number;
  /** It says over what it is spread (`Placement.Preferences`), e.g. racks: an even number on each Pi may not be what it wants. */
  preferences?: true;
  /** It mounts volumes or directories of the Pi that it runs on: elsewhere it would find other data. */
  localVolumes?: boolean;
  /** A rolling update or rollback is in progress, or paused half-way (`UpdateStatus.State`). Not so for marks of ours. */
  updating?: boolean;
  /** That update goes no further until somebody does something (`paused`, `rollback_paused`). */
  updateHalted?: true;
  /** Some of its tasks are being moved to other Pis; `replicas` and `desired` are still what the user wished. */
  move?: ServiceMove;
}

/**
 * Tasks of one service on their way from one Pi to others, new ones first (`core/moving`). Kept in the service's label
 * `pi-swarm.move`, so that any leader can go on with it or take it back.
 */
export interface ServiceMove {
  /** Swarm node id of the Pi that they leave. */
  from: string;
  /** How many leave it. */
  count: number;
  /** Why: the Pi goes (`leave`), the load is uneven (`rebalance`), it is unwell (`health`), or it is gone (`lost`). */
  why: 'leave' | 'rebalance' | 'health' | 'lost';
  /**
   * `surge`: as many more are started. `block`: those that leave are marked by successors that cannot start.
   * `back`: it comes to nothing, and the new ones that do not run yet are marked instead.
   */
  phase: 'surge' | 'block' | 'back';
  /** Somebody has scaled the service since: it no longer asks for as many as the move needs. */
  disturbed?: true;
}

/** What survives restarts of the agent, in the state directory. */
export interface Memory {
  /** The swarm this Pi belongs to, as last seen or about to be joined. */
  swarmId?: string;
  swarmNodeId?: string;
  /** F3: this Pi led its swarm when it gave way to that one, and sees it through though it may lose its majority by it. */
  yieldingTo?: string;
  /** The name it gave up, because another Pi of the cluster had it. */
  renamedFrom?: string;
  intent: Intent;
}
