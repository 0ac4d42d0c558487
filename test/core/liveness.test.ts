import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BACKGROUND_INTERVAL_MS,
  excuseAfterPause,
  FULL_MESH_PIS_MAX,
  heartbeatDueMs,
  heartbeatTargets,
  hubsOf,
  livenessOf,
  type Talker,
} from '../../src/core/liveness.ts';

const alone = (id: string): Talker => ({ id, swarm: { state: 'none' } });
const member = (id: string, role: 'manager' | 'worker'): Talker => ({
  id,
  swarm: { state: 'active', swarmId: 's', nodeId: `n-${id}`, role, leader: false, quorum: true, managers: [] },
});
const ids = (count: number): string[] => Array.from({ length: count }, (_, i) => `pi${String(i).padStart(4, '0')}`);
const near = (self: Talker, peers: Talker[]): string[] =>
  heartbeatTargets(self, peers)
    .filter(target => target.intervalMs === 1000)
    .map(target => target.id);

describe('livenessOf', () => {
  it.each([
    [0, 'alive'],
    [1000, 'alive'],
    [2000, 'alive'],
    [2499, 'alive'],
    [2500, 'suspect'],
    [3999, 'suspect'],
    [4000, 'dead'],
    [86_400_000, 'dead'],
  ])('says after %i ms of silence: %s', (silentMs, expected) => {
    expect(livenessOf({ nowMs: 10_000 + silentMs, lastSeenMs: 10_000, intervalMs: 1000 })).toBe(expected);
  });

  it('survives a pause of two seconds on top of a whole interval without calling anybody dead', () => {
    expect(livenessOf({ nowMs: 3000, lastSeenMs: 0, intervalMs: 1000 })).not.toBe('dead');
  });

  it('knows a dead Pi within five seconds even when looked at only each quarter of a second', () => {
    expect(livenessOf({ nowMs: 4250, lastSeenMs: 0, intervalMs: 1000 })).toBe('dead');
  });

  it('never gets better by silence', () => {
    const order = { alive: 0, suspect: 1, dead: 2 };
    fc.assert(
      fc.property(fc.nat(20_000), fc.nat(20_000), fc.integer({ min: 10, max: 60_000 }), (a, more, intervalMs) => {
        const at = (nowMs: number): number => order[livenessOf({ nowMs, lastSeenMs: 0, intervalMs })];
        return at(a) <= at(a + more);
      }),
    );
  });

  it('takes a word from the future as alive', () => {
    expect(livenessOf({ nowMs: 0, lastSeenMs: 50_000, intervalMs: 1000 })).toBe('alive');
  });
});

describe('a pause of this process itself', () => {
  it('is no reason to call anybody dead, but gives the really dead only 1.5 intervals more', () => {
    const excusedUntilMs = excuseAfterPause(20_000, 15_000, 1000);
    const at = (nowMs: number) => livenessOf({ nowMs, lastSeenMs: 5000, intervalMs: 1000, excusedUntilMs });
    expect(at(20_000)).toBe('suspect');
    expect(at(21_400)).toBe('suspect');
    expect(at(21_500)).toBe('dead');
  });

  it('is not assumed for an ordinary tick', () => {
    expect(excuseAfterPause(20_000, 250, 1000)).toBeUndefined();
  });
});

describe('heartbeatTargets', () => {
  it('are all peers while the cluster is small', () => {
    const [first = '', ...rest] = ids(FULL_MESH_PIS_MAX);
    expect(near(alone(first), rest.map(alone))).toEqual(rest);
  });

  it('are the managers only, for a worker of a large cluster', () => {
    const all = ids(200).map((id, i) => member(id, i % 40 === 7 ? 'manager' : 'worker'));
    const worker = all[0];
    expect(worker && near(worker, all.slice(1))).toEqual(['pi0007', 'pi0047', 'pi0087', 'pi0127', 'pi0167']);
  });

  it('are all, for a manager of a large cluster', () => {
    const all = ids(200).map((id, i) => member(id, i === 7 ? 'manager' : 'worker'));
    const manager = all[7];
    const peers = all.filter(talker => talker !== manager);
    expect(manager && near(manager, peers)).toHaveLength(199);
  });

  it('are the five lowest ids while a large cluster has no manager yet', () => {
    const all = ids(30).map(alone);
    expect([...hubsOf(all)]).toEqual(ids(5));
    expect(near(alone('pi0020'), all.slice(0, 20))).toEqual(ids(5));
  });

  it('agree on both sides about how often they talk', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 60 }), fc.nat(), fc.nat(), fc.nat(4), (count, a, b, managers) => {
        const all = ids(count).map((id, i) => (i < managers ? member(id, 'manager') : alone(id)));
        const one = all[a % count];
        const two = all[b % count];
        if (!one || !two || one === two) return true;
        const interval = (self: Talker, other: Talker): number | undefined =>
          heartbeatTargets(
            self,
            all.filter(talker => talker !== self),
          ).find(target => target.id === other.id)?.intervalMs;
        return interval(one, two) === interval(two, one);
      }),
    );
  });

  it('leave the others on a slow background check instead of forgetting them', () => {
    const all = ids(30).map(alone);
    const slow = heartbeatTargets(alone('pi0029'), all.slice(0, 29)).filter(target => target.intervalMs !== 1000);
    expect(slow).toHaveLength(24);
    expect(new Set(slow.map(target => target.intervalMs))).toEqual(new Set([BACKGROUND_INTERVAL_MS]));
  });
});

describe('heartbeatDueMs', () => {
  it('lets the lower id speak each interval and the higher one only after silence', () => {
    expect(heartbeatDueMs('a', 'b', 1000)).toBe(1000);
    expect(heartbeatDueMs('b', 'a', 1000)).toBe(1500);
  });
});
