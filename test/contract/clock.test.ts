import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { SystemClock } from '../../src/io/clock.ts';
import type { Clock } from '../../src/ports.ts';
import { FakeClock } from '../fakes/clock.ts';

interface Subject {
  clock: Clock;
  /** Lets that much time pass, and more on a busy machine. */
  pass: (ms: number) => Promise<void>;
}

const subjects: Record<string, () => Subject> = {
  'the system clock': () => ({
    clock: new SystemClock({ stateDir: tmpdir() }),
    pass: ms => new Promise(resolve => setTimeout(resolve, ms)),
  }),
  'the fake clock': () => {
    const clock = new FakeClock({ randoms: [0.5, 0.25, 0] });
    return { clock, pass: ms => clock.advance(ms) };
  },
};

describe.each(Object.entries(subjects))('%s', (_name, make) => {
  it('goes forward, on both scales alike', async () => {
    const { clock, pass } = make();
    const [now, wall] = [clock.now(), clock.wall()];
    await pass(30);
    expect(clock.now() - now).toBeGreaterThanOrEqual(25);
    expect(Math.abs(clock.wall() - wall - (clock.now() - now))).toBeLessThan(1000);
  });

  it('knows a date of this century', () => {
    expect(make().clock.wall()).toBeGreaterThan(Date.UTC(2025, 0));
  });

  it('sleeps at least as long as asked', async () => {
    const { clock, pass } = make();
    const start = clock.now();
    let wokeMs: number | undefined;
    const asleep = clock.sleep(40).then(() => {
      wokeMs = clock.now() - start;
    });
    await pass(1);
    expect(wokeMs).toBeUndefined();
    await pass(60);
    await asleep;
    expect(wokeMs).toBeGreaterThanOrEqual(38);
  });

  it('wakes at once when aborted, before and during the sleep, and never rejects', async () => {
    const { clock } = make();
    await clock.sleep(3_600_000, AbortSignal.abort());
    const abort = new AbortController();
    const asleep = clock.sleep(3_600_000, abort.signal);
    abort.abort(new Error('a reason'));
    await expect(asleep).resolves.toBeUndefined();
  });

  it('does not sleep for nothing or less', async () => {
    const { clock } = make();
    await clock.sleep(0);
    await clock.sleep(-5);
  });

  it('gives random numbers from 0 up to 1', () => {
    const { clock } = make();
    for (let n = 0; n < 3; n++) {
      const value = clock.random();
      expect(value).toBeGreaterThanOrEqual(0);
      expect(value).toBeLessThan(1);
    }
  });
});

describe('the fake clock', () => {
  it('refuses to make up random numbers', () => {
    expect(() => new FakeClock().random()).toThrow(/no random numbers were given/);
  });

  it('wakes sleepers in the order of their times', async () => {
    const clock = new FakeClock();
    const woken: number[] = [];
    for (const ms of [30, 10, 20]) void clock.sleep(ms).then(() => woken.push(ms));
    await clock.advance(25);
    expect(woken).toEqual([10, 20]);
    expect(clock.sleeping).toBe(1);
  });
});
