/** What goes out over MQTT, made from the snapshot: two pure functions and the question whether it is worth sending. */
import type { PiSnapshot, Snapshot, Vitals } from '../core/snapshot.ts';

/** The state of one Pi, `<topic>/<tag>/<id>/state`. Percentages and degrees are whole numbers. */
export interface NodeStateMessage extends Vitals {
  id: string;
  name: string;
  address: string;
  version: string;
  model: string;
  architecture: string;
  role: 'leader' | 'manager' | 'worker' | 'none';
  swarm: 'ready' | 'down' | 'unknown' | 'disconnected' | 'joining' | 'none';
  engine: 'absent' | 'slow' | 'ready';
  /** Running swarm tasks. */
  tasks: number;
  /** What ails this Pi, so that it gets no new work where the others suffice; absent while it is well. */
  unwell?: PiSnapshot['unwell'];
  doing: string;
}

/** The state of the cluster, `<topic>/<tag>/cluster/state`. */
export interface ClusterStateMessage {
  tag: string;
  state: Snapshot['cluster']['state'];
  swarmId?: string;
  leader: string;
  pis: number;
  pisReady: number;
  managers: number;
  /** Services and tasks are missing where this Pi cannot know them. */
  services?: number;
  tasksRunning?: number;
  tasksDesired?: number;
  /** The first 50. */
  serviceList?: { name: string; running: number; desired: number }[];
  /** Notices that are warnings or errors. */
  problems: { severity: 'warning' | 'error'; kind: string; text: string; cure?: string }[];
}

/** Home Assistant and small brokers choke on large messages: both lists are cut here. */
const SERVICES_MAX = 50;
const PROBLEMS_MAX = 20;

/** `doing` and texts of notices come from elsewhere; more than this is not read on a dashboard anyway. */
const TEXT_MAX = 255;

export function nodeState({ version, self, cluster, doing }: Snapshot): NodeStateMessage {
  const row = cluster.pis.find(pi => pi.self);
  return {
    id: self.id,
    name: self.name,
    address: self.address,
    version,
    model: self.model,
    architecture: self.architecture,
    role: row?.role ?? 'none',
    swarm: row?.swarmState ?? 'none',
    engine: self.engine.state,
    tasks: self.tasks,
    unwell: row?.unwell,
    doing: doing.slice(0, TEXT_MAX),
    ...rounded(self.vitals),
  };
}

export function clusterState({ cluster, notices }: Snapshot): ClusterStateMessage {
  const { services } = cluster;
  const sum = (key: 'running' | 'desired') => services?.reduce((total, service) => total + service[key], 0);
  return {
    tag: cluster.tag,
    state: cluster.state,
    swarmId: cluster.swarmId,
    leader: cluster.pis.find(pi => pi.role === 'leader')?.name ?? '',
    pis: cluster.pis.length,
    pisReady: cluster.pis.filter(pi => pi.swarmState === 'ready').length,
    managers: cluster.managers,
    services: services?.length,
    tasksRunning: sum('running'),
    tasksDesired: sum('desired'),
    serviceList: services?.slice(0, SERVICES_MAX).map(({ name, running, desired }) => ({ name, running, desired })),
    problems: notices
      .flatMap(({ severity, kind, text, cure }) => (severity === 'info' ? [] : [{ severity, kind, text, cure }]))
      .slice(0, PROBLEMS_MAX),
  };
}

/** Two states of the cluster with the same gist are no news: the words of a problem may count seconds. */
export function gist(state: ClusterStateMessage): string {
  return JSON.stringify({ ...state, problems: state.problems.map(({ severity, kind }) => `${severity} ${kind}`) });
}

/** Whether this Pi speaks for the cluster: the swarm's leader does, or a Pi of the cluster that is all alone. */
export function speaksForCluster({ self, cluster }: Snapshot): boolean {
  if (cluster.tag === '') return false;
  if (self.swarm.state === 'active') return self.swarm.leader;
  return cluster.pis.every(pi => pi.self);
}

function rounded(vitals: Vitals): Vitals {
  const round = (value: number | undefined) => (value === undefined ? undefined : Math.round(value));
  return {
    cpuPercent: round(vitals.cpuPercent),
    memoryPercent: round(vitals.memoryPercent),
    diskPercent: round(vitals.diskPercent),
    temperatureCelsius: round(vitals.temperatureCelsius),
    underVoltage: vitals.underVoltage,
    throttled: vitals.throttled,
    uptimeSeconds: round(vitals.uptimeSeconds),
  };
}

/** Noise: a value must move by more than this to be news. An uptime that grows never is. */
const NOISE = {
  cpuPercent: 4,
  memoryPercent: 1,
  diskPercent: 0,
  temperatureCelsius: 1,
  uptimeSeconds: Number.POSITIVE_INFINITY,
} as const;

const isNoisy = (key: string): key is keyof typeof NOISE => key in NOISE;

/** The sentence of what the loop is doing may change each second; it goes along with the next news. */
const isWords = (key: string): boolean => key === 'doing';

/** `facts`: something changed that is not a measurement. `figures`: only measurements, by more than noise. */
export function news(before: NodeStateMessage | undefined, now: NodeStateMessage): 'none' | 'figures' | 'facts' {
  if (before === undefined) return 'facts';
  let figures = false;
  for (const key of Object.keys(now) as (keyof NodeStateMessage)[]) {
    if (isWords(key)) continue;
    if (!isNoisy(key)) {
      if (before[key] !== now[key]) return 'facts';
    } else if (differs(before[key], now[key], NOISE[key])) figures = true;
  }
  // A reboot is a fact.
  if ((now.uptimeSeconds ?? 0) < (before.uptimeSeconds ?? 0)) return 'facts';
  return figures ? 'figures' : 'none';
}

function differs(before: number | undefined, now: number | undefined, noise: number): boolean {
  if (before === undefined || now === undefined) return before !== now;
  return Math.abs(now - before) > noise;
}
