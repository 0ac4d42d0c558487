/** B1 tries again what came to nothing: later and later, and at once when a Pi has come or gone. */
import { describe, expect, it } from 'vitest';
import type { Facts } from '../../src/core/observe.ts';
import { active, manager, node, nodeIdOf, peer } from './build.ts';
import { story, world } from './loads.ts';

const uneven = world({ web: [3, 3, 0] });
const move = { from: nodeIdOf('pi1'), count: 1, why: 'rebalance', phase: 'block' } as const;
const moving = world({ web: [3, 3, 1] }, { web: { replicas: 6, desired: 6, running: 6, move } });
/** Its tasks lie as they did. */
const failed: [number, Facts][] = [
  [0, uneven],
  [20_000, uneven],
  [1_000, moving],
  [1_000, uneven],
];

describe('a move that came to nothing', () => {
  it('a service that is no more even after its move is left alone for ten minutes', () => {
    const again = (ms: number) =>
      story([0, uneven], [20_000, uneven], [1_000, moving], [1_000, uneven], [20_000, uneven], [ms, uneven]).plan;
    expect(again(0)).toEqual([]);
    expect(again(560_000)).toEqual([]);
    expect(again(580_000)).toEqual(['move']);
  });

  it('unless a Pi has come or gone since', () => {
    const gone = { ...uneven, peers: [peer('pi2', { swarm: active('pi2') })] };
    expect(story(...failed, [5_000, gone], [5_000, uneven], [19_000, uneven]).plan).toEqual([]);
    expect(story(...failed, [5_000, gone], [5_000, uneven], [20_000, uneven]).plan).toEqual(['move']);
  });

  it('one that is unwell or paused for a moment is no reason to try it again', () => {
    const hot = { ...node('pi3').labels, 'pi-swarm.unwell': 'hot' };
    const ill = {
      ...uneven,
      nodes: [manager('pi1'), node('pi2'), node('pi3', { availability: 'pause', labels: hot })],
    };
    expect(story(...failed, [5_000, ill], [61_000, uneven], [70_000, uneven], [61_000, uneven]).plan).toEqual([]);
  });
});
