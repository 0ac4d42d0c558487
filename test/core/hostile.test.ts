import { describe, expect, it } from 'vitest';
import type { Facts } from '../../src/core/observe.ts';
import { sentences } from '../../src/core/step.ts';
import { turn } from '../../src/core/turn.ts';
import { facts, leader, node, nodeIdOf, peer } from './build.ts';

/** pi1, a worker or manager since long; pi2 says that it leads, and lists these members. */
function plan(members: string[], more: Partial<Facts> = {}): string {
  const said = facts({
    engineSwarm: {
      localState: 'active',
      nodeId: nodeIdOf('pi1'),
      controlAvailable: false,
      error: '',
      remoteManagers: ['10.0.0.2:2377'],
    },
    memory: { intent: 'stay', swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') },
    peers: [peer('pi2', { swarm: leader('pi2'), members })],
    ...more,
  });
  const before = turn({ ...said, nowMs: said.nowMs - 60_000 }).world;
  return sentences(turn(said, before).decision).join('; ');
}

describe('a leader that lists its members', () => {
  it('makes who is not among them go', () => {
    expect(plan([nodeIdOf('pi2'), nodeIdOf('pi3')])).toMatch(/^abandon the swarm/);
  });

  it.each([[[]], [['nonsense']], [[nodeIdOf('pi3')]]])('makes nobody go when it is not among them itself: %j', list => {
    expect(plan(list)).toMatch(/^wait/);
  });

  it('makes no manager go that sees itself in the swarm', () => {
    const nodes = [node('pi1', { role: 'manager' }), node('pi2', { role: 'manager', leader: true })];
    const manager = {
      localState: 'active' as const,
      nodeId: nodeIdOf('pi1'),
      controlAvailable: true,
      error: '',
      remoteManagers: [],
      cluster: { id: 'swarm-a', labels: {}, createdAtMs: 1 },
    };
    expect(plan([nodeIdOf('pi2')], { engineSwarm: manager, nodes })).toMatch(/^wait/);
  });

  it.each(['pending', 'error'] as const)('does not make an engine that is %s go by a senseless list', localState => {
    const engineSwarm = {
      localState,
      nodeId: nodeIdOf('pi1'),
      controlAvailable: false,
      error: 'x',
      remoteManagers: [],
    };
    const wish = { ...facts().wish, stuckAfterMs: 600_000 };
    expect(plan([], { engineSwarm, wish })).toMatch(/^wait/);
    expect(plan([nodeIdOf('pi2')], { engineSwarm, wish })).toMatch(/^abandon/);
  });
});
