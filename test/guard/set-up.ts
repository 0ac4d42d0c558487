/**
 * Vitest's global set-up: whatever ends the tests, also Ctrl-C, a limit or a crash, all that they made goes. Vitest runs no `afterAll` when it is
 * interrupted, so a process beside it waits for its end: its standard input closes, however Vitest ends.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { bundleTo } from './bundle.ts';
import { DIRECTORY, MARK } from './mark.ts';

/** What is left has this long to go before the tests count as ended. */
const SWEEP_MS = 60_000;

/** @returns what ends it: waits until everything is gone */
export default async function setUp(): Promise<(() => Promise<void>) | undefined> {
  // Each project has its own set-up; the first one is enough.
  if (process.env[MARK] !== undefined) return undefined;
  const directory = process.env[DIRECTORY] ?? join(tmpdir(), `pisw-${randomBytes(4).toString('hex')}`);
  const mark = basename(directory);
  mkdirSync(directory, { mode: 0o755, recursive: true });
  // The workers inherit both: all temporary files are in one place, and every process can be told by the mark.
  process.env[MARK] = mark;
  process.env['TMPDIR'] = directory;
  const script = join(directory, 'sweep.mjs');
  await bundleTo(script, join(import.meta.dirname, 'sweep.ts'));
  writeFileSync(join(directory, 'README'), 'Temporary files of pi-swarm’s tests; removed when they end.\n');
  const { [MARK]: _, ...env } = process.env;
  const sweeper = spawn(process.execPath, [script, mark, directory, String(process.pid)], {
    stdio: ['pipe', 'ignore', 'inherit'],
    // Ctrl-C goes to the group of the terminal; whoever cleans up is not in it.
    detached: true,
    env,
  });
  sweeper.unref();
  const gone = new Promise<number | null>(resolve => sweeper.once('close', code => resolve(code)));
  return async () => {
    sweeper.stdin.end('done');
    const late = setTimeout(() => sweeper.kill('SIGKILL'), SWEEP_MS);
    // Tests that leave something behind have failed, whatever else they say.
    if ((await gone) !== 0) process.exitCode = 1;
    clearTimeout(late);
    rmSync(directory, { recursive: true, force: true });
  };
}
