/** One real Docker Engine in namespaces of its own, for tests: nothing of it is left after `stop`. Needs root. */
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'vitest';

export interface RealEngine {
  socketPath: string;
  /** SIGKILL to the namespace's process 1, which is a power cut, and start it again on the same disk. */
  restart(): Promise<void>;
  /** SIGSTOP and SIGCONT to dockerd: an engine that hangs. */
  freeze(frozen: boolean): void;
  /** Runs a program inside the engine's namespaces; returns its standard output. */
  exec(...argv: string[]): string;
  stop(): Promise<void>;
}

const canRunDockerd = process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/sbin/dockerd');

/** Needs root and Debian's docker.io. `npm test` installs it, or ends with one message, so there nothing of this is skipped. */
export const describeWithDockerd = describe.skipIf(!canRunDockerd);

export const ENGINE_ADDRESS = '10.99.0.1';

export interface RealEngineOptions {
  /** A default route into nowhere: packets leave and never come back. */
  routeIntoNowhere?: boolean;
}

export async function startDockerd(options: RealEngineOptions = {}): Promise<RealEngine> {
  const dir = mkdtempSync(join(tmpdir(), 'pisw-engine-'));
  const name = dir.slice(dir.lastIndexOf('/') + 1);
  mkdirSync(join(dir, 'data'));
  const socketPath = join(dir, 'docker.sock');
  const init = join(dir, 'init.sh');
  writeFileSync(init, script(dir, name, socketPath, options), { mode: 0o755 });
  let pid = await boot(dir, init, socketPath).catch(error => {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  });
  const enter = ['--mount', '--uts', '--ipc', '--net', '--pid'];
  return {
    socketPath,
    async restart() {
      await powerOff(pid);
      rmSync(socketPath, { force: true });
      pid = await boot(dir, init, socketPath);
    },
    freeze(frozen) {
      process.kill(pid, frozen ? 'SIGSTOP' : 'SIGCONT');
    },
    exec: (...argv) => execFileSync('nsenter', ['--target', String(pid), ...enter, ...argv], { encoding: 'utf8' }),
    async stop() {
      await powerOff(pid);
      rmSync(dir, { recursive: true, force: true });
      removeCgroups(name);
    },
  };
}

/** dockerd becomes process 1 of its namespaces: when it dies, so does everything that it started. */
const script = (dir: string, name: string, socketPath: string, options: RealEngineOptions): string => `#!/bin/sh
set -e
hostname ${name}
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add eth0 type veth peer name nowhere
ip link set nowhere up
ip addr add ${ENGINE_ADDRESS}/24 dev eth0
ip link set eth0 up
${options.routeIntoNowhere ? 'ip route add default via 10.99.0.254 dev eth0; ip neigh add 10.99.0.254 lladdr 02:00:00:00:00:99 dev eth0' : ''}
exec dockerd --data-root ${dir}/data --exec-root /run/docker -p /run/docker.pid -H unix://${socketPath} \\
  --cgroup-parent /${name} >${dir}/log 2>&1
`;

async function boot(dir: string, init: string, socketPath: string): Promise<number> {
  const flags = ['--mount', '--uts', '--ipc', '--net', '--pid', '--fork', '--kill-child'];
  const child = spawn('unshare', [...flags, init], { stdio: 'ignore' });
  const outer = child.pid;
  if (outer === undefined) throw new Error('unshare did not start');
  const children = `/proc/${outer}/task/${outer}/children`;
  await until(() => existsSync(children) && readFileSync(children, 'utf8').trim() !== '', 10_000, 'the namespace');
  const pid = Number(readFileSync(children, 'utf8').trim().split(' ')[0]);
  const log = (): string => (existsSync(join(dir, 'log')) ? readFileSync(join(dir, 'log'), 'utf8').slice(-2000) : '');
  await until(() => answers(socketPath) || (exited(pid) && fail(`dockerd ended: ${log()}`)), 60_000, 'dockerd');
  return pid;
}

async function powerOff(pid: number): Promise<void> {
  if (!exited(pid)) process.kill(pid, 'SIGKILL');
  await until(() => exited(pid), 30_000, 'the namespace to end');
}

function answers(socketPath: string): boolean {
  if (!existsSync(socketPath)) return false;
  try {
    execFileSync('curl', ['-sf', '--max-time', '2', '--unix-socket', socketPath, 'http://engine/_ping'], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    return false;
  }
}

const exited = (pid: number): boolean => !existsSync(`/proc/${pid}`);

function fail(reason: string): never {
  throw new Error(reason);
}

export async function until(done: () => boolean | Promise<boolean>, limitMs: number, what: string): Promise<void> {
  const end = Date.now() + limitMs;
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`waited ${limitMs} ms for ${what}`);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

function removeCgroups(name: string): void {
  const root = '/sys/fs/cgroup';
  const parents = [root, ...(existsSync(root) ? readdirSync(root).map(entry => join(root, entry)) : [])];
  for (const parent of parents) removeTree(join(parent, name));
}

function removeTree(dir: string): void {
  if (!existsSync(dir)) return;
  for (const entry of readdirSync(dir, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(dir, entry.name));
  try {
    rmdirSync(dir);
  } catch {
    // A dying process may still be listed; the kernel removes an empty group at the next reboot.
  }
}
