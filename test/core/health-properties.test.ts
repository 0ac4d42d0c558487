import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SwarmNode, Vitals } from '../../src/core/world.ts';
import { manager, node } from './build.ts';
import { Shelf, waiting } from './shelf.ts';

interface Phase {
  seconds: number;
  vitals: [Vitals, Vitals, Vitals, Vitals];
  waits: boolean;
  down: string[];
}

describe('whatever happens to the Pis', () => {
  const names = ['pi1', 'pi2', 'pi3', 'pi4'];
  const anyVitals = fc.oneof(
    fc.record({ temperatureCelsius: fc.constantFrom(50, 74, 77, 79, 80, 84) }),
    fc.record({ underVoltage: fc.boolean(), throttled: fc.boolean(), memoryPercent: fc.constantFrom(10, 92, 99) }),
  );
  const anyPhase: fc.Arbitrary<Phase> = fc.record({
    seconds: fc.integer({ min: 1, max: 100 }),
    vitals: fc.tuple(anyVitals, anyVitals, anyVitals, anyVitals),
    waits: fc.boolean(),
    down: fc.subarray(names.slice(1)),
  });
  const play = (phases: Phase[], check: (shelf: Shelf, before: SwarmNode[]) => void): Shelf => {
    const shelf = new Shelf(names.map((name, index) => (index < 3 ? manager(name) : node(name))));
    for (const { seconds, vitals, waits, down } of phases) {
      shelf.vitals = Object.fromEntries(names.map((name, index) => [name, vitals[index] ?? {}]));
      shelf.tasks = waits ? [waiting()] : [];
      shelf.nodes = shelf.nodes.map(it => ({ ...it, state: down.includes(it.hostname) ? 'down' : 'ready' }));
      for (let second = 0; second < seconds; second += 1) {
        const before = shelf.nodes;
        shelf.nowMs += 1_000;
        shelf.turn();
        check(shelf, before);
      }
    }
    return shelf;
  };
  const pausedIn = (nodes: SwarmNode[]) =>
    nodes.filter(({ availability }) => availability === 'pause').map(it => it.nodeId);

  it('nobody is newly paused unless a Pi is left that is ready, in use and well', () => {
    fc.assert(
      fc.property(fc.array(anyPhase, { maxLength: 20 }), phases => {
        play(phases, ({ nodes, world }, before) => {
          const newly = pausedIn(nodes).filter(id => !pausedIn(before).includes(id));
          if (newly.length === 0) return;
          const well = (it: SwarmNode) =>
            it.state === 'ready' &&
            it.availability === 'active' &&
            Object.values(world?.care.health[it.nodeId] ?? {}).every(
              ({ unwellSinceMs }) => unwellSinceMs === undefined,
            );
          expect(nodes.filter(well)).not.toEqual([]);
        });
      }),
      { numRuns: 100 },
    );
  });

  it('no turn ends with only unwell Pis in use while others are paused', () => {
    fc.assert(
      fc.property(fc.array(anyPhase, { maxLength: 20 }), phases => {
        play(phases, ({ nodes }) => {
          if (pausedIn(nodes.filter(({ state }) => state === 'ready')).length === 0) return;
          expect(nodes.filter(it => it.state === 'ready' && it.availability === 'active')).not.toEqual([]);
        });
      }),
      { numRuns: 100 },
    );
  });

  it('the nodes are written a bounded number of times, however often the Pis change their mind', () => {
    fc.assert(
      fc.property(fc.array(anyPhase, { maxLength: 40 }), phases => {
        const began = 1_000_000;
        const shelf = play(phases, () => undefined);
        // Unwell after 15 s, well after 60 s: one pause and one activation in 75 s at most, and what ails it may change twice.
        const cycles = Math.ceil((shelf.nowMs - began) / 75_000);
        expect(shelf.writes).toBeLessThanOrEqual(names.length * (4 * cycles + 1));
      }),
      { numRuns: 100 },
    );
  });
});
