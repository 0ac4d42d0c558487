import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { noticesOf } from '../../src/core/notices.ts';
import type { Facts } from '../../src/core/observe.ts';
import { baseHeartbeatMs } from '../../src/core/patience.ts';
import { turn } from '../../src/core/turn.ts';
import { engineSwarm, facts, leader, leading, nodeIdOf, peer, TAG, WISH } from './build.ts';
import { DAY_MS, MINUTE_MS, patient, Shelf } from './flapping-shelf.ts';

describe('less patience', () => {
  it('comes with each calm day, one step at a time, down to the base', () => {
    const shelf = patient(3);
    const seen: (number | undefined)[] = [];
    for (let day = 1; day <= 4; day++) {
      expect(shelf.wait(DAY_MS - MINUTE_MS).look()).toEqual([]);
      shelf.wait(2 * MINUTE_MS).look();
      seen.push(shelf.heartbeatMs);
    }
    expect(seen).toEqual([4_000, 2_000, 1_000, 1_000]);
    expect(shelf.level).toBe('0');
  });

  it('does not come on a day with a single flap', () => {
    const shelf = patient(2)
      .wait(20 * 60 * MINUTE_MS)
      .flap('pi3');
    shelf.wait(20 * 60 * MINUTE_MS).look();
    expect(shelf.level).toBe('2');
    shelf.wait(5 * 60 * MINUTE_MS).look();
    expect(shelf.level).toBe('1');
  });

  it('comes from a new leader too, once it has seen ten minutes of calm itself', () => {
    const shelf = patient(2, 3 * DAY_MS).restart();
    shelf.look();
    shelf.wait(9 * MINUTE_MS).look();
    expect(shelf.level).toBe('2');
    shelf.wait(2 * MINUTE_MS).look();
    expect(shelf.level).toBe('1');
  });

  it('is one step when the clock jumps forward by years', () => {
    const shelf = patient(3).wait(20 * MINUTE_MS);
    shelf.wallMs += 1_000 * DAY_MS;
    for (let minute = 0; minute < 60; minute++) shelf.wait(MINUTE_MS).look();
    expect(shelf.level).toBe('2');
  });

  it('comes a day later when the clock jumps back, not after years', () => {
    const shelf = patient(3).wait(20 * MINUTE_MS);
    shelf.wallMs -= 1_000 * DAY_MS;
    shelf.look();
    expect(shelf.labels['pi-swarm.patience-since']).toBe(new Date(shelf.wallMs).toISOString());
    shelf.wait(DAY_MS - MINUTE_MS).look();
    expect(shelf.level).toBe('3');
    shelf.wait(2 * MINUTE_MS).look();
    expect(shelf.level).toBe('2');
  });

  it('leaves a date alone that is ahead by what clocks differ', () => {
    const shelf = patient(1, -30 * MINUTE_MS);
    expect(shelf.writes).toBe(0);
  });
});

describe('what somebody else did to the swarm', () => {
  it('a heartbeat that was set by hand is set again to what the patience asks for', () => {
    const shelf = patient(1).restart();
    if (shelf.settings) shelf.settings.dispatcherHeartbeatMs = 1_000;
    expect(shelf.look()).toEqual(['tune the swarm: dispatcher heartbeat 2000 ms']);
    expect(shelf.level).toBe('1');
  });

  it('removed labels mean no patience', () => {
    const shelf = patient(2);
    if (shelf.settings) shelf.settings.labels = { 'pi-swarm.tag': TAG };
    expect(shelf.look()).toEqual(['tune the swarm: dispatcher heartbeat 1000 ms']);
    expect(shelf.labels).toEqual({ 'pi-swarm.tag': TAG });
  });

  it.each([
    ['', '0', 1_000],
    ['many', '0', 1_000],
    ['-1', '0', 1_000],
    ['1.5', '0', 1_000],
    ['1e3', '0', 1_000],
    ['999999999999999999999', '0', 1_000],
    ['02', '2', 4_000],
    ['7', '3', 5_000],
  ])('a level of «%s» becomes %s, once', (text, level, ms) => {
    const shelf = patient(1);
    if (shelf.settings) shelf.settings.labels['pi-swarm.patience'] = text;
    shelf.look();
    expect([shelf.level, shelf.heartbeatMs, shelf.writes]).toEqual([level, ms, 1]);
    expect(shelf.look()).toEqual([]);
  });

  it.each([undefined, '', 'yesterday', '2026-99-99'])('a date of «%s» becomes today, and the level stays', text => {
    const shelf = patient(2);
    const { 'pi-swarm.patience-since': _, ...labels } = shelf.labels;
    if (shelf.settings)
      shelf.settings.labels = { ...labels, ...(text === undefined ? {} : { 'pi-swarm.patience-since': text }) };
    shelf.look();
    expect(shelf.labels['pi-swarm.patience-since']).toBe(new Date(shelf.wallMs).toISOString());
    expect([shelf.level, shelf.writes]).toEqual(['2', 1]);
  });
});

describe('what people see', () => {
  it('names the Pi, what it did, and what to check', () => {
    const shelf = new Shelf().flap('pi3', 3);
    shelf.look();
    expect(shelf.notices()).toMatchObject([
      {
        severity: 'info',
        kind: 'patience',
        text: 'The cluster waits longer before it gives a silent Pi up (2 s heartbeats), because pi3 came and went 3 times within 10 minutes.',
        cure: expect.stringMatching(/power supply.*cable.*Wi-Fi/),
      },
    ]);
  });

  it('is the same on every Pi, as the leader says it', () => {
    const shelf = new Shelf().flap('pi3', 3);
    shelf.look();
    const { status } = turn(leading(shelf.nodes, { settings: shelf.settings }));
    expect(status.patience).toEqual({ heartbeatMs: 2_000, name: 'pi3' });
    const says = peer('pi1', { swarm: leader('pi1'), patience: status.patience });
    const worker = facts({
      engineSwarm: engineSwarm('pi2'),
      memory: { intent: 'stay', swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi2') },
      peers: [says],
    });
    const seen = (now: Facts) =>
      noticesOf(turn(now).world, { refusals: { count: 0 }, clockBehind: false, notices: [] }).filter(
        ({ kind }) => kind === 'patience',
      );
    expect(seen(worker)).toEqual(shelf.notices());
    expect(seen({ ...worker, peers: [{ ...says, liveness: 'dead' }] })).toEqual([]);
    expect(seen({ ...worker, peers: [peer('pi1', { swarm: says.status.swarm })] })).toEqual([]);
  });

  it('says it without a name when that Pi is gone, and nothing when the base is reached again', () => {
    const shelf = patient(1);
    shelf.nodes = shelf.nodes.filter(({ hostname }) => hostname !== 'pi3');
    shelf.look();
    expect(shelf.notices()[0]?.text).toContain('because a Pi came and went');
    shelf.wait(DAY_MS).look();
    shelf.look();
    expect(shelf.notices()).toEqual([]);
  });
});

const moment = fc.record({
  waitMs: fc.integer({ min: 0, max: 2 * DAY_MS }),
  jumpMs: fc.oneof(fc.constant(0), fc.integer({ min: -3_000 * DAY_MS, max: 3_000 * DAY_MS })),
  flaps: fc.array(fc.tuple(fc.constantFrom('pi2', 'pi3', 'pi4'), fc.integer({ min: 1, max: 5 })), { maxLength: 3 }),
  label: fc.oneof(fc.constant(undefined), fc.string(), fc.integer({ min: -5, max: 99 }).map(String)),
  since: fc.oneof(
    fc.constant(undefined),
    fc.string(),
    fc.date({ noInvalidDate: true }).map(it => it.toISOString()),
  ),
  heartbeatMs: fc.constantFrom(undefined, 1_000, 2_000, 5_000, 60_000),
  restart: fc.boolean(),
});

describe('whatever happens, to the swarm and to the clock', () => {
  it('the heartbeat stays between base and 5 s, moves one step at a time, is written once, and little is remembered', () => {
    const base = fc.constantFrom('auto' as const, 1_000, 1_500, 2_000, 5_000, 30_000);
    fc.assert(
      fc.property(base, fc.array(moment, { maxLength: 20 }), (dispatcherHeartbeatMs, moments) => {
        const shelf = new Shelf();
        shelf.wish = { ...WISH, dispatcherHeartbeatMs };
        const baseMs = baseHeartbeatMs(dispatcherHeartbeatMs, 4);
        for (const it of moments) {
          shelf.wait(it.waitMs).wallMs += it.jumpMs;
          if (it.restart) shelf.restart();
          if (shelf.settings && it.label !== undefined) shelf.settings.labels['pi-swarm.patience'] = it.label;
          if (shelf.settings && it.since !== undefined) shelf.settings.labels['pi-swarm.patience-since'] = it.since;
          if (shelf.settings && it.heartbeatMs !== undefined) shelf.settings.dispatcherHeartbeatMs = it.heartbeatMs;
          shelf.look();
          for (const [name, times] of it.flaps) {
            const before = Number(shelf.level ?? 0);
            shelf.flap(name, times);
            expect(Math.abs(Number(shelf.level ?? 0) - before)).toBeLessThanOrEqual(Math.ceil(times / 3));
          }
          shelf.look();
          expect(shelf.heartbeatMs).toBeGreaterThanOrEqual(baseMs);
          expect(shelf.heartbeatMs).toBeLessThanOrEqual(Math.max(baseMs, 5_000));
          const { writes } = shelf;
          expect([shelf.look(), shelf.writes]).toEqual([[], writes]);
          const { downs = {}, flapsMs = {} } = shelf.world?.flapping ?? {};
          expect(Object.keys(downs).length).toBe(0);
          for (const flaps of Object.values(flapsMs)) expect(flaps.length).toBeLessThanOrEqual(3);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('forgets nodes that the swarm does not list any more', () => {
    const shelf = new Shelf().flap('pi3', 2).go('pi4');
    shelf.nodes = shelf.nodes.filter(({ hostname }) => hostname === 'pi1' || hostname === 'pi2');
    shelf.look();
    expect(shelf.world?.flapping).toMatchObject({ downs: {}, flapsMs: {} });
  });
});
