import { describe, expect, it } from 'vitest';
import type { Told } from '../../src/core/event-types.ts';
import { durationText } from '../../src/core/event-words.ts';
import type { SwarmService } from '../../src/core/world.ts';
import { active, engineSwarm, leader, node, nodeIdOf } from './build.ts';
import { Story } from './story.ts';

describe('a calm cluster', () => {
  it('tells nothing for an hour, nor when the agents start anew in it', () => {
    const story = new Story();
    story.run('whoami', 'pi1', 'pi2', 'pi3', 'pi4');
    for (let minute = 0; minute < 60; minute += 1) {
      story.pass(60_000);
      expect(story.turn()).toEqual([]);
    }
    expect(story.chronicle.events).toEqual([]);
  });

  it('tells nothing of an agent that is started anew while its engine goes on', () => {
    const story = new Story();
    story.pass(10_000, 'pi4');
    story.agent('pi4', {}, { liveness: 'dead', lastSeenMs: story.nowMs - 10_000 });
    expect(story.turn()).toEqual([]);
    story.agent('pi4', { boot: 'another' }, { liveness: 'alive' });
    expect(story.turn()).toEqual([]);
  });

  it('tells nothing of services that are deployed, scaled and removed', () => {
    const story = new Story();
    story.run('web', 'pi1');
    story.turn();
    story.run('web', 'pi1', 'pi2', 'pi3');
    expect(story.turn()).toEqual([]);
    story.services = [];
    story.tasks = [];
    expect(story.turn()).toEqual([]);
  });
});

describe('what a person does', () => {
  it('paused by hand, and used again', () => {
    const story = new Story();
    story.change('pi4', { availability: 'pause' });
    expect(story.turn()).toEqual(['pi4 gets no new work: a person paused it']);
    story.change('pi4', { availability: 'active' });
    expect(story.turn()).toEqual(['pi4 is used again']);
  });

  it('joined: a Pi with an agent, and a node without one, once it is clear that it has none', () => {
    const story = new Story();
    story.nodes = [...story.nodes, node('pi5', { labels: {} }), node('pi6', { labels: {}, createdAtMs: story.wallMs })];
    story.agent('pi5', { swarm: active('pi5') });
    expect(story.turn()).toEqual(['pi5 joined']);
    story.pass(11_000);
    expect(story.turn()).toEqual(['pi6 joined']);
  });
});

describe('the swarm', () => {
  it('tells its forming: who started it, who joined, who manages it', () => {
    const story = new Story(1);
    story.told = undefined;
    story.chronicle = { origin: '', revision: 0, events: [], open: {} };
    const created = { id: 'swarm-a', labels: { 'pi-swarm.tag': '00112233aabbccdd' }, createdAtMs: story.wallMs - 500 };
    story.more = { engineSwarm: engineSwarm('pi1', { controlAvailable: true, cluster: created }) };
    expect(story.turn()).toEqual(['pi1 started the swarm']);
    for (const name of ['pi2', 'pi3']) story.agent(name, { swarm: active(name) });
    story.nodes = [...story.nodes, node('pi2'), node('pi3')];
    expect(story.turn()).toEqual(['pi2 joined', 'pi3 joined']);
    story.change('pi2', { role: 'manager', voter: true, reachable: false });
    expect(story.turn()).toEqual([]);
    story.change('pi2', { reachable: true });
    expect(story.turn()).toEqual(['pi2 was promoted to manager']);
    story.change('pi2', { role: 'worker', voter: false, reachable: false });
    expect(story.turn()).toEqual(['pi2 was demoted to worker']);
  });

  it('has another leader: after whom, and how long there was none', () => {
    const story = new Story();
    story.told = { ...(story.told as Told), leader: nodeIdOf('pi2') };
    expect(story.turn()).toEqual(['pi1 leads the swarm now, after pi2']);
    story.told = { ...story.told, leader: nodeIdOf('pi2') };
    story.run('whoami', 'pi1', 'pi2');
    story.turn();
    story.told = { ...story.told, leader: nodeIdOf('pi2') };
    story.lose('pi2', 14_000);
    expect(story.turn()).toEqual([
      'pi2 lost power or its network · 1 task',
      'pi1 leads the swarm now, after pi2 · nobody led it for 14 s',
    ]);
  });

  it('tells nothing while its leader hears no majority of the managers: it may be the one that is cut off', () => {
    const story = new Story();
    for (const name of ['pi2', 'pi3', 'pi4']) story.lose(name, 1_500);
    expect(story.turn()).toEqual([]);
    story.comeBack('pi2');
    expect(story.turn()).toEqual(['pi3 lost power or its network', 'pi4 lost power or its network']);
  });

  it('moves work to even out the load, or off a Pi that is unwell: how much, from where to where', () => {
    const story = new Story();
    story.run('whoami', 'pi1', 'pi1', 'pi1', 'pi4');
    story.turn();
    const move = { from: nodeIdOf('pi1'), count: 2, why: 'rebalance' as const, phase: 'surge' as const };
    const moving = (change: Partial<SwarmService>) => {
      story.services = story.services.map(({ move: _, ...it }) => ({ ...it, ...change }));
    };
    moving({ move });
    story.turn();
    moving({ move: { ...move, phase: 'block' } });
    story.pass(3_200);
    story.replace('whoami', 'pi1', 'pi3');
    story.replace('whoami', 'pi1', 'pi2');
    expect(story.turn()).toEqual([]);
    moving({});
    const [event] = story.events();
    expect(event).toMatchObject({ kind: 'rebalanced', service: 'whoami', pi: 'pi1', tasks: 2, durationMs: 3_200 });
    expect(event?.text).toBe('whoami: 2 tasks moved pi1 → pi2, pi3 (rebalance) · 3.2 s');

    moving({ move: { ...move, why: 'health', count: 1 } });
    story.turn();
    story.replace('whoami', 'pi1', 'pi4');
    moving({});
    expect(story.turn()).toEqual(['whoami: 1 task moved pi1 → pi4 (pi1 is unwell) · 0.0 s']);
  });

  it.each(['rebalance', 'leave', 'lost'] as const)(
    'tells no move that came to nothing, or is told elsewhere: %s',
    why => {
      const story = new Story();
      story.run('whoami', 'pi1', 'pi4');
      const still = story.services;
      story.services = still.map(it => ({ ...it, move: { from: nodeIdOf('pi4'), count: 1, why, phase: 'surge' } }));
      story.turn();
      if (why !== 'rebalance') story.replace('whoami', 'pi4', 'pi2');
      story.services = still;
      expect(story.turn()).toEqual([]);
    },
  );

  it('grows more patient and less so', () => {
    const story = new Story();
    const settings = { dispatcherHeartbeatMs: 1_000, nodeCertExpiryMs: 1, labels: {} };
    story.settings = {
      ...settings,
      dispatcherHeartbeatMs: 2_000,
      labels: { 'pi-swarm.patience-node': nodeIdOf('pi4') },
    };
    expect(story.turn()).toEqual([
      'the swarm is more patient: a silent Pi is given up after 6 s instead of 3 s · pi4 came and went',
    ]);
    story.settings = settings;
    expect(story.turn()).toEqual(['the swarm is less patient: a silent Pi is given up after 3 s instead of 6 s']);
  });

  it('takes another one in', () => {
    const story = new Story();
    const other = { swarmId: 'swarm-b', nodeId: 'other' };
    story.agent('pi7', { swarm: leader('pi7', other), dissolving: { into: 'swarm-a' } });
    expect(story.turn()).toEqual([]);
    story.pass(6_200);
    story.agent('pi7', { swarm: active('pi7') });
    story.nodes = [...story.nodes, node('pi7')];
    expect(story.turn()).toEqual(['two swarms of this cluster became one · 6.2 s', 'pi7 joined']);
  });
});

describe('health', () => {
  it.each([
    ['hot', 'pi4 runs hot: it gets no new work'],
    ['under-voltage', 'pi4 gets too little power: it gets no new work'],
    ['something-new', 'pi4 is unwell: it gets no new work'],
    ['constructor', 'pi4 is unwell: it gets no new work'],
  ])('%s, and well again', (word, text) => {
    const story = new Story();
    story.change('pi4', { labels: { 'pi-swarm.unwell': word }, availability: 'pause' });
    expect(story.turn()).toEqual([text]);
    story.pass(12 * 60_000);
    story.change('pi4', { labels: {}, availability: 'active' });
    expect(story.turn()).toEqual(['pi4 is well again after 12 min']);
  });
});

it.each([
  [0, '0.0 s'],
  [3_449, '3.4 s'],
  [9_960, '10 s'],
  [119_000, '119 s'],
  [120_000, '2 min'],
  [7_140_000, '119 min'],
  [7_200_000, '2 h'],
  [172_800_000, '2 days'],
])('%d ms is %s', (ms, text) => {
  expect(durationText(ms)).toBe(text);
});
