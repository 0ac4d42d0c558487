/**
 * The interfaces between the loop and the world outside. Each has one real implementation in `src/io` and one fake in
 * `test/fakes`; both pass the same suite in `test/contract`. Every call that can wait takes or has a limit.
 */
import type {
  EngineState,
  Memory,
  NodeId,
  Peer,
  PeerHint,
  PiStatus,
  ServiceMove,
  SwarmNode,
  SwarmService,
  SwarmTask,
} from './core/world.ts';

export interface Clock {
  /** Monotonic milliseconds; never goes back, says nothing about the date. */
  now(): number;
  /** Milliseconds since 1970, never before the build date or the saved time (a Pi has no RTC). */
  wall(): number;
  /** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** A number in [0, 1). */
  random(): number;
}

export interface Store {
  /** What was saved; defaults where nothing was or where the file is damaged (then the damaged one is kept aside). */
  load(): Promise<Memory>;
  /** Atomic: write, fsync, rename, fsync of the directory. On a full disk the old state stays whole. @throws EnvironmentError */
  save(memory: Memory): Promise<void>;
}

export interface Discovery {
  /** Starts announcing and listening; safe to call when the network is not up yet. */
  start(): Promise<void>;
  /** Calls back for each hint (an address where a peer may be); repeated as they are refreshed. */
  onHint(listener: (hint: PeerHint) => void): void;
  /** A goodbye: that peer said it goes. Only hastens a probe. */
  onGoodbye(listener: (id: NodeId) => void): void;
  /** Withdraws the announcement (sends goodbyes) and releases everything; bounded. */
  stop(): Promise<void>;
}

export interface PeerRequestOptions {
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** Authenticated channels to the other Pis of the cluster. */
export interface Peers {
  start(): Promise<void>;
  /** What the next heartbeats say of this Pi. */
  setStatus(status: PiStatus): void;
  /** Where a peer may be: probed, authenticated, and kept if it is one. */
  hint(hint: PeerHint): void;
  /** Probe this peer now instead of at its next heartbeat. */
  probe(id: NodeId): void;
  /** All authenticated peers that were heard in the last `forgetMs`, with liveness as of now. */
  list(): Peer[];
  /** Calls back when a peer appears, changes its liveness, or says something new about its swarm. */
  onChange(listener: () => void): void;
  /** One command to one peer (`POST /peer/v1/command/NAME`), answered as JSON. @throws PeerError, or what the peer threw. */
  request(to: NodeId, command: string, body: unknown, options?: PeerRequestOptions): Promise<unknown>;
  /** Answers the commands of peers. Only authenticated peers reach it. */
  onRequest(handler: (from: NodeId, command: string, body: unknown) => Promise<unknown>): void;
  /** Refused handshakes since the start, by reason, and the last one: for `status` and `doctor`. */
  refusals(): PeerRefusals;
  stop(): Promise<void>;
}

export interface PeerRefusals {
  count: number;
  /** `reason` for programs, `problem` for people. */
  last?: { reason: string; problem?: string; from: string; atMs: number };
}

/** `GET /info`, as far as it matters. */
export interface EngineInfo {
  engineId: string;
  version: string;
  apiVersion: string;
  /** As nodes report it: `x86_64`, `aarch64`, `armv7l`. */
  architecture: string;
  os: string;
  cpus: number;
  memoryBytes: number;
  /** `DockerRootDir`, where the engine keeps all it has. */
  rootDirectory?: string;
  swarm: {
    /** `LocalNodeState`: inactive, pending, active, error, locked. */
    localState: 'inactive' | 'pending' | 'active' | 'error' | 'locked';
    nodeId: string;
    nodeAddress: string;
    /** This engine is a manager and can serve swarm calls. */
    controlAvailable: boolean;
    error: string;
    /** `host:2377` of each manager this engine knows. */
    remoteManagers: string[];
    /** Managers only: `Cluster.ID`, its labels and creation time. */
    cluster?: { id: string; labels: Record<string, string>; createdAtMs: number };
    nodes?: number;
    managers?: number;
  };
  warnings: string[];
}

export interface SwarmInitOptions {
  /** IPv4 address that this engine advertises. */
  advertiseAddress: string;
  /** Labels of the swarm itself; `pi-swarm.tag` marks it as ours. */
  labels: Record<string, string>;
  dispatcherHeartbeatMs: number;
  nodeCertExpiryMs: number;
}

export interface SwarmJoinOptions {
  advertiseAddress: string;
  /** `host:2377`, at least one. */
  managers: string[];
  token: string;
  timeoutMs?: number;
}

export interface NodeChange {
  role?: 'worker' | 'manager';
  availability?: 'active' | 'pause' | 'drain';
  /** Labels to set; `null` removes one. */
  labels?: Record<string, string | null>;
}

/** The Docker Engine of this Pi. Every call is bounded (default 10 s). @throws EngineError */
export interface Engine {
  /** Whether it answers: `slow` when the last call timed out, `absent` when nothing listens. */
  state(): EngineState;
  /** Why it is not ready, for people. */
  problem(): string | undefined;
  info(): Promise<EngineInfo>;
  /** Something changed in the engine (events stream), and when the engine comes or goes. Coalesced. */
  onChange(listener: (what: 'container' | 'swarm' | 'engine') => void): void;
  /** `POST /swarm/init`; returns the node id. */
  swarmInit(options: SwarmInitOptions): Promise<string>;
  /** `POST /swarm/join`. */
  swarmJoin(options: SwarmJoinOptions): Promise<void>;
  /** `POST /swarm/leave`. */
  swarmLeave(force: boolean): Promise<void>;
  /** Manager only, `GET /swarm` → `JoinTokens.Worker`. A secret. */
  workerToken(): Promise<string>;
  /** Manager only: sets the spec's values where they differ. */
  swarmTune(options: {
    dispatcherHeartbeatMs?: number;
    nodeCertExpiryMs?: number;
    labels?: Record<string, string>;
  }): Promise<void>;
  /** Manager only. */
  swarmSettings(): Promise<{ dispatcherHeartbeatMs: number; nodeCertExpiryMs: number; labels: Record<string, string> }>;
  nodes(): Promise<SwarmNode[]>;
  /** Read, change, write with the version index; retried on conflict (bounded). */
  nodeUpdate(nodeId: string, change: NodeChange): Promise<void>;
  nodeRemove(nodeId: string, force: boolean): Promise<void>;
  /** With running and wished counts from the tasks: those that are `known`, or asked for. */
  services(known?: { tasks: SwarmTask[]; nodes: SwarmNode[] }): Promise<SwarmService[]>;
  tasks(): Promise<SwarmTask[]>;
  serviceCreate(spec: ServiceWish): Promise<{ id: string; warnings: string[] }>;
  serviceScale(name: string, replicas: number): Promise<void>;
  serviceRemove(name: string): Promise<void>;
  /**
   * A move in three writes, each idempotent and retried on a version conflict (`core/moving` says when; the label
   * `pi-swarm.move` keeps what has to be put back). First: `count` more replicas. A service that is moving already is left alone.
   */
  serviceMoveStart(id: string, move: { from: string; count: number; why: ServiceMove['why'] }): Promise<void>;
  /**
   * Second: `count` tasks on `from` get successors that no node may run: neither `from`, nor the `empty` ones, nor a second one elsewhere. With
   * `back` all tasks on those nodes get them instead: new ones that did not start.
   */
  serviceMoveBlock(id: string, empty: readonly string[], back?: readonly string[]): Promise<void>;
  /** Third: everything as the user wished it. Swarm takes the tasks with waiting successors away first. */
  serviceMoveEnd(id: string): Promise<void>;
  /** Running containers of this engine that belong to swarm tasks. */
  runningTaskContainers(): Promise<number>;
  /** What an image offers: from the registry (`/distribution`), else from the local copy; undefined where nobody knows it. */
  imagePlatforms(image: string): Promise<ImagePlatform[] | undefined>;
  hasImage(image: string): Promise<boolean>;
  /** `POST /images/load` of a tar. */
  loadImage(tar: Uint8Array): Promise<void>;
  stop(): Promise<void>;
}

export interface ImagePlatform {
  os: string;
  /** Go's names: amd64, arm64, arm. */
  architecture: string;
  /** `v6`, `v7`, `v8`. */
  variant?: string;
}

/** What `deploy` asks for; everything a person would expect of an everyday service. */
export interface ServiceWish {
  name: string;
  image: string;
  /** Platforms of the image; become `Placement.Platforms`. Empty: no filter. */
  platforms: { os: string; architecture: string }[];
  /** `undefined`: global. */
  replicas?: number;
  ports: { protocol: 'tcp' | 'udp'; published: number; target: number; mode: 'ingress' | 'host' }[];
  env: string[];
  constraints: string[];
  labels: Record<string, string>;
  command?: string[];
  mounts: { type: 'volume' | 'bind'; source: string; target: string; readOnly: boolean }[];
  networks: string[];
  restartDelayMs: number;
  memoryLimitBytes?: number;
}

/** What the machine is; read once. */
export interface HostFacts {
  hostname: string;
  /** `Raspberry Pi 4 Model B Rev 1.4`, or the vendor's name of a PC. */
  model: string;
  /** Hash of the board's serial number, or of its first MAC address. Stable for one board. */
  hardware: string;
  /** `uname -m`. */
  architecture: string;
  kernel: string;
  os: string;
  cpus: number;
  memoryBytes: number;
}

/** How the machine is doing. Absent where this machine cannot tell. */
export interface HostVitals {
  /** Since the last reading; the first has none. */
  cpuPercent?: number;
  memoryPercent?: number;
  memoryUsedBytes?: number;
  /** The file system of the state directory. */
  diskPercent?: number;
  diskFreeBytes?: number;
  temperatureCelsius?: number;
  throttled?: ThrottleFlags;
  uptimeSeconds: number;
  load1: number;
}

/** The firmware's `get_throttled` bits: now, and ever since boot. */
export interface ThrottleFlags {
  underVoltage: boolean;
  capped: boolean;
  throttled: boolean;
  softLimit: boolean;
  since: { underVoltage: boolean; capped: boolean; throttled: boolean; softLimit: boolean };
}

export interface Host {
  facts(): Promise<HostFacts>;
  /** Cached: the board's sensors for some seconds, the slow part for a minute. Never throws: what fails is left out. */
  vitals(): Promise<HostVitals>;
}

export interface NetworkState {
  /** The interface the cluster uses, and its IPv4 address; undefined while there is none. */
  chosen?: { name: string; address: string; mac: string };
  /** Every IPv4 address on this machine, for the certificate's SAN. */
  addresses: string[];
}

export interface Network {
  state(): NetworkState;
  /** Called when the chosen interface or its address changes. */
  onChange(listener: (state: NetworkState) => void): void;
  stop(): void;
}
