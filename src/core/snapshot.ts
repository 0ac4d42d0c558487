/** What the agent shows to people and programs: the CLI (`--json`), MQTT, the page. One shape for all. No secrets. */
import type { Ailment } from './ailments.ts';
import type { EngineState, Intent, Liveness, NodeId, SwarmService, SwarmStatus, Vitals } from './world.ts';

export type { Vitals } from './world.ts';

export type Severity = 'info' | 'warning' | 'error';

/** Something that a person should know, with the cure. */
export interface Notice {
  severity: Severity;
  /** Stable word for programs, e.g. `quorum-lost`. */
  kind: string;
  /** What happened. */
  text: string;
  /** What to do next. */
  cure?: string;
}

export interface PiSnapshot {
  id: NodeId | '';
  name: string;
  address: string;
  self: boolean;
  liveness: Liveness | 'unknown';
  /** Of the swarm: what `docker node ls` says; `none` when it is not in it. */
  role: 'leader' | 'manager' | 'worker' | 'none';
  swarmState: 'ready' | 'down' | 'unknown' | 'disconnected' | 'joining' | 'none';
  availability: 'active' | 'pause' | 'drain' | 'none';
  swarmNodeId?: string;
  architecture?: string;
  model?: string;
  version?: string;
  /** Tasks that run there; undefined where nobody could say. */
  tasks?: number;
  vitals?: Vitals;
  /** It is drained by pi-swarm because it leaves, shuts down or is to be spared (`drain`), or it has left. */
  leaving?: 'leave' | 'shutdown' | 'drain' | 'left';
  /** A manager that Raft cannot reach, for longer than a promotion takes. */
  unreachable?: true;
  /** What ails it, so that it gets no new work where the others suffice. */
  unwell?: Ailment;
  /** Seconds since it was last heard. */
  lastSeenSeconds?: number;
}

export interface Snapshot {
  version: string;
  self: {
    id: NodeId;
    name: string;
    address: string;
    port: number;
    hardware: string;
    model: string;
    architecture: string;
    claimed: boolean;
    intent: Intent;
    engine: { state: EngineState; version?: string; problem?: string };
    swarm: SwarmStatus;
    vitals: Vitals;
    /** Running swarm tasks on this Pi. */
    tasks: number;
  };
  cluster: {
    /** Public tag of the cluster secret, hex; empty when unclaimed. */
    tag: string;
    /** One word for the whole: `unclaimed`, `alone`, `forming`, `ok`, `degraded`, `down`. */
    state: 'unclaimed' | 'alone' | 'forming' | 'ok' | 'degraded' | 'down';
    swarmId?: string;
    managers: number;
    pis: PiSnapshot[];
    services?: SwarmService[];
  };
  mesh: { mode: 'kernel' | 'nftables' | 'none'; ports: number; problem?: string };
  mqtt: { state: 'off' | 'connecting' | 'connected' | 'offline'; problem?: string };
  /** What the loop is doing or waiting for, as a sentence. */
  doing: string;
  notices: Notice[];
  /** ISO 8601. */
  at: string;
}
