/** A manager whose engine is lost to its swarm while the others go on. */
import { describe, expect, it } from 'vitest';
import { noticesOf } from '../../src/core/notices.ts';
import type { Facts } from '../../src/core/observe.ts';
import { turn } from '../../src/core/turn.ts';
import type { ActiveSwarm } from '../../src/core/world.ts';
import { active, cluster, engineSwarm, facts, leader, manager, nodeIdOf, peer, plan, WISH } from './build.ts';

const ADDRESSES = ['10.0.0.1:2377', '10.0.0.2:2377', '10.0.0.3:2377'];
const memory = { intent: 'stay' as const, swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') };
const leads = (managers = ADDRESSES, more: Partial<ActiveSwarm> = {}) =>
  peer('pi2', { swarm: leader('pi2', { managers, ...more }) });
const follows = (name: string) => peer(name, { swarm: active(name, { role: 'manager', quorum: true }) });
const OTHERS = [leads(), follows('pi3')];

/** pi1's agent was started anew: its engine answers, but has never said in which swarm it is. */
const silent = (more: Partial<Facts> = {}): Facts =>
  facts({ engine: 'slow', engineSwarm: undefined, swarmSilent: true, memory, peers: OTHERS, ...more });

/** pi1's engine says that it is a manager and cannot list the nodes. */
const leaderless = (more: Partial<Facts> = {}): Facts =>
  facts({
    engineSwarm: engineSwarm('pi1', { controlAvailable: true, cluster: cluster() }),
    memory,
    peers: OTHERS,
    ...more,
  });

const ANEW = [
  'abandon the swarm: its engine has been lost to the swarm for 90 s, and pi2 leads it without this Pi',
  'forget the swarm',
];

describe.each([
  ['says nothing of its swarm', silent],
  ['has no leader', leaderless],
])('a manager whose engine %s', (_how, stuck) => {
  it('starts anew when the others have gone on without it for a while', () => {
    expect(plan(stuck(), 89_000).join()).toContain('wait');
    expect(plan(stuck(), 90_000)).toEqual(ANEW);
  });

  it('gives the leader its turn first, however patient that one is', () => {
    const wish = { ...WISH, replaceAfterMs: 600_000 };
    expect(plan(stuck({ wish }), 899_000).join()).toContain('wait');
    expect(plan(stuck({ wish }), 900_000).join()).toContain('abandon');
  });

  it.each([
    ['nobody is there', []],
    ['the others have no majority', [leads(ADDRESSES, { leader: false, quorum: false }), peer('pi3')]],
    ['there are two managers: the other one counts on this one', [leads(ADDRESSES.slice(0, 2))]],
    [
      'the third manager is gone: the leader counts on this one',
      [leads(), { ...follows('pi3'), liveness: 'dead' as const }],
    ],
    [
      'the third manager has not been heard for a moment',
      [leads(), { ...follows('pi3'), liveness: 'suspect' as const }],
    ],
    ['the leader is only suspected to live', [{ ...leads(), liveness: 'suspect' as const }, follows('pi3')]],
    ['the leader does not say who the managers are', [leads([]), follows('pi3')]],
    ['the leader is that of another swarm', [leads(ADDRESSES, { swarmId: 'swarm-b' }), follows('pi3')]],
    ['only one of five is known to go on', [leads([...ADDRESSES, '10.0.0.4:2377', '10.0.0.5:2377']), follows('pi3')]],
  ])('waits for ever while %s', (_why, peers) => {
    expect(plan(stuck({ peers }), 1e7).join()).toContain('wait');
  });

  it('counts from when the others went on: a leader that has only just been elected is given time', () => {
    const now = stuck();
    const alone = turn({ ...now, peers: [], nowMs: now.nowMs - 1e7 }).world;
    const elected = turn({ ...now, nowMs: now.nowMs - 89_000 }, alone).world;
    expect(turn(now, elected).decision.steps).toEqual([]);
    expect(turn({ ...now, nowMs: now.nowMs + 1_000 }, elected).decision.rule).toBe('F1');
  });

  it('goes by force when it wants to leave', () => {
    const leaving = stuck({ memory: { ...memory, intent: 'leave' }, wish: { ...WISH, drainTimeoutMs: 1e8 } });
    expect(plan(leaving, 90_000)[0]).toMatch(/^leave the swarm.*force/);
  });

  it('does not start anew when its Pi is being switched off', () => {
    expect(plan(stuck({ memory: { ...memory, intent: 'shutdown' } }), 1e7).join()).not.toContain('abandon');
  });
});

it('a worker is never taken for one: its engine may be slow, and the leader does not call it a manager', () => {
  const worker = { ...leads(ADDRESSES.slice(1, 2)), liveness: 'alive' as const };
  expect(plan(silent({ peers: [worker] }), 1e7)).toEqual(['wait: the engine is slow']);
});

it('an engine that is slow in everything is waited for', () => {
  const { swarmSilent: _, ...slow } = silent();
  expect(plan(slow, 1e7)).toEqual(['wait: the engine is slow']);
});

it('an engine that is away is waited for, whatever it said last', () => {
  expect(plan(leaderless({ engine: 'absent' }), 1e7)).toEqual(['wait: the engine is absent']);
  expect(plan(leaderless({ engine: 'slow' }), 1e7)).toEqual(['wait: the engine is slow']);
});

it('an engine that never answers for the swarm does not hold up a leave for longer than any other', () => {
  const leaving = silent({ memory: { ...memory, intent: 'leave' }, peers: [] });
  expect(plan(leaving, 59_000).join()).toContain('wait');
  expect(plan(leaving, 60_000)[0]).toMatch(/^leave the swarm.*force/);
});

it('a manager that is one of the majority stays, whatever it is told of others', () => {
  const nodes = [manager('pi1', { leader: false }), manager('pi2', { leader: true }), manager('pi3')];
  expect(plan(leaderless({ nodes }), 1e7).join()).not.toContain('abandon');
});

it('a person reads that it comes back by itself, and nothing of it while an election keeps the engine waiting', () => {
  const all = (now: Facts) => noticesOf(turn(now).world, { refusals: { count: 0 }, clockBehind: false, notices: [] });
  const kinds = (now: Facts) => all(now).map(({ kind }) => kind);
  expect(kinds(silent())).toEqual(['swarm-silent']);
  expect(all(silent())[0]?.cure).toContain('by itself in about 90 s if the other managers are up');
  expect(kinds(leaderless({ swarmSilent: true }))).not.toContain('swarm-silent');
});
