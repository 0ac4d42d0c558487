/** One Pi: its namespaces, its power. */
import { spawn } from 'node:child_process';
import { closeSync, constants, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { PiSwarmError } from '../errors.ts';
import type { LabCgroup } from './cgroup.ts';
import { SEARCH_PATH } from './environment.ts';
import { connectPi, firstLine } from './lan.ts';
import { piName } from './names.ts';
import { commandOk, isAlive, markOf, type ProcessMark, sendSignal, until } from './process.ts';

/**
 * Enters the Pi's control group, makes that group the root of what the Pi sees, then the other namespaces. In version 2
 * the processes themselves have to be in a leaf, or the engine could not make groups beside them.
 */
const LAUNCH = `set -e
for file in $LAB_GROUP_ROOT; do echo $$ >"$file"; done
exec unshare --cgroup sh -ec '
for file in $LAB_GROUP_LEAF; do echo $$ >"$file"; done
exec unshare --mount --uts --ipc --net --pid --fork --kill-child --propagation private /bin/sh "$1/lab/boot" "$1" "$2"
' sh "$1" "$2"`;

export interface PowerOnOptions {
  directory: string;
  lab: string;
  index: number;
  lan: ProcessMark;
  cgroup: LabCgroup;
}

/** Returns when its supervisor runs and its cable is plugged in; the engine comes up after that. */
export async function powerOnPi({ directory, lab, index, lan, cgroup }: PowerOnOptions): Promise<ProcessMark> {
  const name = piName(index);
  cgroup.make(name);
  const { root, leaf } = cgroup.joinFiles(name);
  const child = spawn('sh', ['-c', LAUNCH, 'sh', directory, name], {
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: '/',
    env: { PATH: SEARCH_PATH, LAB_GROUP_ROOT: root.join(' '), LAB_GROUP_LEAF: leaf.join(' ') },
  });
  child.stdin.on('error', () => {});
  await firstLine(child, name);
  const init = findInit(cgroup.pids(name), name);
  await connectPi(lan, lab, index, init);
  child.stdin.end('go\n');
  return init;
}

/** The process that is number 1 in its own pid namespace (`NSpid` of proc(5): pid in each nested namespace). */
function findInit(pids: number[], name: string): ProcessMark {
  for (const pid of pids) {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    if (/^NSpid:\s+\d+\s+(\d+\s+)*1$/m.test(status)) return markOf(pid);
  }
  throw new PiSwarmError('failure', `${name} was started, but its first process cannot be found`);
}

/** As when the plug is pulled: every process of the Pi is gone when this returns. */
export async function killPi(init: ProcessMark): Promise<void> {
  if (isAlive(init)) sendSignal(init.pid, 'SIGKILL');
  // Its first process stays until the kernel has ended all others of the namespace: pid_namespaces(7).
  await until('The Pi does not end although it was killed.', () => !existsSame(init), {
    timeoutMs: 15_000,
    everyMs: 10,
  });
}

/** Also true for a zombie: its namespace may still be on its way out. */
function existsSame(mark: ProcessMark): boolean {
  try {
    return markOf(mark.pid).startTicks === mark.startTicks;
  } catch {
    return false;
  }
}

/** SIGRTMIN+4: systemd(1) starts poweroff.target. */
const SYSTEMD_POWEROFF = 38;

/** As `poweroff`: agent first, then engine; each has 30 s, or what its unit says. */
export async function shutDownPi(init: ProcessMark, name: string): Promise<void> {
  sendSignal(init.pid, runsSystemd(init) ? SYSTEMD_POWEROFF : 'SIGTERM');
  await until(`${name} did not shut down within 110 s.`, () => !existsSame(init), { timeoutMs: 110_000, everyMs: 50 });
}

const runsSystemd = (init: ProcessMark): boolean => existsSync(insidePi(init, '/run/systemd/system'));

/** A path inside the running Pi, as this machine sees it. */
export const insidePi = (init: ProcessMark, path: string): string => join(`/proc/${init.pid}/root`, path);

/** Wakes the supervisor, which may wait for the agent's switch. Nobody may be listening: then it looks by itself. */
export async function pokeSupervisor(init: ProcessMark): Promise<void> {
  if (runsSystemd(init)) {
    const there = ['nsenter', '--target', `${init.pid}`, '--mount', '--pid', '--'] as const;
    await commandOk([...there, 'systemctl', 'start', 'pi-swarm']);
    return;
  }
  try {
    const pipe = openSync(insidePi(init, '/run/lab/poke'), constants.O_WRONLY | constants.O_NONBLOCK);
    writeSync(pipe, 'x\n');
    closeSync(pipe);
  } catch (error) {
    if (!['ENXIO', 'EPIPE'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

/** Whether the Pi's agent process runs. */
export function agentRuns(init: ProcessMark): boolean {
  try {
    const pid = readFileSync(insidePi(init, '/run/lab/agent.pid'), 'utf8').trim();
    return existsSync(insidePi(init, `/proc/${pid}`));
  } catch {
    return false;
  }
}
