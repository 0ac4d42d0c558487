import { describe, expect, it } from 'vitest';
import { baseHeartbeatMs, heartbeatAt, mostLevel } from '../../src/core/patience.ts';
import { turn } from '../../src/core/turn.ts';
import { leading, node, nodeIdOf, peer, TAG, WISH } from './build.ts';
import { MINUTE_MS, patient, Shelf } from './flapping-shelf.ts';

describe('the heartbeat without flaps', () => {
  it.each([
    [1, 1_000],
    [29, 1_000],
    [30, 1_000],
    [31, 2_000],
    [100, 2_000],
    [101, 5_000],
    [1_000, 5_000],
  ])('is, with %i nodes, %i ms', (pis, ms) => {
    const shelf = new Shelf(pis);
    expect(shelf.heartbeatMs).toBe(ms);
    expect(shelf.look()).not.toContain(`tune the swarm: dispatcher heartbeat ${ms} ms`);
    expect(shelf.level).toBeUndefined();
  });

  it('counts nodes that are Down too: it does not change with each that goes and comes', () => {
    const shelf = new Shelf(31);
    shelf.go('pi31');
    expect(shelf.heartbeatMs).toBe(2_000);
  });

  it('is the one of the configuration where there is one', () => {
    const shelf = new Shelf(31);
    shelf.wish = { ...WISH, dispatcherHeartbeatMs: 3_000 };
    expect(shelf.look()).toEqual(['tune the swarm: dispatcher heartbeat 3000 ms']);
    expect(baseHeartbeatMs(20_000, 3)).toBe(20_000);
  });

  it.each([
    [1_000, [1_000, 2_000, 4_000, 5_000, 5_000]],
    [1_500, [1_500, 3_000, 5_000, 5_000]],
    [2_000, [2_000, 4_000, 5_000, 5_000]],
    [5_000, [5_000, 5_000]],
    [60_000, [60_000, 60_000]],
  ])('from %i ms on doubles up to 5 s', (baseMs, steps) => {
    expect(steps.map((_, level) => heartbeatAt(baseMs, level))).toEqual(steps);
    expect(mostLevel(baseMs)).toBe(steps.length - 2);
  });
});

describe('more patience', () => {
  it('comes with the third flap of one Pi within ten minutes, and says for whom', () => {
    const shelf = new Shelf().flap('pi3', 2);
    expect(shelf.level).toBeUndefined();
    shelf.wait(7 * MINUTE_MS).flap('pi3');
    expect(shelf.level).toBe('1');
    expect(shelf.heartbeatMs).toBe(2_000);
    expect(shelf.labels).toMatchObject({
      'pi-swarm.tag': TAG,
      'pi-swarm.patience-since': new Date(shelf.wallMs - 1_000).toISOString(),
      'pi-swarm.patience-node': nodeIdOf('pi3'),
    });
    expect(shelf.decision).toMatchObject({ rule: 'H1', why: 'pi3 came and went 3 times within 10 minutes' });
  });

  it('counts anew after each step, and ends at 5 s', () => {
    const shelf = new Shelf().flap('pi3', 3).flap('pi3', 2);
    expect(shelf.level).toBe('1');
    expect(shelf.flap('pi3').heartbeatMs).toBe(4_000);
    expect(shelf.flap('pi3', 3).heartbeatMs).toBe(5_000);
    const { writes } = shelf;
    shelf.flap('pi3', 50);
    expect([shelf.level, shelf.heartbeatMs]).toEqual(['3', 5_000]);
    // The date is renewed each ten minutes at most: 50 flaps in five minutes are no 50 writes to SD cards.
    expect(shelf.writes - writes).toBeLessThanOrEqual(1);
  });

  it.each<[string, (shelf: Shelf) => void]>([
    ['of three different Pis', it => it.flap('pi2').flap('pi3').flap('pi4')],
    ['that are outages: longer than 30 s', it => it.flap('pi3', 5, 31_000)],
    [
      'further apart than ten minutes',
      it =>
        it
          .flap('pi3', 2)
          .wait(5 * MINUTE_MS)
          .flap('pi3', 0)
          .wait(5 * MINUTE_MS)
          .flap('pi3', 2),
    ],
    [
      'of another kind: a new leader calls all nodes unknown at first',
      it => {
        for (let time = 0; time < 5; time++) {
          it.set('pi3', { state: 'unknown' }).look();
          it.wait(3_000).back('pi3').wait(1_000);
        }
      },
    ],
    [
      'from unknown over Down, as seen after a change of leader without ever having been Ready, back',
      it => {
        it.go('pi3').wait(2_000).set('pi3', { state: 'unknown' }).look();
        it.wait(2_000).back('pi3');
      },
    ],
    [
      'of a Pi that said that it shuts down',
      it => {
        for (let time = 0; time < 5; time++) {
          it.set('pi3', { labels: { ...node('pi3').labels, 'pi-swarm.leaving': 'shutdown' } }).look();
          it.go('pi3')
            .wait(20_000)
            .set('pi3', { labels: node('pi3').labels })
            .back('pi3')
            .wait(1_000);
        }
      },
    ],
    [
      'of a Pi whose agent said that it goes, although the leader came too late to label it',
      it => {
        it.peers = [peer('pi3', { intent: 'shutdown' }, { liveness: 'dead' })];
        it.flap('pi3', 5);
      },
    ],
    [
      'of a Pi that a person had drained',
      it => {
        it.set('pi3', { availability: 'drain' }).flap('pi3', 5);
      },
    ],
    [
      'of a Pi that was Down before this leader looked, the first time',
      it => {
        it.restart().go('pi3').wait(3_000).back('pi3');
        it.flap('pi3', 2);
      },
    ],
    [
      'that another leader saw: a new one counts anew',
      it => {
        it.flap('pi3', 2).leader = false;
        it.look();
        it.leader = true;
        it.flap('pi3', 2);
      },
    ],
  ])('does not come with flaps %s', (_what, act) => {
    const shelf = new Shelf();
    act(shelf);
    expect(shelf.level).toBeUndefined();
    expect(shelf.heartbeatMs).toBe(1_000);
  });

  it('comes also when the list of nodes could not be read in between', () => {
    const shelf = new Shelf().flap('pi3', 2).go('pi3');
    const nodes = shelf.nodes;
    const { world } = turn(
      { ...leading(nodes, { nowMs: shelf.nowMs, wallMs: shelf.wallMs }), nodes: undefined },
      shelf.world,
    );
    shelf.world = world;
    expect(shelf.wait(2_000).back('pi3').level).toBe('1');
  });

  it('waits until the settings can be read, and then comes all the same', () => {
    const shelf = patient(1).flap('pi3', 2);
    const { settings } = shelf;
    shelf.settings = undefined;
    shelf.flap('pi3');
    shelf.settings = settings;
    shelf.look();
    expect(shelf.level).toBe('2');
  });

  it('is of no use beside a base of 5 s and more', () => {
    const shelf = new Shelf();
    shelf.wish = { ...WISH, dispatcherHeartbeatMs: 10_000 };
    shelf.flap('pi3', 9);
    expect([shelf.level, shelf.heartbeatMs]).toEqual([undefined, 10_000]);
  });
});
