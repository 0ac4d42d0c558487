/**
 * A Pi's directory: `disk` is its SD card (what survives power cuts), `card` what was written on it when it was flashed,
 * `lab` what the lab gives it (scripts, agent bundle, engine settings), `root` an empty mount point.
 */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { EnvironmentError } from '../errors.ts';
import { hierarchies, mountLines } from './cgroup.ts';
import { labSubnet, laptopAddress, machineId, piAddress, piName } from './names.ts';
import { BOOT, CLI_WRAPPER, SUPERVISE } from './scripts.ts';
import { prepareSystemd } from './systemd.ts';

/** What one Pi is flashed with. */
export interface PiOptions {
  /** The cluster secret's text; none: the Pi stays unclaimed. */
  secret?: string;
  /** Becomes /etc/pi-swarm/config.yaml. */
  config?: Record<string, unknown>;
  /** Whether its agent starts by itself when the Pi does. */
  agent?: boolean;
  /** Keys for dockerd's daemon.json, over the lab's own. */
  engine?: Record<string, unknown>;
  /** More words for dockerd's command line (no quoting: words without spaces). */
  engineArgs?: string[];
  /** Environment of the agent and of `pi-swarm` inside the Pi. */
  agentEnv?: Record<string, string>;
  /** Its first process; default: a supervisor of the lab's own, which is smaller and faster. */
  init?: 'systemd';
  /** The agent's bundle; copied, so that a rebuild does not disturb a running lab. */
  bundle?: string;
}

export const ENGINE_SOCKET = '/run/docker.sock';

/** dist/pi-swarm.mjs: this very file when bundled, else the one that `npm run build` makes of these sources. */
export function defaultBundle(): string {
  const here = fileURLToPath(import.meta.url);
  return here.endsWith('.mjs') ? join(dirname(here), 'pi-swarm.mjs') : join(dirname(here), '../../dist/pi-swarm.mjs');
}

/** Flashes the card and prepares what the lab gives to the Pi. What `options` leave open is as in the directory `like`. */
export function preparePi(directory: string, lab: string, index: number, options: PiOptions, like?: string): void {
  const all = { ...(like === undefined ? {} : savedOptions(like)), ...options };
  mkdirSync(join(directory, 'root'), { recursive: true });
  flashCard(directory, all);
  renewDisk(directory);
  prepareLabSide(directory, lab, index, all);
}

const optionsFile = (directory: string) => join(directory, 'card/options.json');
const savedOptions = (directory: string): PiOptions => JSON.parse(readFileSync(optionsFile(directory), 'utf8'));

function flashCard(directory: string, options: PiOptions): void {
  const { secret, config } = options;
  const card = join(directory, 'card/etc/pi-swarm');
  rmSync(join(directory, 'card'), { recursive: true, force: true });
  mkdirSync(card, { recursive: true });
  writeFileSync(optionsFile(directory), JSON.stringify(options), { mode: 0o600 });
  // It may hold the broker's password.
  if (config !== undefined) writeFileSync(join(card, 'config.yaml'), stringify(config), { mode: 0o600 });
  if (secret !== undefined) writeFileSync(join(card, 'secret'), `${secret}\n`, { mode: 0o600 });
}

/** An empty disk with what the card was flashed with. */
export function renewDisk(directory: string): void {
  const disk = join(directory, 'disk');
  rmSync(disk, { recursive: true, force: true });
  for (const path of [
    'var/lib/docker',
    'var/lib/pi-swarm',
    'var/log',
    'var/tmp',
    'var/cache',
    'var/root',
    'boot/firmware',
    'etc/docker',
  ]) {
    mkdirSync(join(disk, path), { recursive: true });
  }
  chmodSync(join(disk, 'var/tmp'), 0o1777);
  chmodSync(join(disk, 'var/lib/pi-swarm'), 0o700);
  symlinkSync('/run', join(disk, 'var/run'));
  cpSync(join(directory, 'card/etc'), join(disk, 'etc'), { recursive: true });
}

function prepareLabSide(directory: string, lab: string, index: number, options: PiOptions): void {
  const side = join(directory, 'lab');
  mkdirSync(join(side, 'bin'), { recursive: true });
  const engine = {
    hosts: [options.init === 'systemd' ? 'fd://' : `unix://${ENGINE_SOCKET}`],
    pidfile: '/run/docker.pid',
    'exec-root': '/run/docker',
    'exec-opts': [`native.cgroupdriver=${options.init === 'systemd' ? 'systemd' : 'cgroupfs'}`],
    'insecure-registries': [labSubnet(lab)],
    ...options.engine,
  };
  writeFileSync(join(side, 'daemon.json'), JSON.stringify(engine, null, 2));
  writeFileSync(join(side, 'environment'), environmentText(options, machineId(lab, index)));
  writeFileSync(join(side, 'machine-id'), `${machineId(lab, index)}\n`);
  writeFileSync(join(side, 'cgroups'), `${mountLines(hierarchies())}\n`);
  for (const [name, text] of Object.entries({ boot: BOOT, supervise: SUPERVISE, 'bin/pi-swarm': CLI_WRAPPER })) {
    writeFileSync(join(side, name), text, { mode: 0o755 });
  }
  prepareSystemd(side, options.init === 'systemd');
  rmSync(join(side, 'bin/node'), { force: true });
  // A Pi does not see these directories of this machine.
  if (/^\/(tmp|var|run|mnt|media|boot)\//.test(process.execPath))
    copyFileSync(process.execPath, join(side, 'bin/node'));
  else symlinkSync(process.execPath, join(side, 'bin/node'));
  installBundle(side, options);
  setAgentSwitch(directory, options.agent ?? true);
}

function environmentText({ agentEnv = {}, engineArgs = [] }: PiOptions, board: string): string {
  // Where the lab's own machine is a Pi, its serial number would make all virtual Pis one board (M3).
  const values = { ...piEnvironment(), PI_SWARM_HARDWARE: board, ...agentEnv, LAB_ENGINE_ARGS: engineArgs.join(' ') };
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  return Object.entries(values)
    .map(([name, value]) => `export ${name}=${quoted(value)}\n`)
    .join('');
}

export function piEnvironment(): Record<string, string> {
  return {
    PATH: '/.lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/var/root',
    LANG: 'C.UTF-8',
  };
}

function installBundle(side: string, { bundle, agent }: PiOptions): void {
  const source = bundle ?? defaultBundle();
  const target = join(side, 'pi-swarm.mjs');
  if (existsSync(source)) {
    copyFileSync(source, `${target}.new`);
    renameSync(`${target}.new`, target);
  } else if (agent ?? true) {
    throw new EnvironmentError(
      `The agent's program ${basename(source)} has not been built: ${source} is missing.`,
      'npm run build',
    );
  }
}

/** Whether the agent is meant to run; the supervisor looks at it before each start. */
export function setAgentSwitch(directory: string, on: boolean): void {
  const off = join(directory, 'lab/agent.off');
  if (on) rmSync(off, { force: true });
  else writeFileSync(off, '');
}

export const agentSwitch = (directory: string): boolean => !existsSync(join(directory, 'lab/agent.off'));

/** Names of all Pis for /etc/hosts. Written in place: it is bind-mounted into running Pis. */
export function writeHosts(labDirectory: string, lab: string, indexes: number[]): void {
  const lines = ['127.0.0.1 localhost', `${laptopAddress(lab)} laptop`];
  for (const index of indexes) lines.push(`${piAddress(lab, index)} ${piName(index)}`);
  writeFileSync(join(labDirectory, 'hosts'), `${lines.join('\n')}\n`);
}
