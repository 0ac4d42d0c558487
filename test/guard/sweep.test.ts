/** What tests leave is removed however they end. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { describeOnNamespaces } from '../io/netns.ts';
import { bundleTo } from './bundle.ts';
import { MARK, namePrefix } from './mark.ts';

describeOnNamespaces('a run of the tests that made a process, a namespace and files', () => {
  let base: string;
  let mark: string;
  let left: ChildProcess;
  let namespace: string;

  beforeEach(async () => {
    base = mkdtempSync(join(tmpdir(), 'sweep-'));
    mark = `pisw-${basename(base)}`;
    mkdirSync(join(base, mark, 'files'), { recursive: true });
    await bundleTo(join(base, 'sweep.mjs'), join(import.meta.dirname, 'sweep.ts'));
    left = spawn('sleep', ['600'], { env: { ...process.env, [MARK]: mark }, stdio: 'ignore' });
    namespace = `${namePrefix(mark)}1`;
    execFileSync('ip', ['netns', 'add', namespace]);
  });
  afterEach(() => {
    left.kill('SIGKILL');
    if (existsSync(`/run/netns/${namespace}`)) execFileSync('ip', ['netns', 'delete', namespace]);
    rmSync(base, { recursive: true, force: true });
  });

  /** What the sweeper says and its exit code, after the tests ended with `word` or without one. */
  async function sweep(word = ''): Promise<{ code: number | null; err: string }> {
    const child = spawn(process.execPath, [join(base, 'sweep.mjs'), mark, join(base, mark), '0'], {
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    let err = '';
    child.stderr.on('data', (data: Buffer) => {
      err += data.toString();
    });
    child.stdin.end(word);
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, err };
  }

  it('that was killed: they go', async () => {
    const { code, err } = await sweep();
    expect(err).toMatch(/^The tests were interrupted; removed: process \d+ \(sleep 600\), namespace pisw-/);
    expect(code).toBe(1);
    expect([existsSync(join(base, mark)), existsSync(`/run/netns/${namespace}`)]).toEqual([false, false]);
    if (left.signalCode === null) await once(left, 'exit');
    expect(left.signalCode).toBe('SIGKILL');
  });

  it('that ended by itself: they go, and it has failed', async () => {
    const { code, err } = await sweep('done');
    expect([code, err]).toEqual([1, expect.stringMatching(/^The tests left behind: process/)]);
    expect(existsSync(join(base, mark))).toBe(false);
  });

  it('and took them away: nothing is said', async () => {
    left.kill('SIGKILL');
    execFileSync('ip', ['netns', 'delete', namespace]);
    expect(await sweep('done')).toEqual({ code: 0, err: '' });
    expect(existsSync(join(base, mark))).toBe(false);
  });
});
