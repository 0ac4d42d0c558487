import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ClockOptions, SystemClock } from '../../src/io/clock.ts';

const BUILT = Date.UTC(2026, 0);
const LATER = Date.UTC(2026, 6);
const DAY_MS = 86_400_000;
let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pi-swarm-clock-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** A machine whose two clocks the test sets. */
function machine(systemMs: number, options: Partial<ClockOptions> = {}) {
  const time = { system: systemMs, monotonic: 5000 };
  const clock = new SystemClock({
    stateDir: directory,
    builtMs: BUILT,
    system: () => time.system,
    monotonic: () => time.monotonic,
    synchronised: () => false,
    ...options,
  });
  const pass = (ms: number): void => {
    time.system += ms;
    time.monotonic += ms;
  };
  return { clock, time, pass };
}

/** What an earlier run of the agent left behind. */
async function ranUntil(ms: number): Promise<void> {
  const { clock } = machine(ms);
  await clock.start();
  await clock.stop();
}

describe('the wall clock', () => {
  it("is the system's when that can be right", () => {
    const { clock } = machine(LATER);
    expect([clock.wall(), clock.state()]).toEqual([LATER, 'ok']);
  });

  it('is never before the build, and says that it is behind', () => {
    const { clock } = machine(0);
    expect([clock.wall(), clock.state()]).toEqual([BUILT, 'behind']);
  });

  it('goes on from the saved time when the system starts in 1970 again', async () => {
    await ranUntil(LATER);
    const { clock, pass } = machine(0);
    await clock.start();
    expect([clock.wall(), clock.state()]).toEqual([LATER, 'behind']);
    pass(DAY_MS);
    expect(clock.wall()).toBe(LATER + DAY_MS);
    await clock.stop();
  });

  it('keeps growing over many starts without a time server', async () => {
    await ranUntil(LATER);
    for (let n = 0; n < 3; n++) {
      const { clock, pass } = machine(0);
      await clock.start();
      pass(DAY_MS);
      await clock.stop();
    }
    const { clock } = machine(0);
    await clock.start();
    expect(clock.wall()).toBe(LATER + 3 * DAY_MS);
    await clock.stop();
  });

  it('takes the newest time of its peers while it is behind, and lets it go on', () => {
    const { clock, pass } = machine(0);
    for (const offered of [LATER - DAY_MS, LATER, 1]) clock.offer(offered);
    expect(clock.wall()).toBe(LATER);
    pass(1000);
    expect(clock.wall()).toBe(LATER + 1000);
  });

  it('ignores its peers once its own clock is right, so that one clock in the future does not spread', async () => {
    const { clock, time } = machine(0);
    await clock.start();
    clock.offer(Date.UTC(2090, 0));
    time.system = LATER;
    expect([clock.wall(), clock.state()]).toEqual([LATER, 'ok']);
    await clock.stop();
    expect(await readFile(join(directory, 'clock'), 'utf8')).toBe('2026-07-01T00:00:00.000Z\n');
  });

  it('does not save what peers said', async () => {
    const { clock } = machine(0);
    await clock.start();
    clock.offer(LATER);
    await clock.stop();
    expect(await readFile(join(directory, 'clock'), 'utf8')).toBe('2026-01-01T00:00:00.000Z\n');
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 1e18])('does not believe an offer of %s', offered => {
    const { clock } = machine(0);
    clock.offer(offered);
    expect(clock.wall()).toBe(BUILT);
  });

  it('is not called behind for a few seconds that a time server took back', async () => {
    await ranUntil(LATER);
    const { clock } = machine(LATER - 5000);
    await clock.start();
    expect([clock.wall(), clock.state()]).toEqual([LATER, 'ok']);
    await clock.stop();
  });

  it('comes back from a saved time in the future when a time server has spoken', async () => {
    await ranUntil(Date.UTC(2080, 0));
    const { clock } = machine(LATER, { synchronised: () => true });
    await clock.start();
    expect([clock.wall(), clock.state()]).toEqual([LATER, 'ok']);
    await clock.stop();
    expect(await readFile(join(directory, 'clock'), 'utf8')).toBe('2026-07-01T00:00:00.000Z\n');
  });
});

describe('the saved time', () => {
  it.each(['', 'garbage', '9999-01-01T00:00:00.000Z', '\0\0\0'])('is ignored when the file says %j', async content => {
    await writeFile(join(directory, 'clock'), content);
    const { clock } = machine(LATER);
    await clock.start();
    expect([clock.wall(), clock.state()]).toEqual([LATER, 'ok']);
    await clock.stop();
  });

  it('is closed to others and leaves nothing beside it', async () => {
    await ranUntil(LATER);
    expect(await readdir(directory)).toEqual(['clock']);
    expect((await stat(join(directory, 'clock'))).mode & 0o777).toBe(0o600);
  });

  it('is no obstacle when it can be neither read nor written', async () => {
    await mkdir(join(directory, 'clock'));
    const { clock } = machine(LATER);
    await clock.start();
    expect(clock.wall()).toBe(LATER);
    await clock.stop();
  });
});
