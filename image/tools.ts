/** Runs the programs that the image is made with: bounded, stoppable, and what they said is kept for when they fail. */
import { spawn } from 'node:child_process';
import { PiSwarmError } from '../src/errors.ts';

const TAIL_CHARACTERS = 200_000;
const LINES_SHOWN = 14;

export interface RunOptions {
  limitMs: number;
  signal: AbortSignal;
  cwd?: string;
  env?: Record<string, string>;
  stdin?: string;
  /** Give back all that it printed. */
  whole?: boolean;
  /** Each line that it prints, on stdout or stderr. */
  onLine?: (line: string) => void;
}

/**
 * Runs a program to its end. @returns what it printed, at most the last 200,000 characters
 * @throws PiSwarmError `failure` with its last lines when it fails or takes longer than its limit
 */
export function run(argv: readonly [string, ...string[]], options: RunOptions): Promise<string> {
  const { limitMs, signal, cwd, env, stdin = '', whole = false, onLine } = options;
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0], argv.slice(1), { cwd, env: { ...process.env, LC_ALL: 'C.UTF-8', ...env } });
    let output = '';
    let unfinished = '';
    const onData = (chunk: Buffer): void => {
      output += chunk.toString('utf8');
      if (!whole) output = output.slice(-TAIL_CHARACTERS);
      const lines = (unfinished + chunk.toString('utf8')).split('\n');
      unfinished = (lines.pop() ?? '').slice(-1000);
      for (const line of lines) onLine?.(line);
    };
    child.stdout.on('data', onData);
    child.stderr.on('data', onData);
    child.stdin.on('error', () => {}); // It may end without reading.
    child.stdin.end(stdin);
    let late = false;
    const limit = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, limitMs);
    const abort = (): void => void child.kill('SIGTERM');
    signal.addEventListener('abort', abort);
    const end = (problem: string | undefined): void => {
      clearTimeout(limit);
      signal.removeEventListener('abort', abort);
      if (signal.aborted) reject(signal.reason);
      else if (problem === undefined) resolve(output);
      else reject(new PiSwarmError('failure', [`${argv[0]} ${problem}`, ...lastLines(output)].join('\n')));
    };
    child.on('error', error => end(`does not start: ${error.message}`));
    child.on('close', (code, killed) => {
      if (late) end(`was not done within ${Math.round(limitMs / 60_000)} minutes`);
      else end(code === 0 ? undefined : `ended with ${code ?? killed}`);
    });
  });
}

function lastLines(output: string): string[] {
  const lines = output.split(/[\n\r]/).filter(line => line.trim() !== '');
  return lines.slice(-LINES_SHOWN).map(line => `  | ${line}`);
}
