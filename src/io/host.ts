/**
 * What this machine is and how it is doing: the Host port, by systeminformation where that knows best and by /proc
 * where a plain file does. systeminformation blocks the loop for 4–18 ms a call and more on a Pi, so it is asked once
 * for what does not change, and at most each minute for the rest; its code is loaded when it is first needed.
 */
import { createHash } from 'node:crypto';
import { readFile, statfs } from 'node:fs/promises';
import { cpus, hostname, loadavg, machine, release, totalmem, uptime } from 'node:os';
import type { Host, HostFacts, HostVitals, ThrottleFlags } from '../ports.ts';
import { readThrottled } from './throttle.ts';

/** CPU and memory are read no more often: two views at once need no second reading. */
const FAST_EVERY_MS = 1000;
/** The board's own sensors are plain files; asking the firmware more often than this tells nothing new. */
const SENSORS_EVERY_MS = 4000;
/** The disk fills slowly, and what systeminformation tells costs too much to ask for it often. */
const SLOW_EVERY_MS = 60_000;
/** For each part: a dying SD card or a hanging mount must not hold up the rest. */
const PART_LIMIT_MS = 3000;

/** The part of systeminformation that is used. */
export interface SystemReader {
  cpuTemperature(): Promise<{ main: number | null }>;
}

export interface HostOptions {
  /** Its file system is the one that `diskPercent` means. */
  stateDir: string;
  /** Of the first physical interface; identifies boards without a serial number. */
  mac?: () => string | undefined;
  /** Replaces the board's identity: virtual Pis on one real Pi would all have its serial number. */
  hardware?: string;
  /** Monotonic milliseconds. */
  now?: () => number;
  /** `/proc`, `/sys`, `/etc` and the limit for each part; others in tests. */
  proc?: string;
  sys?: string;
  etc?: string;
  partLimitMs?: number;
  loadReader?: () => Promise<SystemReader>;
}

const loadSystemInformation = async (): Promise<SystemReader> => (await import('systeminformation')).default;

export class MachineHost implements Host {
  readonly #options: Required<Omit<HostOptions, 'mac' | 'hardware'>> & HostOptions;
  #facts: Promise<HostFacts> | undefined;
  #fast: Promise<FastVitals> | undefined;
  #fastAtMs = Number.NEGATIVE_INFINITY;
  #cpuBefore: CpuTime | undefined;
  #sensors: Promise<SensorVitals> | undefined;
  #sensorsAtMs = Number.NEGATIVE_INFINITY;
  #throttled: ThrottleFlags | undefined;
  #slow: SlowVitals = {};
  #slowAtMs = Number.NEGATIVE_INFINITY;
  #slowReading: Promise<void> | undefined;
  #began: Promise<number> | undefined;

  constructor(options: HostOptions) {
    this.#options = {
      now: () => performance.now(),
      proc: '/proc',
      sys: '/sys',
      etc: '/etc',
      partLimitMs: PART_LIMIT_MS,
      loadReader: loadSystemInformation,
      ...options,
    };
  }

  facts(): Promise<HostFacts> {
    this.#facts ??= readFacts(this.#options);
    return this.#facts;
  }

  async vitals(): Promise<HostVitals> {
    const nowMs = this.#options.now();
    if (nowMs - this.#slowAtMs >= SLOW_EVERY_MS && this.#slowReading === undefined) {
      const first = this.#slowAtMs === Number.NEGATIVE_INFINITY;
      this.#slowAtMs = nowMs;
      this.#slowReading = this.#readSlow().finally(() => {
        this.#slowReading = undefined;
      });
      // Only the first answer waits for it; later ones show the last reading meanwhile.
      if (first) await this.#slowReading;
    }
    if (nowMs - this.#fastAtMs >= FAST_EVERY_MS || this.#fast === undefined) {
      this.#fastAtMs = nowMs;
      this.#fast = this.#readFast();
    }
    if (nowMs - this.#sensorsAtMs >= SENSORS_EVERY_MS || this.#sensors === undefined) {
      this.#sensorsAtMs = nowMs;
      this.#sensors = this.#readSensors();
    }
    const slow = this.#slow;
    this.#began ??= readBegin(this.#options.proc);
    const [fast, sensors, beganSeconds] = await Promise.all([this.#fast, this.#sensors, this.#began]);
    return {
      ...fast,
      ...slow,
      ...sensors,
      uptimeSeconds: Math.floor(uptime() - beganSeconds),
      load1: loadavg()[0] ?? 0,
    };
  }

  async #readSensors(): Promise<SensorVitals> {
    const { sys, partLimitMs } = this.#options;
    const [temperatureCelsius, throttled] = await Promise.all([
      part(readBoardTemperature(sys), partLimitMs),
      part(readThrottled(sys, this.#throttled), partLimitMs),
    ]);
    this.#throttled = throttled;
    return { ...(temperatureCelsius === undefined ? {} : { temperatureCelsius }), throttled };
  }

  async #readFast(): Promise<FastVitals> {
    const { proc, partLimitMs } = this.#options;
    const [cpu, memory] = await Promise.all([
      part(readCpuTime(proc), partLimitMs),
      part(readMemory(proc), partLimitMs),
    ]);
    const cpuPercent = busyPercent(this.#cpuBefore, cpu);
    this.#cpuBefore = cpu;
    return { ...(cpuPercent === undefined ? {} : { cpuPercent }), ...memory };
  }

  async #readSlow(): Promise<void> {
    const { stateDir, sys, loadReader, partLimitMs } = this.#options;
    const [disk, temperatureCelsius] = await Promise.all([
      part(readDisk(stateDir), partLimitMs),
      part(readOtherTemperature(sys, loadReader), partLimitMs),
    ]);
    this.#slow = { ...disk, temperatureCelsius };
  }
}

type FastVitals = Pick<HostVitals, 'cpuPercent' | 'memoryPercent' | 'memoryUsedBytes'>;
type SensorVitals = Pick<HostVitals, 'temperatureCelsius' | 'throttled'>;
type SlowVitals = Pick<HostVitals, 'diskPercent' | 'diskFreeBytes' | 'temperatureCelsius'>;

/** The part, or undefined where it fails or takes too long. */
async function part<T>(reading: Promise<T>, limitMs: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, limitMs, undefined);
  });
  try {
    return await Promise.race([reading, limit]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

interface CpuTime {
  busy: number;
  total: number;
}

/** First line of /proc/stat: user nice system idle iowait irq softirq steal, in ticks since boot (proc(5)). */
async function readCpuTime(proc: string): Promise<CpuTime> {
  const [line = ''] = (await readFile(`${proc}/stat`, 'utf8')).split('\n', 1);
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  const total = ticks.reduce((sum, value) => sum + value, 0);
  if (!Number.isFinite(total) || total <= 0) throw new Error('no CPU times');
  return { busy: total - (ticks[3] ?? 0) - (ticks[4] ?? 0), total };
}

function busyPercent(before: CpuTime | undefined, after: CpuTime | undefined): number | undefined {
  if (before === undefined || after === undefined || after.total <= before.total) return undefined;
  const percent = (100 * (after.busy - before.busy)) / (after.total - before.total);
  return Math.min(100, Math.max(0, percent));
}

/** What programs cannot have: MemTotal − MemAvailable; caches count as free. */
async function readMemory(proc: string): Promise<Pick<HostVitals, 'memoryPercent' | 'memoryUsedBytes'>> {
  const text = await readFile(`${proc}/meminfo`, 'utf8');
  const kibibytes = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? Number.NaN);
  const total = kibibytes('MemTotal');
  const used = total - kibibytes('MemAvailable');
  if (!(total > 0) || !(used >= 0)) throw new Error('no memory figures');
  return { memoryPercent: (100 * used) / total, memoryUsedBytes: used * 1024 };
}

/** As `df` counts: blocks reserved for root are neither used nor free. */
async function readDisk(path: string): Promise<Pick<HostVitals, 'diskPercent' | 'diskFreeBytes'>> {
  const { blocks, bfree, bavail, bsize } = await statfs(path);
  const used = blocks - bfree;
  return { diskPercent: used + bavail > 0 ? (100 * used) / (used + bavail) : 0, diskFreeBytes: bavail * bsize };
}

/** A Pi has one thermal zone, the SoC: millidegrees (Documentation/driver-api/thermal/sysfs-api.rst). */
async function readBoardTemperature(sys: string): Promise<number | undefined> {
  const zone = `${sys}/class/thermal/thermal_zone0`;
  const type = await readFile(`${zone}/type`, 'utf8').catch(() => '');
  if (!/^(cpu|soc)[-_]thermal/.test(type)) return undefined;
  const celsius = Number(await readFile(`${zone}/temp`, 'utf8')) / 1000;
  return Number.isFinite(celsius) ? celsius : undefined;
}

/** A PC has many thermal zones, and systeminformation knows which one is the CPU. */
async function readOtherTemperature(sys: string, loadReader: () => Promise<SystemReader>): Promise<number | undefined> {
  if ((await readBoardTemperature(sys)) !== undefined) return undefined;
  const { main } = await (await loadReader()).cpuTemperature();
  return main === null || !(main > 0) ? undefined : main;
}

type MachineParts = Required<Pick<HostOptions, 'proc' | 'sys' | 'etc' | 'partLimitMs' | 'loadReader'>> &
  Pick<HostOptions, 'mac' | 'hardware'>;

async function readFacts(machineParts: MachineParts): Promise<HostFacts> {
  const { etc, partLimitMs } = machineParts;
  const [model, hardware, os] = await Promise.all([
    part(readModel(machineParts), partLimitMs),
    part(readHardware(machineParts), partLimitMs),
    part(readOs(etc), partLimitMs),
  ]);
  return {
    hostname: hostname(),
    model: model ?? 'unknown',
    hardware: hardware ?? fingerprint('host', hostname()),
    architecture: machine(),
    kernel: release(),
    os: os ?? 'Linux',
    cpus: cpus().length,
    memoryBytes: totalmem(),
  };
}

/** Texts of the device tree end with a NUL. */
async function readDeviceTree({ proc, sys }: Pick<MachineParts, 'proc' | 'sys'>, name: string): Promise<string> {
  for (const folder of [`${proc}/device-tree`, `${sys}/firmware/devicetree/base`]) {
    const text = await readFile(`${folder}/${name}`, 'utf8').catch(() => '');
    if (text !== '') return text.replaceAll('\0', '').trim();
  }
  return '';
}

/**
 * Of a PC: what its firmware says (Documentation/ABI/testing/sysfs-class-dmi). Plain files: systeminformation starts six programs for it, one after
 * the other, and the agent cannot answer before it knows what it runs on.
 */
async function readModel(machineParts: MachineParts): Promise<string> {
  const board = await readDeviceTree(machineParts, 'model');
  if (board !== '') return board;
  const texts = ['sys_vendor', 'product_name'].map(name =>
    readFile(`${machineParts.sys}/class/dmi/id/${name}`, 'utf8').catch(() => ''),
  );
  const words = (await Promise.all(texts)).map(text => text.trim());
  return words.filter(text => text !== '' && !NO_NAME.test(text)).join(' ') || 'unknown';
}

/** What vendors leave in when they fill nothing in. */
const NO_NAME =
  /^(-|default string|none|o\.?e\.?m\.?|not (applicable|available|specified)|system (manufacturer|product name)|to be filled .*)$/i;

/** Serial number, else MAC, else machine-id with hostname (which re-flashing changes, but two machines never share). */
async function readHardware(machineParts: MachineParts): Promise<string> {
  if (machineParts.hardware !== undefined) return machineParts.hardware;
  const serial = await readDeviceTree(machineParts, 'serial-number');
  // Emulated boards have a serial number of zeros.
  if (/[^0]/.test(serial)) return fingerprint('serial', serial);
  const mac = machineParts.mac?.();
  if (mac !== undefined && /[1-9a-f]/i.test(mac)) return fingerprint('mac', mac.toLowerCase());
  const machineId = await readFile(`${machineParts.etc}/machine-id`, 'utf8').catch(() => '');
  return fingerprint('machine', `${machineId.trim()} ${hostname()}`);
}

/** Hashed, because a serial number says more about its owner than peers need to know. */
const fingerprint = (kind: string, text: string): string =>
  createHash('sha256').update(`pi-swarm hardware ${kind} ${text}`).digest('hex').slice(0, 16);

/** os-release(5). */
async function readOs(etc: string): Promise<string | undefined> {
  const text = await readFile(`${etc}/os-release`, 'utf8');
  return /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(text)?.[1];
}

/** Ticks of a second in `/proc/PID/stat`: the same on every Linux (USER_HZ). */
const TICKS = 100;

/**
 * When this machine's first process began, in seconds after the kernel's start (`/proc/1/stat`, field 22, proc(5)). Nearly
 * 0 on a board; on a virtual Pi, which shares its kernel, it is what tells that it was switched on.
 */
async function readBegin(proc: string): Promise<number> {
  const stat = await readFile(`${proc}/1/stat`, 'utf8').catch(() => '');
  const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  return Number.isFinite(ticks) && ticks <= uptime() * TICKS ? ticks / TICKS : 0;
}
