/** A Pi that gives its work away: it leaves, it shuts down, or a person takes its work from it. */
import { describe, expect, it } from 'vitest';
import { active, node, nodeIdOf } from './build.ts';
import { Story } from './story.ts';

describe('a Pi that goes', () => {
  it('left: how much moved before, and how long it took', () => {
    const story = new Story();
    story.run('whoami', 'pi1', 'pi4', 'pi4');
    story.turn();
    story.agent('pi4', { intent: 'leave' });
    story.change('pi4', { labels: { 'pi-swarm.leaving': 'leave' }, availability: 'pause' });
    expect(story.turn()).toEqual([]);
    story.pass(4_100);
    story.replace('whoami', 'pi4', 'pi2');
    story.replace('whoami', 'pi4', 'pi3');
    story.stopped('pi4');
    story.change('pi4', { availability: 'drain' });
    expect(story.turn()).toEqual([]);
    story.agent('pi4', { intent: 'left', swarm: { state: 'none' } });
    const [event] = story.events();
    expect(event).toMatchObject({ kind: 'left', pi: 'pi4', tasks: 2, durationMs: 4_100 });
    expect(event?.text).toBe('pi4 left · 2 tasks moved before · 4.1 s');
    story.change('pi4', { state: 'down' });
    expect(story.turn()).toEqual([]);
    story.nodes = story.nodes.filter(({ hostname }) => hostname !== 'pi4');
    expect(story.turn()).toEqual([]);
  });

  it('left without work: nothing about tasks; and joined when it is there again', () => {
    const story = new Story();
    story.agent('pi4', { intent: 'leave' });
    story.turn();
    story.pass(2_000);
    story.agent('pi4', { intent: 'left', swarm: { state: 'none' } });
    expect(story.turn()).toEqual(['pi4 left']);
    // The node that it was is still listed, and even Ready.
    story.nodes = [...story.nodes, node('pi4', { nodeId: 'node-new' })];
    story.agent('pi4', { intent: 'stay', swarm: active('pi4', { nodeId: 'node-new' }) });
    expect(story.turn()).toEqual(['pi4 joined']);
    for (const state of ['ready', 'down'] as const) {
      story.nodes = story.nodes.map(it => (it.nodeId === nodeIdOf('pi4') ? { ...it, state } : it));
      expect(story.turn()).toEqual([]);
    }
    story.nodes = story.nodes.filter(({ nodeId }) => nodeId !== nodeIdOf('pi4'));
    expect(story.turn()).toEqual([]);
    expect(story.told?.ghosts).toEqual([]);
  });

  it('that went with work on it says how much stopped with it', () => {
    const story = new Story();
    story.run('whoami', 'pi4', 'pi4');
    story.turn();
    story.agent('pi4', { intent: 'leave' });
    story.turn();
    story.replace('whoami', 'pi4', 'pi2');
    story.stopped('pi4');
    story.pass(25_000);
    story.agent('pi4', { intent: 'left', swarm: { state: 'none' } });
    expect(story.turn()).toEqual(['pi4 left · 1 task moved before · 1 task stopped with it · 25 s']);
  });

  it.each([
    ['pinned has no place', '', 'pending'],
    ['1 task starts elsewhere', nodeIdOf('pi1'), 'preparing'],
  ])('left, and not all of its work runs elsewhere: %s', (part, nodeId, state) => {
    const story = new Story();
    story.run('whoami', 'pi1', 'pi4');
    story.run('pinned', 'pi4');
    story.turn();
    story.agent('pi4', { intent: 'leave' });
    story.turn();
    story.pass(31_000);
    story.replace('whoami', 'pi4', 'pi2');
    story.replace('pinned', 'pi4', 'pi2');
    story.stopped('pi4');
    story.tasks = story.tasks.map(it =>
      it.serviceId === 'pinned' && it.desired === 'running' ? { ...it, nodeId, state } : it,
    );
    story.turn();
    story.agent('pi4', { intent: 'left', swarm: { state: 'none' } });
    expect(story.turn()).toEqual([`pi4 left · 1 task moved before · ${part}`]);
  });

  it('was shut down, which is no loss, and is back', () => {
    const story = new Story();
    story.run('whoami', 'pi1', 'pi4');
    story.turn();
    story.agent('pi4', { intent: 'shutdown' });
    story.change('pi4', { labels: { 'pi-swarm.leaving': 'shutdown' }, availability: 'pause' });
    story.turn();
    story.pass(3_000);
    story.replace('whoami', 'pi4', 'pi2');
    story.stopped('pi4');
    story.change('pi4', { availability: 'drain' });
    expect(story.turn()).toEqual([]);
    story.lose('pi4');
    expect(story.turn()).toEqual(['pi4 was shut down · 1 task moved before · 3.0 s']);
    story.pass(176_000);
    story.comeBack('pi4', { intent: 'stay', boot: 'new' });
    expect(story.turn()).toEqual(['pi4 is back after 3 min · it had been shut down']);
    story.change('pi4', { labels: {}, availability: 'active' });
    expect(story.turn()).toEqual([]);
  });
});

describe('a Pi that a person drains', () => {
  it.each([
    ['pi-swarm drain', { labels: { 'pi-swarm.leaving': 'drain' }, availability: 'pause' as const }],
    ['docker node update --availability drain', { labels: {}, availability: 'drain' as const }],
  ])('drained with %s: at once, complete when nothing runs there, and again when it is used', (_, first) => {
    const story = new Story();
    story.run('whoami', 'pi1', 'pi4', 'pi4');
    story.turn();
    story.change('pi4', first);
    expect(story.turn()).toEqual(['pi4 is being drained · 2 tasks']);
    const [begun] = story.chronicle.events;
    story.replace('whoami', 'pi4', 'pi2');
    story.replace('whoami', 'pi4', 'pi3');
    story.pass(3_000);
    expect(story.turn()).toEqual([]);
    story.stopped('pi4');
    story.change('pi4', { ...first, availability: 'drain' });
    story.pass(200);
    const [done] = story.events();
    expect(done?.text).toBe('pi4 was drained · 2 tasks moved · 3.2 s');
    expect(done).toMatchObject({ id: begun?.id, revision: (begun?.revision ?? 0) + 1, durationMs: 3_200 });
    story.change('pi4', { labels: {}, availability: 'active' });
    expect(story.turn()).toEqual(['pi4 is used again']);
    expect(story.chronicle.events.map(({ kind }) => kind)).toEqual(['drained', 'activated']);
  });

  it('drained, though one task can run nowhere else', () => {
    const story = new Story();
    story.run('pinned', 'pi4');
    story.turn();
    story.change('pi4', { labels: { 'pi-swarm.leaving': 'drain' }, availability: 'pause' });
    expect(story.turn()).toEqual(['pi4 is being drained · 1 task']);
    story.change('pi4', { availability: 'drain' });
    story.replace('pinned', 'pi4', 'pi2');
    story.tasks = story.tasks.map(it => (it.desired === 'running' ? { ...it, nodeId: '', state: 'pending' } : it));
    story.stopped('pi4');
    story.pass(31_000);
    expect(story.turn()).toEqual(['pi4 was drained · pinned has no place']);
  });

  it('used again before it was empty: nothing says for ever that it is being drained', () => {
    const story = new Story();
    story.run('whoami', 'pi4', 'pi4');
    story.turn();
    story.change('pi4', { labels: { 'pi-swarm.leaving': 'drain' }, availability: 'pause' });
    story.turn();
    story.replace('whoami', 'pi4', 'pi2');
    story.stopped('pi4');
    story.change('pi4', { labels: {}, availability: 'active' });
    expect(story.turn()).toEqual(['pi4 was to be drained', 'pi4 is used again']);
    expect(story.chronicle.open).toEqual({});
  });

  it('lost before it was empty: nothing says for ever that it is being drained', () => {
    const story = new Story();
    story.run('whoami', 'pi4');
    story.turn();
    story.change('pi4', { labels: { 'pi-swarm.leaving': 'drain' }, availability: 'pause' });
    story.turn();
    story.lose('pi4');
    expect(story.turn().sort()).toEqual(['pi4 lost power or its network · 1 task', 'pi4 was drained']);
    story.replace('whoami', 'pi4', 'pi2');
    expect(story.turn()).toEqual(['pi4 lost power or its network · 1 task · running elsewhere after 4.0 s']);
  });

  it('drained while it is off: told at once, again in the line that it is back, and when it is used again', () => {
    const story = new Story();
    story.lose('pi4');
    story.turn();
    story.change('pi4', { labels: { 'pi-swarm.leaving': 'drain' }, availability: 'drain' });
    expect(story.turn()).toEqual(['pi4 was drained']);
    story.pass(26_000);
    expect(story.turn()).toEqual([]);
    story.comeBack('pi4', { boot: 'new', vitals: { uptimeSeconds: 9 } });
    expect(story.turn()).toEqual(['pi4 is back after 30 s · it had lost power · it is drained']);
    story.lose('pi4');
    expect(story.turn()).toEqual(['pi4 lost power or its network']);
    story.change('pi4', { labels: {}, availability: 'active' });
    expect(story.turn()).toEqual(['pi4 is used again when it is back']);
    story.comeBack('pi4');
    expect(story.turn()).toEqual(['pi4 is back after 4.0 s · it had lost its network']);
  });
});
