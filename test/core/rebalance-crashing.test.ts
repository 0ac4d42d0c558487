/** B1 beside a service that never runs for long. */
import { describe, expect, it } from 'vitest';
import type { Facts } from '../../src/core/observe.ts';
import { story, world } from './loads.ts';

describe('a service that crashes again and again', () => {
  const up = world({ web: [6, 0, 0], db: [1, 0, 0] });
  const down = world({ web: [6, 0, 0], db: [1, 0, 0] }, { db: { running: 0 } });
  const crashing = (times: number, upMs: number) =>
    Array.from({ length: times }, (): [number, Facts][] => [
      [upMs, down],
      [5_000, up],
    ]).flat();
  const asked: Facts = { ...down, rebalanceAsked: true };

  it('keeps nobody from it for longer than a minute', () => {
    expect(story([0, up], ...crashing(5, 5_000), [4_000, asked]).plan).toEqual([]);
    expect(story([0, up], ...crashing(6, 5_000), [5_000, asked]).plan).toEqual(['move']);
  });

  it('is waited for anew where it ran well in between', () => {
    expect(story([0, up], ...crashing(6, 15_000), [15_000, asked]).plan).toEqual([]);
  });
});
