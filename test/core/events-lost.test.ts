import { describe, expect, it } from 'vitest';
import { active, node, nodeIdOf, service } from './build.ts';
import { Story, task } from './story.ts';

describe('a Pi that is lost', () => {
  it('is told at once with its tasks, and the line is completed when they run elsewhere', () => {
    const story = new Story();
    story.run('whoami', 'pi1', 'pi4', 'pi4');
    story.turn();
    const lastWord = new Date(story.wallMs).toISOString();
    story.lose('pi4', 3_000);
    const [first] = story.events();
    expect(first).toMatchObject({ kind: 'lost', pi: 'pi4', tasks: 2, at: lastWord });
    expect(first?.text).toBe('pi4 lost power or its network · 2 tasks');
    expect(first).not.toHaveProperty('durationMs');
    expect(story.turn()).toEqual([]);

    story.replace('whoami', 'pi4', 'pi2');
    story.pass(200);
    expect(story.turn()).toEqual([]);
    story.replace('whoami', 'pi4', 'pi3');
    story.pass(200);
    const [completed] = story.events();
    expect(completed).toEqual({
      ...first,
      revision: (first?.revision ?? 0) + 1,
      durationMs: 3_400,
      text: 'pi4 lost power or its network · 2 tasks · running elsewhere after 3.4 s',
    });
    expect(story.chronicle.events).toHaveLength(1);
    story.pass(60_000);
    expect(story.turn()).toEqual([]);
  });

  it('is one line when its work runs elsewhere before its agent is given up', () => {
    const story = new Story();
    story.run('whoami', 'pi1', 'pi4');
    story.turn();
    story.pass(2_000, 'pi4');
    story.change('pi4', { state: 'down' });
    expect(story.turn()).toEqual([]);
    story.replace('whoami', 'pi4', 'pi2');
    story.pass(500, 'pi4');
    expect(story.turn()).toEqual([]);
    story.pass(1_500, 'pi4');
    story.agent('pi4', {}, { liveness: 'dead', lastSeenMs: story.nowMs - 4_000 });
    expect(story.turn()).toEqual(['pi4 lost power or its network · 1 task · running elsewhere after 2.5 s']);
  });

  it('without work is one short line', () => {
    const story = new Story();
    const { replicas: _, ...everywhere } = service('everywhere');
    story.services = [everywhere];
    story.tasks = [task('everywhere', 0, 'pi4')];
    story.lose('pi4');
    expect(story.turn()).toEqual(['pi4 lost power or its network']);
  });

  it('has recovered when its service is complete, in whichever slots, and when its service is removed', () => {
    const story = new Story();
    story.run('web', 'pi4');
    story.run('api', 'pi4');
    story.turn();
    story.lose('pi4');
    story.turn();
    story.services = story.services.filter(({ name }) => name !== 'web');
    story.tasks = [...story.tasks, task('api', 7, 'pi2')];
    story.pass(1_000);
    expect(story.turn()).toEqual(['pi4 lost power or its network · 2 tasks · running elsewhere after 5.0 s']);
  });

  it.each([
    ['it had lost power', { boot: 'new', vitals: { uptimeSeconds: 20 } }],
    ['it had lost its network', {}],
    ['its agent had stopped', { boot: 'new' }],
  ])('is back: %s', (reason, status) => {
    const story = new Story();
    story.lose('pi4', 5_000);
    story.turn();
    story.pass(40_000);
    story.comeBack('pi4', status);
    const [event] = story.events();
    expect(event).toMatchObject({ kind: 'back', pi: 'pi4', durationMs: 45_000 });
    expect(event?.text).toBe(`pi4 is back after 45 s · ${reason}`);
    expect(story.turn()).toEqual([]);
  });

  it('is back only when its agent is heard and its engine is Ready', () => {
    const story = new Story();
    story.lose('pi4');
    story.turn();
    story.agent('pi4', {}, { liveness: 'alive' });
    expect(story.turn()).toEqual([]);
    story.comeBack('pi4');
    expect(story.turn()).toHaveLength(1);
  });

  it('is back when it has said how it is: an agent that has only just begun answers before it knows', () => {
    const story = new Story();
    story.lose('pi4', 5_000);
    story.turn();
    story.pass(20_000);
    story.agent('pi4', {}, { liveness: 'alive' });
    story.change('pi4', { state: 'ready' });
    expect(story.turn()).toEqual([]);
    story.pass(3_000);
    story.agent('pi4', { boot: 'new', vitals: { uptimeSeconds: 9 } });
    expect(story.turn()).toEqual(['pi4 is back after 25 s · it had lost power']);
  });

  it('is back without a reason when it says nothing new of itself for long', () => {
    const story = new Story();
    story.lose('pi4', 5_000);
    story.turn();
    story.pass(20_000);
    story.agent('pi4', {}, { liveness: 'alive' });
    story.change('pi4', { state: 'ready' });
    story.turn();
    story.pass(30_000);
    expect(story.turn()).toEqual(['pi4 is back after 25 s']);
  });

  it('is not back because this Pi stood still for a moment and blames nobody for silence', () => {
    const story = new Story();
    story.lose('pi4');
    const [event] = story.events();
    const lastSeenMs = story.nowMs - 4_000;
    story.agent('pi4', {}, { liveness: 'suspect', lastSeenMs });
    story.change('pi4', { state: 'ready' });
    expect(story.turn()).toEqual([]);
    story.pass(2_000, 'pi4');
    story.agent('pi4', { boot: 'new', vitals: { uptimeSeconds: 3 } }, { liveness: 'alive' });
    expect(story.turn()).toEqual(['pi4 is back after 6.0 s · it had lost power']);
    expect(event?.kind).toBe('lost');
  });

  it('whose engine alone went away is told as that', () => {
    const story = new Story();
    story.run('whoami', 'pi1', 'pi4');
    story.turn();
    story.agent('pi4', { engine: 'absent' });
    story.pass(3_000);
    story.change('pi4', { state: 'down' });
    expect(story.turn()).toEqual(['pi4’s Docker Engine went away · 1 task']);
    story.replace('whoami', 'pi4', 'pi2');
    story.pass(1_000);
    expect(story.turn()).toEqual(['pi4’s Docker Engine went away · 1 task · running elsewhere after 4.0 s']);
    story.pass(6_000);
    story.comeBack('pi4', { engine: 'ready' });
    expect(story.turn()).toEqual(['pi4 is back after 10 s · its Docker Engine had stopped']);
  });

  it('whose agent and engine are both there, but whose engine the managers gave up, is told as that', () => {
    const story = new Story();
    story.change('pi4', { state: 'down' });
    expect(story.turn()).toEqual([]);
    story.pass(5_000);
    expect(story.turn()).toEqual(['pi4’s Docker Engine lost the swarm']);
    story.pass(7_000);
    story.comeBack('pi4');
    expect(story.turn()).toEqual(['pi4 is back after 12 s · its Docker Engine had lost the swarm']);
  });

  it('that comes and goes is one line that grows, until it has come to rest', () => {
    const story = new Story();
    story.run('whoami', 'pi1', 'pi4');
    story.turn();
    const lines: string[] = [];
    for (let flap = 0; flap < 10; flap += 1) {
      story.lose('pi4', 4_000);
      lines.push(...story.turn());
      story.pass(2_000);
      story.comeBack('pi4');
      lines.push(...story.turn());
    }
    expect(lines.slice(-2)).toEqual([
      'pi4 comes and goes: lost 9 times in 48 s',
      'pi4 comes and goes: lost 10 times in 54 s',
    ]);
    expect(story.chronicle.events.map(({ kind }) => kind)).toEqual([
      ...['lost', 'back', 'lost', 'back', 'lost', 'back'],
      'flapping',
    ]);
    story.pass(60_000);
    expect(story.turn()).toEqual(['pi4 came and went: lost 10 times in 54 s']);
    story.lose('pi4', 4_000);
    expect(story.turn()).toEqual(['pi4 lost power or its network · 1 task']);
  });

  it('that comes and goes and then stays away is told as lost in the end', () => {
    const story = new Story();
    for (let flap = 0; flap < 5; flap += 1) {
      if (flap > 0) story.comeBack('pi4');
      story.turn();
      story.lose('pi4', 4_000);
      story.turn();
    }
    story.pass(60_000);
    expect(story.turn()).toEqual(['pi4 came and went: lost 5 times in 16 s', 'pi4 lost power or its network']);
    story.pass(60_000);
    story.comeBack('pi4');
    expect(story.turn()).toEqual(['pi4 is back after 2 min · it had lost its network']);
  });

  it('that came and went comes to rest also when the clock went back meanwhile', () => {
    const story = new Story();
    for (let flap = 0; flap < 5; flap += 1) {
      story.lose('pi4', 4_000);
      story.turn();
      story.comeBack('pi4');
      story.turn();
    }
    story.wallMs -= 365 * 86_400_000;
    expect(story.turn()).toEqual(['pi4 came and went: lost 5 times in 16 s']);
    story.lose('pi4', 4_000);
    expect(story.turn()).toEqual(['pi4 lost power or its network']);
  });

  it('is not taken for restless for losses that lie ahead of a clock that went back', () => {
    const story = new Story();
    for (let flap = 0; flap < 4; flap += 1) {
      if (flap === 3) story.wallMs -= 86_400_000;
      story.lose('pi4', 4_000);
      expect(story.turn()).toEqual(['pi4 lost power or its network']);
      story.comeBack('pi4');
      story.turn();
    }
  });

  it('is forgotten after a time, or was removed by a person', () => {
    const story = new Story(5);
    story.lose('pi4');
    story.turn();
    story.pass(86_400_000);
    story.nodes = story.nodes.filter(({ hostname }) => hostname !== 'pi4' && hostname !== 'pi5');
    expect(story.turn()).toEqual(['pi4 was forgotten after 24 h away', 'pi5 was removed from the swarm']);
    expect(story.turn()).toEqual([]);
  });

  it('comes back with a new card: it is not new, and its ghost is no news', () => {
    const story = new Story();
    story.lose('pi4');
    story.turn();
    story.pass(100_000);
    story.nodes = [...story.nodes, node('pi9', { hostname: 'pi4', labels: {} })];
    story.agent('pi9', { name: 'pi4', hardware: 'hw-pi4', swarm: active('pi9') }, { liveness: 'alive' });
    expect(story.turn()).toEqual(['pi4 has a new card and takes the place of its old one']);
    story.nodes = story.nodes.filter(({ nodeId }) => nodeId !== nodeIdOf('pi4'));
    expect(story.turn()).toEqual([]);
  });

  it('comes back under another number of the swarm: it is back, not new', () => {
    const story = new Story();
    story.lose('pi4');
    story.turn();
    story.pass(56_000);
    story.nodes = [...story.nodes, node('pi4', { nodeId: 'node-new' })];
    story.agent(
      'pi4',
      { swarm: active('pi4', { nodeId: 'node-new' }), vitals: { uptimeSeconds: 1e6 } },
      { liveness: 'alive' },
    );
    expect(story.turn()).toEqual(['pi4 is back after 60 s · it had lost its network']);
  });
});
