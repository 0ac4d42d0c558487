/** B1 tries again what came to nothing: later and later, and at once when a Pi has come or gone. */
import { describe, expect, it } from 'vitest';
import type { Facts } from '../../src/core/observe.ts';
import { byItselfInMs, leftAlone } from '../../src/core/rebalance.ts';
import { leftAloneForMs } from '../../src/core/steady.ts';
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

  it('rests twice as long each time, at most a day', () => {
    const scenes = [...failed];
    const restsForMs = () => {
      for (let ms = 0; ; ms += 60_000) {
        scenes.push([60_000, uneven]);
        const { plan, steady } = story(...scenes);
        if (plan.length === 0) continue;
        scenes.push([1_000, moving], [1_000, uneven]);
        return Object.keys(steady?.useless ?? {}).length === 0 ? 0 : ms + 60_000;
      }
    };
    expect([1, 2, 3, 4].map(restsForMs)).toEqual([600_000, 1_200_000, 2_400_000, 4_800_000]);
    expect(leftAloneForMs({ count: 40, lastMs: 0 })).toBe(86_400_000);
  });

  it('rests for ten minutes only where somebody asks', () => {
    const asked = { ...uneven, rebalanceAsked: true as const };
    const twice: [number, Facts][] = [...failed, [600_000, uneven], [1_000, moving], [1_000, uneven]];
    expect(story(...twice, [599_000, asked]).plan).toEqual([]);
    expect(story(...twice, [600_000, uneven]).plan).toEqual([]);
    expect(story(...twice, [600_000, asked]).plan).toEqual(['move']);
  });

  it('is told of a service only while that lies uneven, and with when it goes on by itself', () => {
    const why = 'its last move came to nothing; the next one is in 10 min, or when a Pi comes or goes';
    expect(leftAlone(story(...failed))).toEqual([{ service: 'web', why }]);
    expect(leftAlone(story(...failed, [1_000, world({ web: [2, 2, 2] })]))).toEqual([]);
    const again = story(...failed, [600_000, uneven], [1_000, moving], [1_000, uneven], [600_000, uneven]);
    expect([leftAlone(again), byItselfInMs(again)]).toEqual([[], 600_000]);
  });

  it('is tried again at once when it helped, or its maker has changed the service', () => {
    const even = world({ web: [2, 2, 2] });
    const changed = world({ web: [3, 3, 0] }, { web: { updating: true } });
    const twice: [number, Facts][] = [...failed, [600_000, uneven], [1_000, moving], [1_000, uneven]];
    expect(story(...twice).steady?.useless).toMatchObject({ web: { count: 2 } });
    expect(story(...twice, [1_000, moving], [1_000, even]).steady?.useless).toEqual({});
    expect(story(...twice, [1_000, changed]).steady?.useless).toEqual({});
  });
});
