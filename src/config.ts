/** Reads the configuration: later files over earlier ones, each mistake with its file, line and column. */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { type ConfigFile, fileSchema } from './config-schema.ts';
import { type FileMistake, mistakesIn, type Positions, parseYaml } from './config-yaml.ts';
import { ConfigError, EnvironmentError, messageOf } from './errors.ts';

/** The system's file, and over it the one on the card's boot partition, which any computer can edit. */
export const CONFIG_PATHS = ['/etc/pi-swarm/config.yaml', '/boot/firmware/pi-swarm.yaml'] as const;

export interface MqttConfig {
  /** `mqtt://host[:port]` or `mqtts://host[:port]`, without user and password. */
  readonly url: string;
  readonly username?: string;
  /** A secret: never log this object. */
  readonly password?: string;
  readonly passwordFile?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly insecure: boolean;
  readonly topic: string;
  readonly discoveryPrefix: string;
  readonly homeAssistant: boolean;
  readonly intervalMs: number;
}

export type LogLevel = ConfigFile['log']['level'];

/** All settings, with defaults. The reasons for the defaults are in `config-schema.ts`. */
export interface Config {
  readonly name: string;
  readonly secretFile: string;
  readonly stateDir: string;
  readonly socket: string;
  readonly dockerSocket: string;
  readonly port: number;
  /** `auto` or a name such as `eth0`. */
  readonly interface: string;
  /** `interface` or an IPv4 address. */
  readonly advertise: string;
  readonly peers: readonly { readonly host: string; readonly port: number }[];
  readonly mdns: boolean;
  readonly settleMs: number;
  readonly settleAloneMs: number;
  readonly managers: 'auto' | 1 | 3 | 5 | 7;
  readonly replaceAfterMs: number;
  readonly forgetAfterMs: number;
  readonly rebalance: boolean;
  readonly steadyForMs: number;
  readonly rebalanceEveryMs: number;
  readonly drainTimeoutMs: number;
  /** `auto`: by the number of nodes. */
  readonly dispatcherHeartbeatMs: 'auto' | number;
  readonly nodeCertExpiryMs: number;
  readonly restartDelayMs: number;
  /** From when a Pi counts as unwell; `evict`: whether its work is moved away then. */
  readonly health: {
    readonly temperatureCelsius: number;
    readonly memoryPercent: number;
    readonly diskPercent: number;
    readonly evict: boolean;
  };
  readonly mesh: 'auto' | 'kernel' | 'nftables' | 'off';
  /** Undefined: MQTT is off, because no `mqtt.url` was given. */
  readonly mqtt?: MqttConfig;
  readonly log: { readonly level: LogLevel };
  /** The files that were found and read, in order. */
  readonly files: readonly string[];
  /** What is wrong in the file on the boot partition, which is therefore passed over; one mistake a line. */
  readonly passedOver?: string;
}

export interface LoadConfigOptions {
  /** Later ones win, key by key. A path that does not exist is skipped. Default: `CONFIG_PATHS`. */
  paths?: readonly string[];
  /** Default for `name`. */
  hostname?: string;
}

/**
 * @throws ConfigError all mistakes of all files, one `file:line:column: …` on each line
 * @throws EnvironmentError a file is there but cannot be read
 */
export async function loadConfig(options: LoadConfigOptions = {}): Promise<Config> {
  const files: { path: string; text: string }[] = [];
  for (const path of options.paths ?? CONFIG_PATHS) {
    const text = await readIfThere(path);
    if (text !== undefined) files.push({ path, text });
  }
  return parseConfig(files, options.hostname ?? hostname());
}

/**
 * For the agent: a file on the boot partition that holds mistakes is passed over, and said; for a Pi without screen and
 * keyboard that runs with fewer settings is of more use than one that does not answer.
 * @throws ConfigError where the system's own file holds mistakes; EnvironmentError as `loadConfig`
 */
export async function loadAgentConfig(paths: readonly string[] = CONFIG_PATHS): Promise<Config> {
  try {
    return await loadConfig({ paths });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { ...(await loadConfig({ paths: paths.slice(0, 1) })), passedOver: error.message };
  }
}

/** As `loadConfig`, from texts. Pure. @throws ConfigError */
export function parseConfig(files: readonly { path: string; text: string }[], hostName: string): Config {
  const mistakes: FileMistake[] = [];
  const positions: Positions = new Map();
  let merged: Record<string, unknown> = {};
  for (const { path, text } of files) {
    const file = parseYaml(path, text);
    mistakes.push(...file.mistakes);
    if (file.mistakes.length > 0) continue;
    mistakes.push(...mistakesIn(file));
    for (const [key, position] of file.positions) positions.set(key, position);
    merged = merge(merged, file.values);
  }
  if (mistakes.length === 0) mistakes.push(...contradictions(merged, positions));
  if (mistakes.length > 0) throw configError(mistakes);
  return deepFreeze(
    toConfig(
      fileSchema.parse(merged),
      hostName,
      files.map(file => file.path),
    ),
  );
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    const cure = code === 'EACCES' ? 'Run it as root, or make the file readable.' : 'Check the file and the SD card.';
    throw new EnvironmentError(`${path} cannot be read: ${messageOf(error)}`, cure, { cause: error });
  }
}

/** Blocks are merged key by key, everything else is replaced whole (also lists). */
function merge(under: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const result = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const old = result[key];
    result[key] = isBlock(old) && isBlock(value) ? merge(old, value) : value;
  }
  return result;
}

const isBlock = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Settings that are right one by one and wrong together. */
function contradictions(merged: Record<string, unknown>, positions: Positions): FileMistake[] {
  const mqtt = isBlock(merged['mqtt']) ? merged['mqtt'] : {};
  const found: FileMistake[] = [];
  const say = (key: string, text: string) => {
    const where = positions.get(`mqtt.${key}`) ?? { path: 'config', line: 1, column: 1 };
    found.push({ ...where, text: `mqtt.${key}: ${text}` });
  };
  const has = (key: string) => mqtt[key] !== undefined;
  if (has('password') && has('passwordFile'))
    say('passwordFile', 'there is also mqtt.password; expected only one of the two');
  if ((has('password') || has('passwordFile')) && !has('username')) {
    say(has('password') ? 'password' : 'passwordFile', 'there is no mqtt.username; expected both or neither');
  }
  if (has('cert') && !has('key')) say('cert', 'there is no mqtt.key; expected both or neither');
  if (has('key') && !has('cert')) say('key', 'there is no mqtt.cert; expected both or neither');
  if (has('ca') && String(mqtt['url']).startsWith('mqtt://')) {
    say('ca', 'mqtt.url begins with mqtt://, which uses no certificates; expected mqtts://');
  }
  return found;
}

function configError(mistakes: readonly FileMistake[]): ConfigError {
  const lines = mistakes.map(({ path, line, column, text }) => `${path}:${line}:${column}: ${text}`);
  const places = new Set(mistakes.map(mistake => mistake.path));
  return new ConfigError(
    lines.join('\n'),
    `Correct ${[...places].join(' and ')}; every setting is explained in docs/config.md.`,
  );
}

function toConfig(file: ConfigFile, hostName: string, files: string[]): Config {
  const { url, interval, ...mqtt } = file.mqtt;
  return {
    name: file.name ?? hostName,
    secretFile: file.secretFile,
    stateDir: file.stateDir,
    socket: file.socket,
    dockerSocket: file.dockerSocket,
    port: file.port,
    interface: file.interface,
    advertise: file.advertise,
    // A peer without a port listens where this Pi does.
    peers: file.peers.map(({ host, port }) => ({ host, port: port ?? file.port })),
    mdns: file.mdns,
    settleMs: file.settle,
    settleAloneMs: file.settleAlone,
    managers: file.managers,
    replaceAfterMs: file.replaceAfter,
    forgetAfterMs: file.forgetAfter,
    rebalance: file.rebalance,
    steadyForMs: file.steadyFor,
    rebalanceEveryMs: file.rebalanceEvery,
    drainTimeoutMs: file.drainTimeout,
    dispatcherHeartbeatMs: file.dispatcherHeartbeat,
    nodeCertExpiryMs: file.nodeCertExpiry,
    restartDelayMs: file.restartDelay,
    health: file.health,
    mesh: file.mesh,
    mqtt: url === undefined ? undefined : { url, ...mqtt, intervalMs: interval },
    log: file.log,
    files,
  };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
