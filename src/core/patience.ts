/**
 * H1 patience (design §5): how long the swarm waits for a silent Pi before it gives it up. Pure.
 *
 * Waiting longer hides a short gap (a bad cable, Wi-Fi) instead of moving the Pi's work at each of them, and makes every
 * real failover slower by as much. So it grows step by step with what is seen, and shrinks with calm days. The level is
 * kept in labels of the swarm itself: it survives restarts and every change of leader.
 */
import { type ActivePeer, activePeers, ID_LABEL, LEAVING_LABEL, type SwarmSettings, type World } from './observe.ts';
import type { PiStatus, SwarmNode } from './world.ts';

/** Labels of the swarm: how many steps above the base, since when it is calm (ISO 8601), and for which node's sake. */
export const PATIENCE_LABEL = 'pi-swarm.patience';
export const PATIENCE_SINCE_LABEL = 'pi-swarm.patience-since';
export const PATIENCE_NODE_LABEL = 'pi-swarm.patience-node';

/** Each heartbeat is work for the leader's Pi: one a second for up to so many nodes, one in two for up to so many. */
const NODES_AT_1S = 30;
const NODES_AT_2S = 100;
/** Docker's own default. More patience would hide nothing that is worth it: Down comes after three of these. */
export const HEARTBEAT_MOST_MS = 5_000;

/** Down for longer than this is an outage: then its work should have moved. */
export const FLAP_MOST_MS = 30_000;
/** So many flaps of one Pi within this time cost a step. */
export const FLAPS = 3;
export const FLAPS_WITHIN_MS = 10 * 60_000;
/** So long without any flap gives a step back. */
export const CALM_MS = 24 * 3_600_000;
/** While it flaps on, the calm day begins anew; written to the swarm (a write to each manager's card) only so often. */
const SINCE_EVERY_MS = FLAPS_WITHIN_MS;
/** The clocks of two leaders may differ by this. A begin further in the future was written by a wrong clock. */
const CLOCK_SLACK_MS = 3_600_000;

/** What the leader remembers of Pis that come and go. Bounded by the nodes that the swarm lists, and `FLAPS` each. */
export interface Flapping {
  /** Since when this Pi watches, as the leader. */
  sinceMs: number;
  /** `PATIENCE_LABEL` as last seen: with another level flaps are counted anew. */
  level: string | undefined;
  /** By swarm node id. `counts`: it was seen to go, and not on purpose. */
  downs: Record<string, { sinceMs: number; counts: boolean }>;
  /** When each node was back, the last `FLAPS` times within `FLAPS_WITHIN_MS`, by swarm node id. */
  flapsMs: Record<string, number[]>;
}

/** Counts flaps: Down → Ready within `FLAP_MOST_MS`. Undefined on Pis that do not lead; a new leader counts anew. */
export function watchFlaps(world: World, before: Flapping | undefined): Flapping | undefined {
  const { swarm, nodes, settings, nowMs } = world;
  // A list that could not be read this once is no reason to forget.
  if (nodes === undefined) return before;
  if (swarm.state !== 'active' || !swarm.leader) return undefined;
  const level = settings === undefined ? before?.level : settings.labels[PATIENCE_LABEL];
  const flapping: Flapping = { sinceMs: before?.sinceMs ?? nowMs, level, downs: {}, flapsMs: {} };
  const known = level === before?.level ? before?.flapsMs : undefined;
  for (const node of nodes) {
    const down = before?.downs[node.nodeId];
    if (node.state === 'down') {
      const counts = (down?.counts ?? before !== undefined) && !isMeant(world, node);
      flapping.downs[node.nodeId] = { sinceMs: down?.sinceMs ?? nowMs, counts };
    }
    const flaps = (known?.[node.nodeId] ?? []).filter(atMs => nowMs - atMs < FLAPS_WITHIN_MS);
    const isBack = node.state === 'ready' && down?.counts === true && nowMs - down.sinceMs <= FLAP_MOST_MS;
    if (isBack) flaps.push(nowMs);
    if (flaps.length > 0) flapping.flapsMs[node.nodeId] = flaps.slice(-FLAPS);
  }
  return flapping;
}

/** It said that it goes, or a person took its work away: nothing is lost when it goes Down. */
function isMeant(world: World, node: SwarmNode): boolean {
  if (node.availability === 'drain' || node.labels[LEAVING_LABEL] !== undefined) return true;
  const peer = world.peers.find(({ id }) => id === node.labels[ID_LABEL]);
  return peer !== undefined && peer.status.intent !== 'stay';
}

/** The heartbeat of a cluster in which nothing flaps. `wish` is the configuration's. */
export function baseHeartbeatMs(wish: 'auto' | number, nodes: number): number {
  if (wish !== 'auto') return wish;
  if (nodes <= NODES_AT_1S) return 1_000;
  return nodes <= NODES_AT_2S ? 2_000 : HEARTBEAT_MOST_MS;
}

/** Twice the base with each step, never over `HEARTBEAT_MOST_MS`: 1, 2, 4, 5 s. A longer base that somebody set stays. */
export const heartbeatAt = (baseMs: number, level: number): number =>
  Math.max(baseMs, Math.min(HEARTBEAT_MOST_MS, baseMs * 2 ** level));

/** The level from which on more changes nothing. */
export const mostLevel = (baseMs: number): number =>
  baseMs >= HEARTBEAT_MOST_MS ? 0 : Math.ceil(Math.log2(HEARTBEAT_MOST_MS / baseMs));

export interface Patience {
  level: number;
  heartbeatMs: number;
  /** What the swarm's labels should say; empty where nothing has ever been written and nothing needs to be. */
  labels: Record<string, string>;
  /** Why the level or its date changes, as a sentence. */
  why?: string;
}

/** What the swarm's settings should be now: at most one step from what they are. */
export function patienceOf(world: World, settings: SwarmSettings): Patience {
  const { labels } = settings;
  const baseMs = baseHeartbeatMs(world.wish.dispatcherHeartbeatMs, world.nodes?.length ?? 1);
  const most = mostLevel(baseMs);
  const text = labels[PATIENCE_LABEL];
  const level = Math.min(most, levelOf(text));
  const at = (level: number, why: string, more: Record<string, string>): Patience => ({
    level,
    heartbeatMs: heartbeatAt(baseMs, level),
    labels: { [PATIENCE_LABEL]: String(level), ...more },
    why,
  });
  const since = (ms: number) => ({ [PATIENCE_SINCE_LABEL]: isoOf(ms) });
  const restless = restlessNode(world);
  if (restless !== undefined && level < most) {
    const more = { ...since(world.wallMs), [PATIENCE_NODE_LABEL]: restless };
    return at(level + 1, `${nameOf(world, restless) ?? 'a Pi'} ${CAME_AND_WENT}`, more);
  }
  const same: Patience = { level, heartbeatMs: heartbeatAt(baseMs, level), labels: {} };
  if (text === undefined) return same;
  if (text !== String(level))
    return at(level, 'the label with the level of patience was damaged or too high', since(world.wallMs));
  if (level === 0) return same;
  const begin = calmSince(world, labels[PATIENCE_SINCE_LABEL]);
  if ('renewMs' in begin) return at(level, begin.why, since(begin.renewMs));
  if (begin.sinceMs + CALM_MS > world.wallMs || !hasWatched(world)) return same;
  return at(level - 1, 'no Pi came and went for a day', since(world.wallMs));
}

/** What a Pi did that costs a step. */
export const CAME_AND_WENT = `came and went ${FLAPS} times within ${FLAPS_WITHIN_MS / 60_000} minutes`;

/** Undefined, or anything but a small whole number: nobody was impatient here. */
const levelOf = (text: string | undefined): number => (text !== undefined && /^\d{1,2}$/.test(text) ? Number(text) : 0);

/** Since when it is calm, or what has to be written instead: the date is no date, lies in the future, or something flapped since. */
function calmSince(world: World, text: string | undefined): { sinceMs: number } | { renewMs: number; why: string } {
  const sinceMs = Date.parse(text ?? '');
  if (Number.isNaN(sinceMs)) return { renewMs: world.wallMs, why: 'nothing says since when it is calm' };
  if (sinceMs > world.wallMs + CLOCK_SLACK_MS) {
    return { renewMs: world.wallMs, why: 'the date since when it is calm lies in the future' };
  }
  const lastMs = lastFlapMs(world);
  const lastWallMs = lastMs === undefined ? undefined : world.wallMs - (world.nowMs - lastMs);
  if (lastWallMs !== undefined && lastWallMs >= sinceMs + SINCE_EVERY_MS) {
    return { renewMs: lastWallMs, why: 'a Pi came and went again' };
  }
  return { sinceMs };
}

/**
 * This leader has seen some calm itself. The date alone may come from a clock that has just jumped: a Pi has no battery
 * for it, and a cluster that was switched off for a week has seen nothing either.
 */
const hasWatched = ({ flapping, nowMs }: World): boolean =>
  flapping !== undefined && nowMs - flapping.sinceMs >= FLAPS_WITHIN_MS && Object.keys(flapping.flapsMs).length === 0;

const lastFlapMs = ({ flapping }: World): number | undefined => {
  const all = Object.values(flapping?.flapsMs ?? {}).flat();
  return all.length === 0 ? undefined : Math.max(...all);
};

/** The swarm node id of one that flaps too often. */
const restlessNode = ({ flapping }: World): string | undefined =>
  Object.entries(flapping?.flapsMs ?? {}).find(([, flaps]) => flaps.length >= FLAPS)?.[0];

const nameOf = (world: World, nodeId: string | undefined): string | undefined =>
  world.nodes?.find(node => node.nodeId === nodeId)?.hostname;

/** ISO 8601 also of what no calendar has. */
const isoOf = (ms: number): string => new Date(Math.min(8.64e15, Math.max(0, ms || 0))).toISOString();

/** While the cluster waits longer than its base: the heartbeat, and for whose sake. As the leader reads or says it. */
export function extraPatience(world: World): PiStatus['patience'] {
  const { settings, swarm } = world;
  if (swarm.state !== 'active') return undefined;
  if (!swarm.leader) return leaderOf(world, swarm.swarmId)?.status.patience;
  if (settings === undefined || levelOf(settings.labels[PATIENCE_LABEL]) === 0) return undefined;
  const name = nameOf(world, settings.labels[PATIENCE_NODE_LABEL]);
  return { heartbeatMs: settings.dispatcherHeartbeatMs, ...(name === undefined ? {} : { name }) };
}

const leaderOf = (world: World, swarmId: string): ActivePeer | undefined =>
  activePeers(world).find(({ liveness, swarm }) => liveness === 'alive' && swarm.leader && swarm.swarmId === swarmId);
