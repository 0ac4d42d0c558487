/** Two Pis of one name: both work, the second takes another one and says so. */
import { expect, test } from 'vitest';
import { otherName } from '../../src/core/names.ts';
import { noticesOf } from '../../src/core/notices.ts';
import { type Facts, observe } from '../../src/core/observe.ts';
import { sentences } from '../../src/core/step.ts';
import { turn } from '../../src/core/turn.ts';
import { active, facts, idOf, peer } from './build.ts';

const pi2 = (more: Partial<Facts>): Facts => {
  const all = facts(more);
  return { ...all, self: { ...all.self, id: idOf('pi2'), name: 'pi2' } };
};

/** pi2 as it sees pi1 and another Pi that has been given its name. */
const called = (other: string, more: Parameters<typeof peer>[1] = {}) => ({
  ...pi2({ mayRename: true }),
  peers: [peer(other, { name: 'pi2', ...more })],
});
const plan = (all: ReturnType<typeof called>) => sentences(turn(all).decision);

test('the one with the larger id takes another name, before it joins or starts a swarm', () => {
  expect(plan(called('pi1'))).toEqual(['rename pi2 to pi2-0000']);
});

test('the one with the smaller id keeps it', () => {
  expect(plan(called('pi3'))).not.toContain('rename pi2 to pi2-0000');
});

test('who is in the swarm already keeps its name, whatever its id', () => {
  expect(plan(called('pi3', { swarm: active('pi3') }))).toEqual(['rename pi2 to pi2-0000']);
});

test('capital letters make no difference', () => {
  expect(plan(called('pi1', { name: 'PI2' }))).toEqual(['rename pi2 to pi2-0000']);
});

test('where the system is not the image, a name is never taken away', () => {
  const { mayRename: _, ...rest } = called('pi1');
  expect(sentences(turn(rest).decision).join()).not.toMatch(/rename/);
});

test('a long name is cut, so that it stays a name', () => {
  expect(otherName('x'.repeat(63), '3fa2000000000000')).toBe(`${'x'.repeat(58)}-3fa2`);
});

test('it says so as long as it has that name', () => {
  const kinds = (name: string) => {
    const all = pi2({ memory: { intent: 'stay', renamedFrom: 'pi1' } });
    const world = observe({ ...all, self: { ...all.self, name } });
    return noticesOf(world, { refusals: { count: 0 }, clockBehind: false, notices: [] }).map(({ kind }) => kind);
  };
  expect(kinds('pi1-3fa2')).toContain('renamed');
  expect(kinds('pi1')).not.toContain('renamed');
});
