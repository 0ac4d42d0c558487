import { expect, test } from 'vitest';
import { clockStep } from '../../src/machine/clock-step.ts';

const DAY = 86_400_000;
const now = Date.UTC(2026, 0, 1);
const step = (peersMs: number[], synchronised = false) => clockStep({ systemMs: now, synchronised, peersMs });

test('a clock that is behind goes forward to that of the others', () => {
  expect(step([now + 30 * DAY])).toBe(now + 30 * DAY);
});

test('it never goes back, and not for what a heartbeat takes', () => {
  expect(step([now - 30 * DAY])).toBeUndefined();
  expect(step([now + 30_000])).toBeUndefined();
  expect(step([])).toBeUndefined();
});

test('a time server has the last word', () => {
  expect(step([now + 30 * DAY], true)).toBeUndefined();
});

test('one Pi with a date in the future drags nobody along', () => {
  expect(step([now, now + 3_000 * DAY])).toBeUndefined();
  expect(step([now + DAY, now + DAY, now + 3_000 * DAY])).toBe(now + DAY);
  expect(step([Date.UTC(2200, 0, 1)])).toBeUndefined();
});
