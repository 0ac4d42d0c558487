/** What ails each Pi, and for how long. Pure memory from one turn to the next; `core/health` makes rules of it. */
import type { Peer, SwarmNode, SwarmService, SwarmTask, Vitals } from './world.ts';

/** Node label: pi-swarm has paused this Pi because it is unwell. Value: the ailment. */
export const UNWELL_LABEL = 'pi-swarm.unwell';

/** The words of labels, `status --json` and MQTT; the worst first. */
export const AILMENTS = ['under-voltage', 'throttled', 'hot', 'memory-full', 'disk-full'] as const;
export type Ailment = (typeof AILMENTS)[number];

/** A peak while something starts, or one dip of the supply, is none: three readings of the sensors. */
const UNWELL_AFTER_MS = 15_000;
/** Spared of new work a Pi is better at once; it must not get it back in that moment. Doubled with each relapse. */
const WELL_AFTER_MS = 60_000;
const WELL_AFTER_MS_MAX = 30 * 60_000;
/** Unwell again after longer than this it did not relapse. */
const RELAPSE_WITHIN_MS = 3_600_000;
/** Degrees and percent below the limit that count as better. */
const MARGIN = 5;

/** A task that no Pi may take waits for so long before the unwell ones may; the swarm itself needs milliseconds to place one. */
const WAITING_AFTER_MS = 2_000;
/** By then it would have started on an unwell Pi: it waits for something else, perhaps forever. */
const WAITING_IN_VAIN_MS = 60_000;
/** Where the unwell Pis were needed once they will be again soon. Bounds how often the nodes are written. */
const SPARED_FOR_MS = 5 * 60_000;

/** From when a Pi counts as unwell. All in the units of `Vitals`. */
export interface HealthLimits {
  temperatureCelsius: number;
  memoryPercent: number;
  diskPercent: number;
}

export interface Illness {
  /** Since when it has been beyond its limit. */
  sinceMs: number;
  /** Since when it counts. */
  unwellSinceMs?: number;
  /** Counts, but has been better since then. */
  calmSinceMs?: number;
}

export type Health = Partial<Record<Ailment, Illness>>;

/** How often it got well within an hour of the time before, and when last. */
export type Recoveries = Partial<Record<Ailment, { count: number; lastMs: number }>>;

export interface Care {
  /** By swarm node id; of all Pis that are heard. */
  health: Record<string, Health>;
  /** By swarm node id. Each Pi remembers it of all that it hears, so the next leader knows it, too. */
  recoveries: Record<string, Recoveries>;
  /** Leader: since when a task of each service waits for a Pi that may run it, by service id. */
  waitingSinceMs: Record<string, number>;
  /** Leader: until then no Pi is paused for its health, for all are needed. */
  sparedUntilMs?: number;
}

export interface CareFacts {
  nowMs: number;
  self: { vitals?: Vitals };
  engineSwarm: { nodeId: string } | undefined;
  peers: readonly Peer[];
  nodes?: readonly SwarmNode[];
  services?: readonly SwarmService[];
  tasks?: readonly SwarmTask[];
  wish: { health: HealthLimits };
}

export function careOf(facts: CareFacts, before?: Care): Care {
  const { nowMs, wish } = facts;
  const health: Record<string, Health> = {};
  const recoveries = { ...before?.recoveries };
  for (const { nodeId, vitals } of heard(facts)) {
    const known = before?.health[nodeId] ?? byLabel(facts, nodeId);
    const past = recoveries[nodeId] ?? {};
    health[nodeId] = examine(known, vitals, { limits: wish.health, past, nowMs });
    recoveries[nodeId] = recovered(past, known, health[nodeId], nowMs);
  }
  for (const [nodeId, past] of Object.entries(recoveries)) if (isLongAgo(past, nowMs)) delete recoveries[nodeId];
  const care: Care = { health, recoveries, waitingSinceMs: waitingSince(facts, before) };
  const sparedUntilMs = isNeeded(facts, care) ? facts.nowMs + SPARED_FOR_MS : before?.sparedUntilMs;
  if (sparedUntilMs !== undefined && sparedUntilMs > facts.nowMs) care.sparedUntilMs = sparedUntilMs;
  return care;
}

function heard({ self, engineSwarm, peers }: CareFacts): { nodeId: string; vitals: Vitals | undefined }[] {
  const others = peers
    .filter(({ liveness }) => liveness !== 'dead')
    .map(({ status }) => ({ nodeId: 'nodeId' in status.swarm ? status.swarm.nodeId : '', vitals: status.vitals }));
  return [...others, { nodeId: engineSwarm?.nodeId ?? '', vitals: self.vitals }].filter(({ nodeId }) => nodeId !== '');
}

/** What an earlier leader found, or this one before its agent was started anew. */
function byLabel({ nodes, nowMs }: CareFacts, nodeId: string): Health {
  const word = nodes?.find(node => node.nodeId === nodeId)?.labels[UNWELL_LABEL];
  const ailment = AILMENTS.find(it => it === word);
  return ailment === undefined ? {} : { [ailment]: { sinceMs: nowMs, unwellSinceMs: nowMs } };
}

interface Examination {
  limits: HealthLimits;
  past: Recoveries;
  nowMs: number;
}

/** One Pi's health with its newest vitals. What it cannot measure does not ail it. */
function examine(before: Health, vitals: Vitals = {}, { limits, past, nowMs }: Examination): Health {
  const health: Health = {};
  for (const ailment of AILMENTS) {
    const wellAfterMs = Math.min(WELL_AFTER_MS * 2 ** (past[ailment]?.count ?? 0), WELL_AFTER_MS_MAX);
    const illness = next(before[ailment], findings(ailment, vitals, limits), nowMs, wellAfterMs);
    if (illness !== undefined) health[ailment] = illness;
  }
  return health;
}

/** What is unwell keeps its past, however long that lasts. */
function recovered(past: Recoveries, before: Health, now: Health, nowMs: number): Recoveries {
  const result: Recoveries = {};
  for (const ailment of AILMENTS) {
    const was = past[ailment];
    const isUnwell = now[ailment]?.unwellSinceMs !== undefined;
    const isBack = !isUnwell && before[ailment]?.unwellSinceMs !== undefined;
    if (isBack) result[ailment] = { count: (was?.count ?? 0) + 1, lastMs: nowMs };
    else if (was !== undefined && (isUnwell || nowMs - was.lastMs < RELAPSE_WITHIN_MS)) result[ailment] = was;
  }
  return result;
}

/** Nobody asks for it any more, also of a Pi that is away. */
const isLongAgo = (past: Recoveries, nowMs: number): boolean =>
  Object.values(past).every(({ lastMs }) => nowMs - lastMs >= 24 * RELAPSE_WITHIN_MS);

type Finding = 'beyond' | 'between' | 'better';

function findings(ailment: Ailment, vitals: Vitals, limits: HealthLimits): Finding {
  const { underVoltage = false, throttled = false, temperatureCelsius, memoryPercent, diskPercent } = vitals;
  switch (ailment) {
    case 'under-voltage':
      return underVoltage ? 'beyond' : 'better';
    case 'throttled':
      return throttled ? 'beyond' : 'better';
    case 'hot':
      return compared(temperatureCelsius, limits.temperatureCelsius);
    case 'memory-full':
      return compared(memoryPercent, limits.memoryPercent);
    case 'disk-full':
      return compared(diskPercent, limits.diskPercent);
  }
}

function compared(value: number | undefined, limit: number): Finding {
  if (value === undefined || value < limit - MARGIN) return 'better';
  return value >= limit ? 'beyond' : 'between';
}

function next(before: Illness | undefined, finding: Finding, nowMs: number, wellAfterMs: number): Illness | undefined {
  if (before?.unwellSinceMs === undefined) {
    if (finding !== 'beyond') return undefined;
    const sinceMs = before?.sinceMs ?? nowMs;
    return nowMs - sinceMs >= UNWELL_AFTER_MS ? { sinceMs, unwellSinceMs: nowMs } : { sinceMs };
  }
  const { sinceMs, unwellSinceMs } = before;
  if (finding !== 'better') return { sinceMs, unwellSinceMs };
  const calmSinceMs = before.calmSinceMs ?? nowMs;
  return nowMs - calmSinceMs >= wellAfterMs ? undefined : { sinceMs, unwellSinceMs, calmSinceMs };
}

/** The worst of what makes a Pi unwell; undefined while it is well, or nothing is known of it. */
export const ailmentOf = (care: Care, nodeId: string): Ailment | undefined =>
  AILMENTS.find(it => care.health[nodeId]?.[it]?.unwellSinceMs !== undefined);

/** It takes no new work because it is unwell. A pause without our label is a person's. */
export const isPausedAsUnwell = ({ labels, availability }: SwarmNode): boolean =>
  labels[UNWELL_LABEL] !== undefined && availability === 'pause';

function waitingSince({ nowMs, services, tasks }: CareFacts, before: Care | undefined): Record<string, number> {
  if (services === undefined || tasks === undefined) return {};
  const waits = (id: string): boolean =>
    tasks.some(task => task.serviceId === id && task.nodeId === '' && task.desired === 'running');
  // While tasks move, some wait on purpose.
  const waiting = services.filter(({ id, move }) => move === undefined && waits(id));
  return Object.fromEntries(waiting.map(({ id }) => [id, before?.waitingSinceMs[id] ?? nowMs]));
}

/** No Pi is left that is well, or there is work that those who are well cannot take. */
function isNeeded({ nodes, nowMs }: CareFacts, care: Care): boolean {
  if (nodes === undefined) return false;
  // After a change of leader each node is `unknown` until it has registered.
  const takesWork = (node: SwarmNode): boolean => node.state !== 'down' && node.availability === 'active';
  if (!nodes.some(node => takesWork(node) && ailmentOf(care, node.nodeId) === undefined)) return true;
  const waitedMs = Object.values(care.waitingSinceMs).map(sinceMs => nowMs - sinceMs);
  return waitedMs.some(ms => ms >= WAITING_AFTER_MS && ms < WAITING_IN_VAIN_MS);
}
