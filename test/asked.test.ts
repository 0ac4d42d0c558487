import { expect, it } from 'vitest';
import { Asked } from '../src/asked.ts';
import { FakeClock } from './fakes/clock.ts';

it('holds as long as somebody goes on asking, and no longer', async () => {
  const clock = new FakeClock();
  const asked = new Asked(clock, 5_000);
  expect(asked.holds).toBe(false);
  expect([asked.again(), asked.holds]).toEqual([true, true]);
  await clock.advance(4_000);
  expect([asked.again(), asked.holds]).toEqual([false, true]);
  await clock.advance(4_000);
  expect(asked.holds).toBe(true);
  await clock.advance(1_000);
  expect(asked.holds).toBe(false);
  expect(asked.again()).toBe(true);
});
