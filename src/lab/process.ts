/** Processes of this machine: started, recognised again, waited for and ended by pid and start time. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { EnvironmentError, messageOf, PiSwarmError, TimeoutError } from '../errors.ts';

/** A process that cannot be mistaken for a later one with the same pid. */
export interface ProcessMark {
  pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks between boot and its start (proc(5)). */
  startTicks: string;
}

function statFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name (field 2) is in parentheses and may hold anything.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** @throws PiSwarmError when the process is gone already. */
export function markOf(pid: number): ProcessMark {
  const startTicks = statFields(pid)?.[19];
  if (startTicks === undefined) throw new PiSwarmError('failure', `process ${pid} ended at once`);
  return { pid, startTicks };
}

/** Whether that very process still runs (a zombie does not). */
export function isAlive(mark: ProcessMark | undefined): mark is ProcessMark {
  if (mark === undefined) return false;
  const fields = statFields(mark.pid);
  return fields !== undefined && fields[19] === mark.startTicks && fields[0] !== 'Z' && fields[0] !== 'X';
}

export function sendSignal(pid: number, signal: NodeJS.Signals | number): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export interface WaitOptions {
  timeoutMs: number;
  everyMs?: number;
  signal?: AbortSignal;
}

/** Asks until `fact` gives something other than undefined or false. @throws TimeoutError with the text of `what` */
export async function until<T>(
  what: string | (() => string),
  fact: () => T | Promise<T>,
  { timeoutMs, everyMs = 20, signal }: WaitOptions,
): Promise<Exclude<T, undefined | false>> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    const value = await fact();
    if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
    if (performance.now() > end) throw new TimeoutError(typeof what === 'string' ? what : what());
    await sleep(everyMs);
  }
}

export interface CommandResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program of this machine to its end. Output is cut at 16 MB. A missing program is an EnvironmentError. */
export function command(
  argv: readonly [string, ...string[]],
  { stdin = '', timeoutMs = 10_000 }: { stdin?: string; timeoutMs?: number } = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    // In a session of its own: Ctrl-C on our terminal does not cut a change to the lab in two.
    const limit = { timeout: timeoutMs, killSignal: 'SIGKILL' } as const;
    const child = spawn(argv[0], argv.slice(1), { stdio: 'pipe', detached: true, ...limit });
    const out = collect(child.stdout);
    const err = collect(child.stderr);
    child.on('error', cause => reject(new EnvironmentError(messageOf(cause), `Install ${argv[0]}.`, { cause })));
    child.on('close', code => resolve({ code: code ?? -1, stdout: out(), stderr: err() }));
    child.stdin.on('error', () => {}); // It may end without reading.
    child.stdin.end(stdin);
  });
}

const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

export function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= OUTPUT_BYTES_MAX) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

/** Like `command`; anything but exit code 0 is thrown with what the program said. */
export async function commandOk(
  argv: readonly [string, ...string[]],
  options?: { stdin?: string; timeoutMs?: number },
): Promise<string> {
  const { code, stdout, stderr } = await command(argv, options);
  if (code === 0) return stdout;
  throw new PiSwarmError('failure', `«${argv.join(' ')}» ended with ${code}: ${stderr.trim() || 'it said nothing'}`);
}
