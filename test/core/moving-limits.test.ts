/** How long moves of tasks may take, and what happens to those that take longer. */
import { describe, expect, it } from 'vitest';
import { sentences } from '../../src/core/step.ts';
import { turn } from '../../src/core/turn.ts';
import { active, leading, manager, node, peer, plan, WISH } from './build.ts';
import { going, leave, peers, task, web, world } from './moves.ts';

describe('who leads again', () => {
  const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi3', { state: 'preparing' })];
  const moving = world([web(2, { move: leave('surge') })], tasks);
  const after = (blindMs: number): string[] => {
    const first = turn({ ...moving, nowMs: moving.nowMs - 40_000 - blindMs }).world;
    const { nodes: _, services: __, ...blind } = moving;
    let last = first;
    for (const ms of [blindMs, blindMs / 2, 0]) last = turn({ ...blind, nowMs: moving.nowMs - ms }, last).world;
    return sentences(turn(moving, last).decision);
  };

  it('goes on with the times that it knows after a moment, and begins anew where it has not seen its swarm for longer', () => {
    expect(after(8_000)).toEqual(['mark the tasks of web that go']);
    expect(after(600_000)).toEqual(['wait: tasks of web are moving']);
  });
});

describe('a Pi that goes', () => {
  it('stops its own ones, and none that start, when those are slow and it has no more time', () => {
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi3', { state: 'preparing' })];
    const slow = world([web(2, { move: leave('surge') })], tasks);
    expect(plan(slow, 29_000)).toEqual(['wait: tasks of web are moving']);
    expect(plan(slow, 30_000)).toEqual(['mark the tasks of web that go']);
  });

  it('has as much time for that as `drainTimeout` gives, and minutes where nobody waits for it to go', () => {
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi3', { state: 'preparing' })];
    const slow = (mark: string, drainTimeoutMs: number) =>
      leading([manager('pi1'), going('pi2', { labels: { 'pi-swarm.leaving': mark } }), node('pi3')], {
        services: [web(2, { move: leave('surge') })],
        tasks,
        peers: mark === 'drain' ? [peer('pi2', { swarm: active('pi2') }), peer('pi3')] : peers(),
        wish: { ...WISH, drainTimeoutMs },
      });
    expect(plan(slow('shutdown', 300_000), 149_000)).toEqual(['wait: tasks of web are moving']);
    expect(plan(slow('shutdown', 300_000), 150_000)).toEqual(['mark the tasks of web that go']);
    expect(plan(slow('drain', 60_000), 299_000)).toEqual(['wait: tasks of web are moving']);
    expect(plan(slow('drain', 60_000), 300_000)).toEqual(['mark the tasks of web that go']);
  });

  it('has as much time when another one goes whose tasks of the same service move first, but not for ever', () => {
    const nodes = [manager('pi1'), going('pi2'), going('pi3'), node('pi4')];
    const both = ['pi2', 'pi3'].map(name => peer(name, { intent: 'shutdown', swarm: active(name) }));
    const facts = leading(nodes, { tasks: [task(1, 'pi2'), task(2, 'pi3')], peers: both });
    const held = [web(2, { move: leave('surge') })];
    const drainedAfter = (heldMs: number): number => {
      let last = turn({ ...facts, services: held }).world;
      for (let ms = 1_000; ms <= 60_000; ms += 1_000) {
        const services = ms <= heldMs ? held : [web(2, { updating: true })];
        const next = turn({ ...facts, services, nowMs: facts.nowMs + ms }, last);
        if (sentences(next.decision).includes('drain pi3')) return ms;
        last = next.world;
      }
      return Number.POSITIVE_INFINITY;
    };
    expect([drainedAfter(0), drainedAfter(10_000), drainedAfter(50_000)]).toEqual([36_000, 46_000, 54_000]);
  });

  it('that was drained for minutes has all its time when it then shuts down', () => {
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi3', { state: 'preparing' })];
    const slow = world([web(2, { move: leave('surge') })], tasks);
    const nodes = [manager('pi1'), going('pi2', { labels: { 'pi-swarm.leaving': 'drain' } }), node('pi3')];
    const drained = turn({ ...slow, nodes, nowMs: slow.nowMs - 200_000 }).world;
    const asked = turn({ ...slow, nowMs: slow.nowMs - 1_000 }, drained).world;
    expect(sentences(turn(slow, asked).decision)).toEqual(['wait: tasks of web are moving']);
  });

  it('that stays after all keeps what runs: the new ones that do not run yet are taken back', () => {
    const nodes = [manager('pi1'), node('pi2'), node('pi3')];
    const fetching = task(3, 'pi3', { state: 'preparing' });
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), fetching];
    const moving = (phase: 'surge' | 'back') => web(2, { move: { ...leave('surge'), phase } });
    const stays = (phase: 'surge' | 'back', all = tasks) => leading(nodes, { services: [moving(phase)], tasks: all });
    expect(plan(stays('surge'))).toEqual(['take back the move of web']);
    expect(plan(stays('back'))).not.toEqual(['end the move of web']);
    expect(plan(stays('back', [...tasks, task(3, undefined)]))).toEqual(['end the move of web']);
    expect(plan(stays('back'), 6_000)).toEqual(['end the move of web']);
  });
});
