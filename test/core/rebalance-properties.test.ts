/** B1 on any cluster: it gets more even with each move, ends, and leaves alone what is to be left alone. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Facts } from '../../src/core/observe.ts';
import { type PlannedMove, planRebalance } from '../../src/core/rebalance.ts';
import { turn } from '../../src/core/turn.ts';
import type { SwarmNode, SwarmService, SwarmTask } from '../../src/core/world.ts';
import { manager, node } from './build.ts';
import { world } from './loads.ts';

const pis = ['pi1', 'pi2', 'pi3', 'pi4', 'pi5'];
const anyPi = fc.record({
  architecture: fc.constantFrom('x86_64', 'aarch64'),
  availability: fc.constantFrom('active' as const, 'active' as const, 'active' as const, 'drain' as const),
  state: fc.constantFrom('ready' as const, 'ready' as const, 'ready' as const, 'down' as const),
});
const anyService = fc.record({
  /** Index of the Pi of each task. */
  on: fc.array(fc.nat(pis.length - 1), { maxLength: 14 }),
  more: fc.record({
    platforms: fc.constantFrom<SwarmService['platforms']>([], [], [{ os: 'linux', architecture: 'arm64' }]),
    maxReplicas: fc.constantFrom(undefined, undefined, 3),
    labels: fc.constantFrom<Record<string, string>>({}, {}, { 'pi-swarm.rebalance': 'off' }),
    localVolumes: fc.constantFrom(undefined, undefined, true),
  }),
});
const anyFacts = fc
  .tuple(fc.array(anyPi, { minLength: pis.length, maxLength: pis.length }), fc.array(anyService, { maxLength: 6 }))
  .map(([looks, wishes]): Facts => {
    const nodes = pis.map((name, index) => (index === 0 ? manager : node)(name, looks[index]));
    const where: Record<string, number[]> = {};
    const services: Record<string, Partial<SwarmService>> = {};
    for (const [index, { on, more }] of wishes.entries()) {
      where[`s${index}`] = pis.map((_, pi) => on.filter(it => it === pi).length);
      services[`s${index}`] = more;
    }
    return { ...world(where, services), nodes };
  });

const next = (facts: Facts): PlannedMove | undefined => planRebalance(turn(facts).world, { asked: true, most: 1 })[0];

const fits = ({ platforms = [] }: SwarmService, { architecture }: SwarmNode): boolean =>
  platforms.length === 0 || architecture === 'aarch64';

/** The swarm's scheduler, written anew: fewest of the service, then fewest in all, then by luck. New tasks first, then the old ones go. */
function carriedOut(facts: Facts, move: PlannedMove, luck: () => number): Facts {
  const tasks = [...(facts.tasks ?? [])];
  const service = facts.services?.find(({ id }) => id === move.service);
  if (service === undefined) throw new Error('there is no such service');
  for (let more = 0; more < move.count; more++) {
    const count = ({ nodeId }: SwarmNode) =>
      tasks.filter(it => it.nodeId === nodeId && it.serviceId === service.id).length;
    const total = ({ nodeId }: SwarmNode) => tasks.filter(it => it.nodeId === nodeId).length;
    const rank = (it: SwarmNode) => count(it) * 1000 + total(it);
    const open = (facts.nodes ?? []).filter(
      it =>
        it.state === 'ready' &&
        it.availability === 'active' &&
        fits(service, it) &&
        count(it) < (service.maxReplicas ?? 99),
    );
    const best = open.filter(it => rank(it) === Math.min(...open.map(rank)));
    const chosen = best[Math.floor(luck() * best.length)];
    if (chosen === undefined) throw new Error('the swarm finds no place for it');
    const ids = { id: `new${tasks.length}`, serviceId: service.id, nodeId: chosen.nodeId, slot: 0 };
    tasks.push({ ...ids, state: 'running', desired: 'running' });
  }
  for (let less = 0; less < move.count; less++) {
    const index = tasks.findIndex(it => it.serviceId === service.id && it.nodeId === move.from);
    if (index < 0) throw new Error('there is nothing to take away');
    tasks.splice(index, 1);
  }
  return { ...facts, tasks };
}

/** How uneven services lie by themselves, and how uneven the Pis: sums of squares. */
function weights({ tasks = [] }: Facts): [number, number] {
  const squares = (key: (task: SwarmTask) => string): number => {
    const counts: Record<string, number> = {};
    for (const task of tasks) counts[key(task)] = (counts[key(task)] ?? 0) + 1;
    return Object.values(counts).reduce((sum, count) => sum + count ** 2, 0);
  };
  return [squares(({ serviceId, nodeId }) => `${serviceId} ${nodeId}`), squares(({ nodeId }) => nodeId)];
}

describe('any cluster', () => {
  const anyLuck = fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true }));

  it('gets more even with each move, until none is left: nothing ever moves to and fro', () => {
    fc.assert(
      fc.property(anyFacts, anyLuck, (start, luck) => {
        let facts = start;
        for (let moves = 0, move = next(facts); move !== undefined; moves++, move = next(facts)) {
          expect(moves).toBeLessThan(100);
          const moved = carriedOut(facts, move, () => luck.next().value ?? 0);
          const [[own, all], [ownAfter, allAfter]] = [weights(facts), weights(moved)];
          expect(ownAfter < own || (ownAfter === own && allAfter < all)).toBe(true);
          facts = moved;
        }
      }),
    );
  });

  it('keeps what is to be left alone, and moves nothing to where it may not run, nor more than ten at once', () => {
    fc.assert(
      fc.property(anyFacts, facts => {
        for (const move of planRebalance(turn(facts).world, { asked: true })) {
          const service = facts.services?.find(({ id }) => id === move.service);
          expect(service).toMatchObject({ labels: {}, localVolumes: undefined });
          expect(move.count).toBe(move.to.length);
          expect(move.count).toBeLessThanOrEqual(10);
          for (const name of [move.fromName, ...move.to]) {
            const pi = facts.nodes?.find(({ hostname }) => hostname === name);
            expect(pi).toMatchObject({ state: 'ready', availability: 'active' });
            expect(service !== undefined && pi !== undefined && fits(service, pi)).toBe(true);
          }
        }
      }),
    );
  });

  it('foresees what it then does', () => {
    fc.assert(
      fc.property(anyFacts, start => {
        const foreseen = planRebalance(turn(start).world, { asked: true });
        expect(foreseen[0]).toEqual(next(start));
        expect(foreseen.length > 0).toBe(next(start) !== undefined);
      }),
    );
  });
});
