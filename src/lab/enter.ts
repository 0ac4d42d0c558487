/** Running programs inside a Pi, or on the laptop beside them. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { PiSwarmError, TimeoutError } from '../errors.ts';
import { piEnvironment } from './disk.ts';
import { SEARCH_PATH } from './environment.ts';
import { type CommandResult, collect, type ProcessMark, sendSignal } from './process.ts';

export interface Place {
  /** `pi2`, or `laptop`. */
  name: string;
  init: ProcessMark;
  /** File that takes the pid of what is started, so that `down` finds it. */
  groupFile: string;
}

export interface SpawnInOptions {
  env?: Record<string, string>;
  cwd?: string;
  stdio?: SpawnOptions['stdio'];
}

/** Starts a program there. The child is nsenter(1); use `killInside` to end what runs in it. */
export function spawnIn(place: Place, argv: readonly string[], options: SpawnInOptions = {}): ChildProcess {
  const { pid } = place.init;
  const laptop = place.name === 'laptop';
  const spaces = laptop ? ['--net', '--mount'] : ['--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup'];
  // Entering a mount namespace makes its root the working directory: setns(2).
  const there =
    options.cwd === undefined ? argv : ['sh', '-c', 'cd "$1" && shift && exec "$@"', 'sh', options.cwd, ...argv];
  const words = ['nsenter', '--target', `${pid}`, ...spaces, '--', ...there];
  const base = laptop
    ? { ...process.env, PATH: SEARCH_PATH }
    : { TERM: process.env['TERM'] ?? 'dumb', ...piEnvironment() };
  return spawn('sh', ['-c', 'echo $$ >"$1" && shift && exec "$@"', 'sh', place.groupFile, ...words], {
    stdio: options.stdio ?? 'pipe',
    env: { ...base, ...options.env },
  });
}

export interface ExecOptions extends Omit<SpawnInOptions, 'stdio'> {
  stdin?: string | Buffer;
  /** Default 60 s; then it is killed and a TimeoutError thrown. */
  timeoutMs?: number;
}

/** Runs it to its end. Does not throw for exit codes other than 0. @throws TimeoutError */
export async function execIn(place: Place, argv: readonly string[], options: ExecOptions = {}): Promise<CommandResult> {
  const { stdin = '', timeoutMs = 60_000, ...rest } = options;
  const child = spawnIn(place, argv, { ...rest, stdio: 'pipe' });
  const { stdin: input, stdout: output, stderr: errors } = child;
  if (input === null || output === null || errors === null) throw new PiSwarmError('failure', 'no pipes to the Pi');
  const out = collect(output);
  const err = collect(errors);
  input.on('error', () => {});
  input.end(stdin);
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    killInside(child);
  }, timeoutMs);
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve(status ?? (signal === null ? -1 : 128)));
  }).finally(() => clearTimeout(limit));
  if (!late) return { code, stdout: out(), stderr: err() };
  const said = `${out()}${err()}`.trim().slice(-2000);
  throw new TimeoutError(
    `«${argv.join(' ')}» on ${place.name} did not end within ${timeoutMs / 1000} s. It said: ${said || 'nothing'}`,
  );
}

/** Ends what was started with `spawnIn`: nsenter does not hand signals to the program that it runs. */
export function killInside(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const inner = childrenOf(child.pid);
  for (const pid of inner) sendSignal(pid, signal);
  if (inner.length === 0 || signal === 'SIGKILL') child.kill(signal);
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
