/** The shapes of events: what people and programs get, and what is remembered of it. */
import type { NodeId } from './world.ts';

/** Stable words for programs. docs/mqtt.md explains each. */
export const EVENT_KINDS = [
  'formed',
  'joined',
  'left',
  'shut-down',
  'lost',
  'back',
  'flapping',
  'replaced',
  'forgotten',
  'promoted',
  'demoted',
  'leader',
  'drained',
  'paused',
  'activated',
  'rebalanced',
  'relieved',
  'unwell',
  'well',
  'patience',
  'merged',
] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/** One thing that happened: `pi-swarm events --json`, and MQTT. */
export interface ClusterEvent {
  /** The same for a line that is completed later. */
  id: string;
  /** Grows with each event and with each completion of one. */
  revision: number;
  /** ISO 8601, when it happened; of something lost, when the last word of it came. */
  at: string;
  /** One of `EVENT_KINDS`; a newer release may know more. */
  kind: string;
  /** Name of the Pi. */
  pi?: string;
  /** Name of the service. */
  service?: string;
  /** How many tasks it is about. */
  tasks?: number;
  /** How long it took. Of `lost`: from the last word until everything ran elsewhere, absent until then. */
  durationMs?: number;
  /** The line for people. */
  text: string;
}

/** What a rule says; the chronicle numbers it. */
export interface News extends Omit<ClusterEvent, 'id' | 'revision' | 'at'> {
  kind: EventKind;
  /** Names something that goes on: the same key completes it. */
  key?: string;
  /** More is to come under this key. */
  open?: boolean;
  /** Milliseconds since 1970. */
  atMs: number;
}

/** A Pi as it was last told. Times are milliseconds since 1970: they travel between Pis. */
export interface ToldPi {
  nodeId: string;
  /** Empty where it has no agent. */
  id: NodeId;
  name: string;
  hardware: string;
  role: 'worker' | 'manager';
  state: 'here' | 'lost' | 'off' | 'left';
  /** `engine`: its agent was there, its engine was not. `swarm`: both were, but the managers gave the engine up. */
  cause?: 'silence' | 'engine' | 'swarm';
  goneAtMs?: number;
  tasks?: number;
  /** When it was lost, of late. */
  losses?: number[];
  /** By a person. */
  use: 'active' | 'drained' | 'paused';
  drainedAtMs?: number;
  /** Drained, and not empty yet: how many tasks it had. */
  draining?: number;
  unwell?: { word: string; sinceMs: number };
}

export interface Told {
  swarmId: string;
  leader: string;
  heartbeatMs?: number;
  pis: ToldPi[];
  /** Nodes of Pis that are there under another number by now; the swarm lists them for a while. */
  ghosts: string[];
  merging?: { swarmId: string; sinceMs: number };
}
