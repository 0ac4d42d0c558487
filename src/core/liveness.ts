/**
 * Who is alive: formulas over "when was the last word heard", after memberlist's alive → suspect → dead.
 * Everything here is pure; `nowMs` is monotonic time.
 */
import type { Liveness, NodeId, PiStatus } from './world.ts';

/** How often two Pis that matter to each other exchange a heartbeat. */
export const HEARTBEAT_INTERVAL_MS = 1000;

/**
 * Silence of this many intervals makes a peer suspect. Two heartbeats may get lost or come late (2.0) plus half an
 * interval for a busy Pi. Lower finds trouble sooner and cries wolf on Wi-Fi; nothing is done to a suspect, so wolf is cheap.
 */
export const SUSPECT_AFTER_INTERVALS = 2.5;

/**
 * Silence of this many intervals makes a peer dead: its work is taken over. At one heartbeat a second a dead Pi is known
 * after 4 s (promised: 5 s), and a pause of 2 s (garbage collection, a slow SD card) leaves two seconds to spare. Lower
 * would move work away from Pis that only stutter; higher would add to every failover.
 */
export const DEAD_AFTER_INTERVALS = 4;

/** The one that waits for the other's heartbeat sends its own after this much silence: that is how one-way firewalls still work. */
export const PASSIVE_AFTER_INTERVALS = 1.5;

/** Up to so many Pis all talk to all: n·(n−1)/2 small exchanges a second, 120 at 16. Beyond, only hubs talk to all. */
export const FULL_MESH_PIS_MAX = 16;

/** While no manager is known, this many lowest ids play the managers' part, so a large cluster can form. */
export const HUBS_WITHOUT_MANAGERS = 5;

/** Two Pis of a large cluster of which neither is a hub only check on each other so often. */
export const BACKGROUND_INTERVAL_MS = 60_000;

/** A peer that was not heard for so long is dropped from the list; hints can bring it back. */
export const FORGET_AFTER_MS = 10 * 60_000;

export interface LivenessInput {
  nowMs: number;
  /** When anything authenticated was last heard from it. */
  lastSeenMs: number;
  /** The interval of this pair, see `pairIntervalMs`. */
  intervalMs: number;
  /** Nobody may be blamed for silence before this moment: see `excuseAfterPause`. */
  excusedUntilMs?: number;
}

/** alive → suspect → dead by silence alone. A clock that stands still or a word from the future means alive. */
export function livenessOf({ nowMs, lastSeenMs, intervalMs, excusedUntilMs }: LivenessInput): Liveness {
  const heardMs = Math.max(lastSeenMs, excusedUntilMs ?? Number.NEGATIVE_INFINITY);
  const silentIntervals = (nowMs - heardMs) / intervalMs;
  if (silentIntervals >= DEAD_AFTER_INTERVALS) return 'dead';
  return silentIntervals >= SUSPECT_AFTER_INTERVALS ? 'suspect' : 'alive';
}

/**
 * If this process itself stood still (a blocked event loop, SIGSTOP, a suspended machine), silence says nothing about the
 * others: their words wait unread in our sockets. Then everybody is taken as last heard when suspicion would begin, so the
 * really dead are known after `DEAD − SUSPECT` further intervals, and nobody else is harmed.
 *
 * @param gapMs time since the last look at the clock
 * @returns the new `excusedUntilMs`, or undefined when the gap was an ordinary one
 */
export function excuseAfterPause(nowMs: number, gapMs: number, intervalMs: number): number | undefined {
  return gapMs > intervalMs ? nowMs - SUSPECT_AFTER_INTERVALS * intervalMs : undefined;
}

/** What the choice of heartbeat targets depends on. */
export type Talker = Pick<PiStatus, 'id' | 'swarm'>;

const isManager = (talker: Talker): boolean => talker.swarm.state === 'active' && talker.swarm.role === 'manager';

/** Those with whom everybody talks: the managers, or, while there are none, the lowest ids. */
export function hubsOf(all: readonly Talker[]): Set<NodeId> {
  const managers = all.filter(isManager).map(talker => talker.id);
  if (managers.length > 0) return new Set(managers);
  return new Set(
    all
      .map(talker => talker.id)
      .sort()
      .slice(0, HUBS_WITHOUT_MANAGERS),
  );
}

export interface HeartbeatTarget {
  id: NodeId;
  intervalMs: number;
}

/**
 * With whom, and how often, this Pi exchanges heartbeats. Costs per Pi are O(hubs), not O(Pis): a worker of a large
 * cluster talks each second with the managers only.
 */
export function heartbeatTargets(
  self: Talker,
  peers: readonly Talker[],
  intervalMs: number = HEARTBEAT_INTERVAL_MS,
): HeartbeatTarget[] {
  const all = [self, ...peers];
  const fullMesh = all.length <= FULL_MESH_PIS_MAX;
  const hubs = fullMesh ? new Set<NodeId>() : hubsOf(all);
  const near = (id: NodeId): boolean => fullMesh || hubs.has(self.id) || hubs.has(id);
  const slowMs = Math.max(BACKGROUND_INTERVAL_MS, intervalMs);
  return peers.map(({ id }) => ({ id, intervalMs: near(id) ? intervalMs : slowMs }));
}

/**
 * Which of the two speaks first: the lower id sends, the reply carries the other's status, so one exchange serves both.
 * The other one speaks only when nothing came for a while.
 */
export function heartbeatDueMs(selfId: NodeId, peerId: NodeId, intervalMs: number): number {
  return selfId < peerId ? intervalMs : intervalMs * PASSIVE_AFTER_INTERVALS;
}
