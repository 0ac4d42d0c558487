import { describe, expect, it } from 'vitest';
import type { SwarmTask, Vitals } from '../../src/core/world.ts';
import { manager, node, nodeIdOf, service, WISH } from './build.ts';
import { COOL, HOT, Shelf, three, WARM, waiting } from './shelf.ts';

describe('an unwell Pi gets no new work', () => {
  it.each<[string, Vitals, string]>([
    ['hotter than 80 °C', HOT, 'hot'],
    ['under-voltage', { underVoltage: true, throttled: true }, 'under-voltage'],
    ['throttled', { throttled: true }, 'throttled'],
    ['memory full', { memoryPercent: 96 }, 'memory-full'],
    ['disk full', { diskPercent: 95 }, 'disk-full'],
  ])('%s: paused with the reason after 15 s, active again after 60 s without', (_, vitals, word) => {
    const shelf = three();
    shelf.vitals = { pi2: vitals };
    expect(shelf.for(15)).toEqual([]);
    expect(shelf.for(5)).toEqual(['pause pi2']);
    expect(shelf.at('pi2')).toMatchObject({ availability: 'pause', labels: { 'pi-swarm.unwell': word } });
    expect(shelf.for(300)).toEqual([]);
    shelf.vitals = { pi2: { ...COOL, memoryPercent: 20, diskPercent: 20 } };
    expect(shelf.for(59)).toEqual([]);
    expect(shelf.for(5)).toEqual(['activate pi2']);
    expect(shelf.at('pi2').availability).toBe('active');
    expect(shelf.at('pi2').labels).not.toHaveProperty('pi-swarm.unwell');
  });

  it('stays in use where it is unwell for less than 15 s at a time, or below its limits', () => {
    const shelf = three();
    for (let peak = 0; peak < 20; peak += 1) {
      shelf.vitals = { pi2: HOT };
      expect(shelf.for(14)).toEqual([]);
      shelf.vitals = { pi2: WARM };
      expect(shelf.for(2)).toEqual([]);
    }
    shelf.vitals = { pi2: { temperatureCelsius: 79.9, memoryPercent: 94.9, diskPercent: 94.9 } };
    expect(shelf.for(100)).toEqual([]);
  });

  it('stays paused while it is only a little better, and until it has been better for a minute without a break', () => {
    const shelf = three();
    shelf.vitals = { pi2: HOT };
    shelf.for(20);
    shelf.vitals = { pi2: WARM };
    expect(shelf.for(600)).toEqual([]);
    shelf.vitals = { pi2: COOL };
    expect(shelf.for(50)).toEqual([]);
    shelf.vitals = { pi2: WARM };
    expect(shelf.for(1)).toEqual([]);
    shelf.vitals = { pi2: COOL };
    expect(shelf.for(59)).toEqual([]);
    expect(shelf.for(3)).toEqual(['activate pi2']);
  });

  it('has to be well for longer after each relapse, at most half an hour, and is trusted anew after a calm hour', () => {
    const shelf = three();
    const calmSeconds = () => {
      shelf.vitals = { pi2: HOT };
      expect(shelf.for(20)).toEqual(['pause pi2']);
      shelf.vitals = { pi2: COOL };
      let seconds = 0;
      for (; shelf.for(10).length === 0; seconds += 10) expect(seconds).toBeLessThan(2_000);
      return seconds;
    };
    expect([1, 2, 3, 4, 5, 6, 7].map(calmSeconds)).toEqual([60, 120, 240, 480, 960, 1_800, 1_800]);
    shelf.for(3_600);
    expect(calmSeconds()).toBe(60);
  });

  it('throttled for half a minute of every two minutes, it is written a few times, not for ever', () => {
    const shelf = three();
    for (let round = 0; round < 60; round += 1) {
      shelf.vitals = { pi2: { throttled: true } };
      shelf.for(30);
      shelf.vitals = { pi2: {} };
      shelf.for(90);
    }
    expect(shelf.writes).toBe(3);
  });

  it('follows the limits of the configuration', () => {
    const shelf = three();
    shelf.more = { wish: { ...WISH, health: { ...WISH.health, temperatureCelsius: 70, diskPercent: 101 } } };
    shelf.vitals = { pi2: { temperatureCelsius: 72 }, pi3: { diskPercent: 100 } };
    expect(shelf.for(30)).toEqual(['pause pi2']);
  });

  it('says what ails it when that changes', () => {
    const shelf = three();
    shelf.vitals = { pi2: { ...HOT, diskPercent: 97 } };
    shelf.for(20);
    shelf.vitals = { pi2: { ...COOL, diskPercent: 97 } };
    expect(shelf.for(100)).toEqual(['label pi2']);
    expect(shelf.at('pi2')).toMatchObject({ availability: 'pause', labels: { 'pi-swarm.unwell': 'disk-full' } });
  });

  it.each(['pause', 'drain'] as const)('leaves a %s by a person alone', availability => {
    const shelf = three();
    shelf.nodes = [manager('pi1'), manager('pi2', { availability }), manager('pi3')];
    shelf.vitals = { pi2: HOT };
    expect(shelf.for(60)).toEqual([]);
    shelf.vitals = { pi2: COOL };
    expect(shelf.for(100)).toEqual([]);
  });

  it('leaves it to a person who activates an unwell Pi, or drains it', () => {
    for (const availability of ['active', 'drain'] as const) {
      const shelf = three();
      shelf.vitals = { pi2: HOT };
      shelf.for(20);
      shelf.nodes = shelf.nodes.map(it => (it.hostname === 'pi2' ? { ...it, availability } : it));
      expect(shelf.for(60)).toEqual([]);
      shelf.vitals = { pi2: COOL };
      expect(shelf.for(70)).toEqual(['label pi2']);
      expect(shelf.at('pi2')).toMatchObject({ availability, labels: { 'pi-swarm.id': expect.any(String) } });
      expect(shelf.at('pi2').labels).not.toHaveProperty('pi-swarm.unwell');
    }
  });

  it('leaves a Pi alone that is about to go', () => {
    const shelf = three();
    const leaving = { ...node('pi2').labels, 'pi-swarm.leaving': 'shutdown' };
    shelf.nodes = [manager('pi1'), node('pi2', { labels: leaving, availability: 'drain' }), manager('pi3')];
    shelf.vitals = { pi2: HOT };
    shelf.intents = { pi2: 'shutdown' };
    expect(shelf.for(60)).toEqual([]);
    expect(shelf.at('pi2')).toMatchObject({ availability: 'drain', labels: leaving });
  });

  it('is not used again because it is needed, when it is about to go', () => {
    const shelf = three();
    shelf.vitals = { pi2: HOT };
    shelf.for(20);
    shelf.intents = { pi2: 'shutdown' };
    // Some Pi does not follow yet, so the leader waits with what comes after the pause.
    shelf.more = { meshVersion: '2', meshApplied: '1' };
    expect(shelf.for(1)).toEqual(['pause pi2']);
    shelf.tasks = [waiting()];
    expect(shelf.for(8)).toEqual([]);
  });

  it('is paused anew when it comes back and is still unwell, and used where it is well', () => {
    for (const [vitals, said, availability] of [
      [HOT, ['activate pi2', 'pause pi2'], 'pause'],
      [COOL, ['activate pi2', 'pause pi2', 'activate pi2'], 'active'],
    ] as const) {
      const shelf = three();
      const labels = { ...node('pi2').labels, 'pi-swarm.unwell': 'hot', 'pi-swarm.leaving': 'shutdown' };
      shelf.nodes = [manager('pi1'), manager('pi2', { labels, availability: 'drain' }), manager('pi3')];
      shelf.vitals = { pi2: vitals };
      expect(shelf.for(70)).toEqual(said);
      expect(shelf.at('pi2').availability).toBe(availability);
    }
  });

  it('is known to the next leader by its label, and to one whose agent was started anew', () => {
    const shelf = three();
    shelf.vitals = { pi2: HOT };
    shelf.for(20);
    shelf.world = undefined;
    shelf.vitals = { pi2: COOL };
    expect(shelf.for(59)).toEqual([]);
    expect(shelf.for(5)).toEqual(['activate pi2']);
  });

  it('stays paused while all have to register with a new leader', () => {
    const shelf = three();
    shelf.vitals = { pi2: HOT };
    shelf.for(20);
    shelf.nodes = shelf.nodes.map(it => (it.hostname === 'pi1' ? it : { ...it, state: 'unknown' }));
    shelf.nodes[0] = manager('pi1', { availability: 'drain' });
    expect(shelf.for(3)).toEqual([]);
  });

  it('stays paused while its agent is silent: nobody knows how it is', () => {
    const shelf = three();
    shelf.vitals = { pi2: HOT };
    shelf.for(20);
    shelf.more = { peers: shelf.facts().peers.filter(({ status }) => status.name !== 'pi2') };
    expect(shelf.for(120)).toEqual([]);
  });
});

describe('the pause is soft', () => {
  it('nobody is paused when all are unwell, and who was paused is used again when no other is left', () => {
    const shelf = three();
    shelf.vitals = { pi1: HOT, pi2: HOT, pi3: HOT };
    expect(shelf.for(120)).toEqual([]);

    const later = three();
    later.vitals = { pi2: HOT };
    expect(later.for(20)).toEqual(['pause pi2']);
    later.vitals = { pi2: HOT, pi3: HOT };
    expect(later.for(20)).toEqual(['pause pi3']);
    later.vitals = { pi1: HOT, pi2: HOT, pi3: HOT };
    expect(later.for(20)).toEqual(['activate pi2', 'activate pi3']);
    later.vitals = { pi1: COOL, pi2: HOT, pi3: HOT };
    expect(later.for(300)).toEqual([]);
    expect(later.for(120)).toEqual(['pause pi2', 'pause pi3']);
  });

  it('unwell Pis are used again when the well ones go down or are drained', () => {
    const shelf = new Shelf([manager('pi1'), node('pi2'), node('pi3')]);
    shelf.vitals = { pi1: HOT };
    shelf.for(20);
    shelf.nodes = [shelf.at('pi1'), node('pi2', { state: 'down' }), node('pi3', { availability: 'drain' })];
    expect(shelf.for(2)).toEqual(['activate pi1']);
  });

  it('unwell Pis are used again within seconds when work finds no other, and not paused for minutes after it', () => {
    const shelf = three();
    shelf.vitals = { pi2: HOT };
    shelf.for(20);
    shelf.tasks = [waiting()];
    expect(shelf.for(2)).toEqual([]);
    expect(shelf.for(2)).toEqual(['activate pi2']);
    shelf.tasks = [];
    expect(shelf.for(290)).toEqual([]);
    expect(shelf.for(20)).toEqual(['pause pi2']);
  });

  it('work that waits although all are in use waits for something else: the pause comes back', () => {
    const shelf = three();
    shelf.vitals = { pi2: HOT };
    shelf.for(20);
    shelf.tasks = [waiting()];
    expect(shelf.for(380)).toEqual(['activate pi2', 'pause pi2']);
    expect(shelf.for(3_600)).toEqual([]);
  });

  it('tasks that wait on purpose while others move are none that need it', () => {
    const shelf = three();
    shelf.vitals = { pi2: HOT };
    shelf.for(20);
    const move = { from: nodeIdOf('pi3'), count: 1, why: 'rebalance', phase: 'block' } as const;
    // Some Pi does not follow yet, so the move goes on for some seconds.
    shelf.more = { services: [{ ...service('web'), move }], meshVersion: '2', meshApplied: '1' };
    const going: SwarmTask = { ...waiting(), id: 'goes', nodeId: nodeIdOf('pi3'), state: 'running' };
    shelf.tasks = [waiting(), going];
    expect(shelf.for(5)).toEqual([]);
  });

  it('what runs there stays, unless the configuration says that it shall move', () => {
    const running: SwarmTask = { ...waiting(), nodeId: nodeIdOf('pi2'), state: 'running' };
    const shelf = three();
    shelf.vitals = { pi2: HOT };
    shelf.tasks = [running];
    expect(shelf.for(60)).toEqual(['pause pi2']);

    const strict = three();
    strict.more = { wish: { ...WISH, health: { ...WISH.health, evict: true } } };
    strict.vitals = { pi2: HOT };
    strict.tasks = [running];
    expect(strict.for(17).slice(0, 2)).toEqual(['pause pi2', 'move 1 of web away from pi2']);
  });
});
