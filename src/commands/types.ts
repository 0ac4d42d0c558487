/** What the handlers of commands need from the agent, as narrow as it can be. */
import type { ClusterEvent } from '../core/event-types.ts';
import type { World } from '../core/observe.ts';
import type { Snapshot } from '../core/snapshot.ts';
import type { Intent, NodeId } from '../core/world.ts';
import type { Engine, Peers } from '../ports.ts';

export interface CommandContext {
  /** Who asks: the command line of this Pi, or a peer. */
  from: 'local' | NodeId;
}

export type CommandHandler = (body: unknown, context: CommandContext) => Promise<unknown>;
export type Commands = Record<string, CommandHandler>;

export interface CommandDeps {
  self: { id: NodeId; name: string };
  engine: Pick<
    Engine,
    | 'nodes'
    | 'nodeUpdate'
    | 'services'
    | 'tasks'
    | 'serviceCreate'
    | 'serviceScale'
    | 'serviceRemove'
    | 'imagePlatforms'
  >;
  peers: Pick<Peers, 'list' | 'request'>;
  snapshot(): Snapshot;
  /** This engine is a manager with quorum. */
  isManager(): boolean;
  /** This engine leads the swarm. */
  isLeader(): boolean;
  /** What the last turn saw. */
  world(): World | undefined;
  /** Somebody waits for the load to be evened out; holds for some seconds. */
  askRebalance(): void;
  /** Live peers that are managers with quorum, the leader first. */
  managers(): NodeId[];
  /** Which version of the published ports each live Pi follows, this one first. */
  meshApplied(): (string | undefined)[];
  /** Resolves when the wish is kept in the state directory; the loop carries it out. */
  requestIntent(intent: Intent): Promise<void>;
  /** The demo image. `ensure` makes it on this engine where it is missing. */
  whoami: { image: string; port: number; ensure(): Promise<unknown> };
  /** Where the cluster secret lives. */
  secretFile: string;
  /** Called when another secret was written: the agent reads it and starts anew with it. */
  pickUpSecret(): Promise<void>;
  /** For services whose maker named none. */
  restartDelayMs: number;
  /** What happened to the cluster, as far as this Pi has heard. */
  events(query: EventQuestion): EventList;
}

/** What `events` is asked. */
export interface EventQuestion {
  /** Not older than this. */
  agoMs?: number | undefined;
  /** The newest so many. */
  limit?: number | undefined;
  /** Only what is new or complete since this revision. */
  after?: number | undefined;
}

/** What `events` answers: the order is that in which things happened. */
export interface EventList {
  revision: number;
  events: ClusterEvent[];
  /** This Pi has just been started and nobody has told it what happened; whether it sees a leader. */
  unheard?: { pi: string; leader: boolean };
}

/** One copy of the answer's shape for both ends: what `service` and `services` say of one service. */
export interface ServiceReport {
  id: string;
  name: string;
  image: string;
  /** Absent: one on every Pi. */
  replicas?: number;
  running: number;
  desired: number;
  ports: { protocol: 'tcp' | 'udp'; published: number; target: number; mode: 'ingress' | 'host' }[];
  /** Running tasks by the name of the Pi. */
  where: Record<string, number>;
}

export interface ServiceDetail extends ServiceReport {
  /** The latest reasons why tasks do not run, newest last; at most five. */
  failures: { task: string; pi: string; state: string; reason: string }[];
  /** How many failed tasks the engine still remembers: it keeps the last few of each slot. */
  failed: number;
  /** How many of the live Pis answer on its published ports by now; absent where it publishes none. */
  open?: { pis: number; of: number };
}

export interface DeployReport {
  name: string;
  image: string;
  /** The same service was there already. */
  unchanged: boolean;
  warnings: string[];
  ports: ServiceReport['ports'];
  /** Addresses of the Pis, this one first. */
  addresses: string[];
}

/** What `rebalance` says. Pis by name. */
export interface RebalanceReport {
  /** The moves that even out the load, in order; `to` has one Pi for each task, as far as it can be foreseen. Empty: it is even. */
  plan: { service: string; count: number; from: string; to: string[] }[];
  /** Under way, for whatever reason. */
  moving: { service: string; count: number; from: string }[];
  /** Why nothing is moved now, as a sentence. */
  waits?: string;
  /** Nothing is in the way of doing it now; by itself the first move is made in so long, in ms. */
  byItselfInMs?: number;
  /** The leader does it by itself when everything has been calm for a while. */
  automatic: boolean;
  leftAlone: { service: string; why: string }[];
}

/** What `bound` says of one Pi: services of which copies run there. */
export interface BoundReport {
  /** No other Pi that is up may run them. */
  only: { service: string; constraints: string[] }[];
  /** They can run elsewhere, but their data is there. */
  volumes: { service: string }[];
}

/** What `drain` says: how it is when the Pi is marked, or used again. */
export interface DrainAnswer {
  /** Swarm node id. */
  node: string;
  name: string;
  /** It was not so before. */
  changed: boolean;
  /** It does not answer the swarm. */
  off: boolean;
  /** It is drained in full already, and not by this call. */
  already: boolean;
  /** How many ran of each service by now, wherever: who is short later may have been so before. */
  running: Record<string, number>;
  bound: BoundReport;
  /** How long all has to be calm until it gets its share by itself; absent where that is switched off. */
  shareAfterMs?: number;
}

/** What `drained` says of one Pi. */
export interface DrainReport {
  /** It shall take no work. Undone by somebody: false. */
  marked: boolean;
  /** Nothing runs there, and nothing will. */
  done: boolean;
  there: { service: string; count: number }[];
  /** Services of which fewer run than should, wherever. `reason`: the swarm's own words. */
  short: { service: string; running: number; desired: number; reason?: string }[];
}
