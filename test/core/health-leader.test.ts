import { describe, expect, it } from 'vitest';
import type { Vitals } from '../../src/core/world.ts';
import { manager, node, service, WISH } from './build.ts';
import { COOL, HOT, Shelf, three } from './shelf.ts';

describe('leadership leaves a Pi that may fail at any moment', () => {
  const demoted = ['label pi1', 'demote pi1'];

  it.each<[string, Vitals]>([
    ['hot', HOT],
    ['throttled', { throttled: true }],
    ['short of voltage', { underVoltage: true }],
  ])('a leader that is %s for half a minute is demoted, at most once an hour', (_, vitals) => {
    const shelf = three();
    shelf.vitals = { pi1: vitals };
    expect(shelf.for(45)).toEqual(['pause pi1']);
    expect(shelf.for(2).slice(0, 2)).toEqual(demoted);
    expect(shelf.for(3_500)).toEqual([]);
    expect(shelf.for(120).slice(0, 2)).toEqual(demoted);
  });

  it('no other Pi hands over within that hour either', () => {
    const shelf = three();
    const labels = (ms: number) => ({ ...node('pi3').labels, 'pi-swarm.handed-over': `${1e12 + shelf.nowMs + ms}` });
    shelf.nodes = [
      manager('pi1'),
      manager('pi2'),
      node('pi3', { labels: labels(-60_000), state: 'down' }),
      manager('pi4'),
    ];
    shelf.vitals = { pi1: HOT };
    expect(shelf.for(120)).toEqual(['pause pi1']);
    // Written by a clock that was wrong by days.
    shelf.nodes = shelf.nodes.map(it => (it.hostname === 'pi3' ? { ...it, labels: labels(1e9) } : it));
    expect(shelf.for(3)).toEqual(demoted);
  });

  it.each<[string, (shelf: Shelf) => void]>([
    ['its memory is full, which the next one may be as well', shelf => (shelf.vitals = { pi1: { memoryPercent: 99 } })],
    ['all managers are unwell', shelf => (shelf.vitals = { pi1: HOT, pi2: HOT, pi3: HOT })],
    [
      'two would be left, of which none can be lost',
      shelf => (shelf.nodes = [manager('pi1'), manager('pi2'), node('pi3', { state: 'down' })]),
    ],
    [
      'of another manager nothing is heard',
      shelf => (shelf.nodes[2] = manager('pi3', { reachable: false, state: 'down' })),
    ],
    ['work is missing', shelf => (shelf.more = { services: [{ ...service('web'), running: 0 }] })],
    ['a service is updated', shelf => (shelf.more = { services: [{ ...service('web'), updating: true }] })],
    ['another Pi is about to go', shelf => (shelf.intents = { pi3: 'shutdown' })],
  ])('not when %s', (_, change) => {
    const shelf = three();
    shelf.vitals = { pi1: HOT };
    change(shelf);
    expect(shelf.for(50)).not.toContain('demote pi1');
  });

  it.each([
    ['shutdown', true],
    ['drain', false],
  ])('also beside a Pi that stays on without work (%s)', (mark, isStopped) => {
    const labels = { ...node('pi4').labels, 'pi-swarm.leaving': mark };
    const shelf = new Shelf([...three().nodes, node('pi4', { labels, availability: 'drain' })]);
    if (isStopped) shelf.more = { peers: shelf.facts().peers.filter(({ status }) => status.name !== 'pi4') };
    shelf.vitals = { pi1: HOT };
    expect(shelf.for(100)).toContain('demote pi1');
  });

  it('another one becomes a manager before, and has been one for some seconds', () => {
    const shelf = new Shelf([manager('pi1'), manager('pi2'), manager('pi3'), node('pi4')]);
    shelf.vitals = { pi1: HOT };
    expect(shelf.for(45)).toEqual(['pause pi1']);
    expect(shelf.for(2)).toEqual(['promote pi4']);
    expect(shelf.for(2)).toEqual([]);
    expect(shelf.for(3).slice(0, 2)).toEqual(demoted);
  });

  it('not while it gets better', () => {
    const shelf = three();
    shelf.vitals = { pi1: HOT };
    shelf.for(30);
    shelf.vitals = { pi1: COOL };
    expect(shelf.for(59)).toEqual([]);
  });

  it('a well worker becomes the next manager before an unwell one, and an unwell one rather than none', () => {
    const shelf = new Shelf([manager('pi1'), manager('pi2'), node('pi3'), node('pi4')]);
    shelf.more = { wish: { ...WISH, managers: 1 } };
    shelf.nodes = [manager('pi1'), node('pi2'), node('pi3'), node('pi4')];
    shelf.vitals = { pi2: HOT };
    expect(shelf.for(20)).toEqual(['pause pi2']);
    shelf.more = {};
    expect(shelf.for(1)).toEqual(['promote pi3']);
    shelf.nodes = [manager('pi1'), shelf.at('pi2'), manager('pi3')];
    expect(shelf.for(1)).toEqual(['promote pi2']);
  });
});
