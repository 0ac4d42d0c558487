/**
 * Home Assistant's device-based discovery: one retained message makes a device with all its entities.
 * Source: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload (short keys: «abbreviations» there).
 */
import type { ClusterStateMessage, NodeStateMessage } from './state.ts';

export interface Topics {
  /** `<topic>/<tag>`, or `<topic>/unclaimed`. */
  base: string;
  discoveryPrefix: string;
}

/** States are sent at least this often, also unchanged; after three times that, values count as unknown. */
export const REFRESH_MS = 300_000;
const EXPIRE_SECONDS = (3 * REFRESH_MS) / 1000;

export const topicsOfNode = ({ base, discoveryPrefix }: Topics, id: string) => ({
  availability: `${base}/${id}/availability`,
  state: `${base}/${id}/state`,
  discovery: `${discoveryPrefix}/device/pi_swarm_${id}/config`,
});

export const topicsOfCluster = ({ base, discoveryPrefix }: Topics, tag: string) => ({
  state: `${base}/cluster/state`,
  discovery: `${discoveryPrefix}/device/pi_swarm_cluster_${tag}/config`,
});

type Component = Record<string, string | number | string[]>;

interface Entity {
  /** Field of the state's JSON. */
  field: string;
  name: string;
  unit?: string;
  deviceClass?: string;
  options?: string[];
  icon?: string;
  diagnostic?: boolean;
}

/** A number over time, which Home Assistant keeps statistics of. */
const measurement = (entity: Entity): Component => ({ ...sensor(entity), stat_cla: 'measurement' });

function sensor({ field, name, unit, deviceClass, options, icon, diagnostic }: Entity): Component {
  return {
    p: 'sensor',
    name,
    val_tpl: `{{ value_json.${field} | default(None) }}`,
    exp_aft: EXPIRE_SECONDS,
    ...(unit === undefined ? {} : { unit_of_meas: unit }),
    ...(deviceClass === undefined ? {} : { dev_cla: deviceClass }),
    ...(options === undefined ? {} : { dev_cla: 'enum', options }),
    ...(icon === undefined ? {} : { ic: icon }),
    ...(diagnostic === true ? { ent_cat: 'diagnostic' } : {}),
  };
}

/** On means that something is wrong. `condition` is a Jinja expression. */
const problem = (name: string, condition: string): Component => ({
  p: 'binary_sensor',
  name,
  dev_cla: 'problem',
  val_tpl: `{{ 'ON' if ${condition} else 'OFF' }}`,
  exp_aft: EXPIRE_SECONDS,
  ent_cat: 'diagnostic',
});

/** Sensors that not every board has: offered once they have given a value. */
export type Optional = 'temperatureCelsius' | 'underVoltage' | 'throttled';

const NODE_COMPONENTS: Record<string, Component> = {
  cpu: measurement({ field: 'cpuPercent', name: 'CPU', unit: '%', icon: 'mdi:cpu-32-bit' }),
  memory: measurement({ field: 'memoryPercent', name: 'Memory', unit: '%', icon: 'mdi:memory' }),
  disk: measurement({ field: 'diskPercent', name: 'Disk', unit: '%', icon: 'mdi:micro-sd' }),
  tasks: measurement({ field: 'tasks', name: 'Tasks', icon: 'mdi:docker' }),
  role: sensor({ field: 'role', name: 'Role', options: ['leader', 'manager', 'worker', 'none'] }),
  swarm: sensor({
    field: 'swarm',
    name: 'Swarm state',
    options: ['ready', 'down', 'unknown', 'disconnected', 'joining', 'none'],
  }),
  unwell: problem('Unwell', 'value_json.unwell'),
  engine: sensor({ field: 'engine', name: 'Docker Engine', options: ['ready', 'slow', 'absent'], diagnostic: true }),
  uptime: sensor({ field: 'uptimeSeconds', name: 'Uptime', unit: 's', deviceClass: 'duration', diagnostic: true }),
};

const OPTIONAL_COMPONENTS: Record<Optional, Component> = {
  temperatureCelsius: measurement({
    field: 'temperatureCelsius',
    name: 'Temperature',
    unit: '°C',
    deviceClass: 'temperature',
  }),
  underVoltage: problem('Under-voltage', 'value_json.underVoltage'),
  throttled: problem('Throttled', 'value_json.throttled'),
};

const CLUSTER_COMPONENTS: Record<string, Component> = {
  state: sensor({
    field: 'state',
    name: 'State',
    options: ['alone', 'forming', 'ok', 'degraded', 'down', 'unclaimed'],
  }),
  pis: measurement({ field: 'pis', name: 'Pis', icon: 'mdi:raspberry-pi' }),
  pis_ready: measurement({ field: 'pisReady', name: 'Pis ready', icon: 'mdi:raspberry-pi' }),
  managers: measurement({ field: 'managers', name: 'Managers' }),
  leader: sensor({ field: 'leader', name: 'Leader' }),
  services: measurement({ field: 'services', name: 'Services', icon: 'mdi:docker' }),
  tasks: measurement({ field: 'tasksRunning', name: 'Tasks running', icon: 'mdi:docker' }),
  tasks_desired: measurement({ field: 'tasksDesired', name: 'Tasks desired', icon: 'mdi:docker' }),
  problem: problem('Problem', 'value_json.problems'),
};

/** The discovery of one Pi. `seen`: the optional sensors it has. */
export function nodeDiscovery(topics: Topics, state: NodeStateMessage, tag: string, seen: ReadonlySet<string>): string {
  const { availability, state: stateTopic } = topicsOfNode(topics, state.id);
  const optional = Object.entries(OPTIONAL_COMPONENTS).filter(([key]) => seen.has(key));
  return JSON.stringify({
    dev: {
      ids: [`pi-swarm-${state.id}`],
      name: state.name,
      mf: state.model.startsWith('Raspberry Pi') ? 'Raspberry Pi' : undefined,
      mdl: state.model,
      sw: `pi-swarm ${state.version}`,
      via_device: tag === '' ? undefined : `pi-swarm-cluster-${tag}`,
    },
    o: { name: 'pi-swarm', sw: state.version },
    avty: [{ t: availability }],
    stat_t: stateTopic,
    qos: 1,
    cmps: withIds({ ...NODE_COMPONENTS, ...Object.fromEntries(optional) }, `pi_swarm_${state.id}`),
  });
}

/**
 * The discovery of the cluster.
 *
 * @param speakers ids of the Pis that may speak for it (its managers): it is available while one of them is
 */
export function clusterDiscovery(
  topics: Topics,
  state: ClusterStateMessage,
  version: string,
  speakers: readonly string[],
): string {
  return JSON.stringify({
    dev: {
      ids: [`pi-swarm-cluster-${state.tag}`],
      name: `Pi swarm ${state.tag.slice(0, 4)}`,
      sw: `pi-swarm ${version}`,
    },
    o: { name: 'pi-swarm', sw: version },
    avty: speakers.map(id => ({ t: topicsOfNode(topics, id).availability })),
    avty_mode: 'any',
    stat_t: topicsOfCluster(topics, state.tag).state,
    qos: 1,
    cmps: withIds(CLUSTER_COMPONENTS, `pi_swarm_cluster_${state.tag}`),
  });
}

/** Unique ids must never change: Home Assistant would show every entity a second time. */
function withIds(components: Record<string, Component>, prefix: string): Record<string, Component> {
  const named = Object.entries(components).map(([key, component]) => {
    return [key, { ...component, unique_id: `${prefix}_${key}` }] as const;
  });
  return Object.fromEntries(named);
}
