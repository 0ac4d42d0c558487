import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { noticesOf } from '../../src/core/notices.ts';
import type { Facts, SwarmSettings, World } from '../../src/core/observe.ts';
import { baseHeartbeatMs, heartbeatAt, mostLevel } from '../../src/core/patience.ts';
import { type Decision, sentences } from '../../src/core/step.ts';
import { turn } from '../../src/core/turn.ts';
import type { Peer, SwarmNode } from '../../src/core/world.ts';
import { engineSwarm, facts, leader, leading, manager, node, nodeIdOf, peer, TAG, WISH } from './build.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const START_WALL_MS = Date.parse('2026-03-01T12:00:00Z');

/** pi1, the leader, looks at a swarm whose settings it changes for real. */
class Shelf {
  nowMs = 1_000;
  wallMs = START_WALL_MS;
  wish = { ...WISH };
  peers: Peer[] | undefined;
  leader = true;
  settings: SwarmSettings | undefined = {
    dispatcherHeartbeatMs: 1_000,
    nodeCertExpiryMs: WISH.nodeCertExpiryMs,
    labels: { 'pi-swarm.tag': TAG },
  };
  /** How often the swarm was written to. */
  writes = 0;
  nodes: SwarmNode[];
  world: World | undefined;
  decision: Decision | undefined;

  constructor(pis = 4) {
    this.nodes = Array.from({ length: pis }, (_, index) =>
      index === 0 ? manager('pi1') : node(`pi${index + 1}`, index === 1 ? { role: 'manager', leader: false } : {}),
    );
    this.look();
  }

  get labels(): Record<string, string> {
    return this.settings?.labels ?? {};
  }

  get level(): string | undefined {
    return this.labels['pi-swarm.patience'];
  }

  get heartbeatMs(): number | undefined {
    return this.settings?.dispatcherHeartbeatMs;
  }

  /** Both clocks go on. */
  wait(ms: number): this {
    this.nowMs += ms;
    this.wallMs += ms;
    return this;
  }

  /** One turn of the leader, or of one that does not lead; `tune` is carried out. @returns it as a sentence, or nothing */
  look(): string[] {
    const nodes = this.leader ? this.nodes : this.nodes.map(it => ({ ...it, leader: it.hostname === 'pi2' }));
    const facts: Partial<Facts> = { nowMs: this.nowMs, wallMs: this.wallMs, wish: this.wish };
    if (this.settings !== undefined) facts.settings = structuredClone(this.settings);
    const now = leading(nodes, facts);
    if (this.settings === undefined) delete now.settings;
    const result = turn(this.peers === undefined ? now : { ...now, peers: this.peers }, this.world);
    this.world = result.world;
    this.decision = result.decision;
    for (const step of result.decision.steps) {
      if (step.action !== 'tune' || this.settings === undefined) continue;
      const { dispatcherHeartbeatMs, nodeCertExpiryMs } = step;
      this.settings = { dispatcherHeartbeatMs, nodeCertExpiryMs, labels: { ...this.labels, ...step.labels } };
      this.writes++;
    }
    return sentences(result.decision).filter(it => it.startsWith('tune '));
  }

  set(name: string, more: Partial<SwarmNode>): this {
    this.nodes = this.nodes.map(it => (it.hostname === name ? { ...it, ...more } : it));
    return this;
  }

  go(name: string): this {
    this.set(name, { state: 'down' }).look();
    return this;
  }

  back(name: string): this {
    this.set(name, { state: 'ready' }).look();
    return this;
  }

  flap(name: string, times = 1, downMs = 5_000): this {
    for (let time = 0; time < times; time++) this.go(name).wait(downMs).back(name).wait(1_000);
    return this;
  }

  /** A leader that was started a moment ago: it remembers nothing. */
  restart(): this {
    this.world = undefined;
    return this;
  }

  notices() {
    if (this.world === undefined) throw new Error('it has not looked yet');
    return noticesOf(this.world, { refusals: { count: 0 }, clockBehind: false, notices: [] });
  }
}

const patient = (level: number, ageMs = 0, shelf = new Shelf()): Shelf => {
  shelf.settings = {
    dispatcherHeartbeatMs: heartbeatAt(1_000, level),
    nodeCertExpiryMs: WISH.nodeCertExpiryMs,
    labels: {
      'pi-swarm.tag': TAG,
      'pi-swarm.patience': String(level),
      'pi-swarm.patience-since': new Date(shelf.wallMs - ageMs).toISOString(),
      'pi-swarm.patience-node': nodeIdOf('pi3'),
    },
  };
  shelf.look();
  return shelf;
};

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
