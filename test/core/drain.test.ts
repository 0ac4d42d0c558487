/** `pi-swarm drain`: a mark that only a person lifts, whatever the Pi does in between. Leader's view. */
import { describe, expect, it } from 'vitest';
import type { Facts } from '../../src/core/observe.ts';
import { turn } from '../../src/core/turn.ts';
import type { Intent, SwarmNode } from '../../src/core/world.ts';
import { active, manager, node, peer } from './build.ts';
import { world } from './loads.ts';

type Labels = Record<string, string>;

/** pi3 as the swarm lists it, and what it means to do. */
const facts = (more: Partial<SwarmNode>, labels: Labels, intent: Intent = 'stay'): Facts => ({
  ...world({ web: [1, 1, 0] }),
  nodes: [manager('pi1'), node('pi2'), node('pi3', { ...more, labels: { ...node('pi3').labels, ...labels } })],
  peers: [peer('pi2', { swarm: active('pi2') }), peer('pi3', { swarm: active('pi3'), intent })],
});

/** What the leader does with pi3: action and labels. */
function steps(it_: Facts): [string, object][] {
  return turn(it_).decision.steps.map(step => [step.action, 'labels' in step ? step.labels : {}]);
}

const OFF = { availability: 'drain' } as const;
const drained: Labels = { 'pi-swarm.leaving': 'drain' };

describe('a drained Pi', () => {
  it('stays so while its agent means to stay, also after a power cut', () => {
    expect(steps(facts(OFF, drained))).toEqual([]);
    expect(steps(facts({ ...OFF, state: 'down' }, drained))).toEqual([]);
  });

  it('is in use again when somebody says so with docker node update', () => {
    expect(steps(facts({}, drained))).toEqual([['activate', { 'pi-swarm.leaving': null }]]);
  });

  it('is drained after a reboot, too', () => {
    const leaving = { 'pi-swarm.leaving': 'shutdown', 'pi-swarm.return': 'marked' };
    expect(steps(facts(OFF, drained, 'shutdown'))).toEqual([['drain', leaving]]);
    expect(steps(facts(OFF, leaving, 'shutdown'))).toEqual([]);
    expect(steps(facts(OFF, leaving))).toEqual([['drain', { 'pi-swarm.leaving': 'drain', 'pi-swarm.return': null }]]);
  });

  it('goes for good when it is told to leave', () => {
    expect(steps(facts(OFF, drained, 'leave'))).toEqual([['drain', { 'pi-swarm.leaving': 'leave' }]]);
  });
});

describe('a Pi that reboots', () => {
  const shutDown = (more: Labels = {}): Labels => ({ 'pi-swarm.leaving': 'shutdown', ...more });
  const none = { 'pi-swarm.leaving': null, 'pi-swarm.return': null };

  it('is used again when it is back', () => {
    expect(steps(facts({}, {}, 'shutdown'))).toEqual([
      ['pause', { 'pi-swarm.leaving': 'shutdown', 'pi-swarm.return': null }],
    ]);
    expect(steps(facts(OFF, shutDown()))).toEqual([['activate', none]]);
  });

  it.each(['drain', 'pause'] as const)('keeps the %s that a person gave it', availability => {
    const before = { 'pi-swarm.return': availability };
    expect(steps(facts({ availability }, {}, 'shutdown'))).toEqual([
      [availability, { 'pi-swarm.leaving': 'shutdown', ...before }],
    ]);
    expect(steps(facts(OFF, shutDown(before)))).toEqual([[availability, none]]);
  });

  it('is not kept from work because it was unwell before', () => {
    const unwell = { 'pi-swarm.unwell': 'hot' };
    expect(steps(facts({ availability: 'pause' }, unwell, 'shutdown'))).toEqual([
      ['pause', { 'pi-swarm.leaving': 'shutdown', 'pi-swarm.return': null }],
    ]);
  });
});
