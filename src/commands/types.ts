/** What the handlers of commands need from the agent, as narrow as it can be. */
import type { ClusterEvent } from '../core/event-types.ts';
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
    'nodes' | 'services' | 'tasks' | 'serviceCreate' | 'serviceScale' | 'serviceRemove' | 'imagePlatforms'
  >;
  peers: Pick<Peers, 'list' | 'request'>;
  snapshot(): Snapshot;
  /** This engine is a manager with quorum. */
  isManager(): boolean;
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
