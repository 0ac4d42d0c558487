import { describe, expect, it } from 'vitest';
import { show } from '../../src/core/show.ts';
import type { Snapshot } from '../../src/core/snapshot.ts';
import { turn } from '../../src/core/turn.ts';
import type { Vitals } from '../../src/core/world.ts';
import { COOL, HOT, type Shelf, three } from './shelf.ts';

function shown(shelf: Shelf): Snapshot {
  const { world, decision, status } = turn(shelf.facts(), shelf.world);
  return show(world, {
    refusals: { count: 0 },
    clockBehind: false,
    notices: [],
    doing: decision,
    mesh: { mode: 'kernel', ports: 0 },
    mqtt: { state: 'off' },
    own: status,
  });
}

const rowOf = (shelf: Shelf, name: string) => shown(shelf).cluster.pis.find(pi => pi.name === name);
const noticesOf = (shelf: Shelf) => shown(shelf).notices.map(({ kind, text }) => `${kind}: ${text}`);

describe('an unwell Pi is shown', () => {
  it.each<[string, Vitals, RegExp]>([
    ['hot', { temperatureCelsius: 84.4 }, /^pi2 is too hot \(84 °C now\); it gets no new work while that lasts\.$/],
    ['under-voltage', { underVoltage: true }, /^pi2 gets too little voltage; it gets no new work/],
    ['throttled', { throttled: true }, /^pi2 is slowed down by its firmware/],
    ['memory-full', { memoryPercent: 97 }, /^pi2 has hardly any memory left \(97 % used now\)/],
    ['disk-full', { diskPercent: 99 }, /^pi2 has hardly any room left on its disk \(99 % used now\)/],
  ])('%s: with the reason in its row, and a notice with the cure', (word, vitals, text) => {
    const shelf = three();
    expect(rowOf(shelf, 'pi2')).not.toHaveProperty('unwell');
    shelf.vitals = { pi2: vitals };
    shelf.for(20);
    expect(rowOf(shelf, 'pi2')).toMatchObject({ unwell: word, availability: 'pause' });
    const notice = shown(shelf).notices.find(({ kind }) => kind === 'pi-unwell');
    expect(notice?.text).toMatch(text);
    expect(notice?.cure).toBeTruthy();
  });

  it('still in its last minute, with the value that is better already', () => {
    const shelf = three();
    shelf.vitals = { pi2: HOT };
    shelf.for(20);
    shelf.vitals = { pi2: COOL };
    shelf.for(30);
    expect(noticesOf(shelf)).toEqual(['pi-unwell: pi2 is too hot (50 °C now); it gets no new work while that lasts.']);
    shelf.for(40);
    expect(noticesOf(shelf)).toEqual([]);
  });

  it('and said to get work all the same where it does', () => {
    const shelf = three();
    shelf.vitals = { pi1: HOT, pi2: HOT, pi3: HOT };
    shelf.for(20);
    expect(noticesOf(shelf)).toHaveLength(3);
    for (const line of noticesOf(shelf)) expect(line).toMatch(/^pi-unwell: pi\d is too hot .*it still gets work/);
  });

  it('once: what the Pi says of itself from the first second is taken over by what lasts', () => {
    const shelf = three();
    shelf.vitals = { pi1: { ...HOT, diskPercent: 92 } };
    shelf.for(5);
    expect(noticesOf(shelf)).toEqual([
      'hot: This Pi is 84 °C hot and slows down.',
      'disk-full: The disk is 92 % full.',
    ]);
    shelf.for(15);
    expect(noticesOf(shelf)).toEqual([
      'disk-full: The disk is 92 % full.',
      expect.stringMatching(/^pi-unwell: pi1 is too hot/),
    ]);
  });
});
