import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Facts } from '../../src/core/observe.ts';
import { majority } from '../../src/core/quorum.ts';
import type { Step } from '../../src/core/step.ts';
import { turn } from '../../src/core/turn.ts';
import type { Peer, SwarmNode } from '../../src/core/world.ts';
import { active, cluster, engineSwarm, facts, leading, manager, node, peer } from './build.ts';

const names = ['pi1', 'pi2', 'pi3', 'pi4', 'pi5', 'pi6', 'pi7'];
const intents = ['stay', 'leave', 'shutdown', 'left'] as const;

const anyNode = (name: string): fc.Arbitrary<SwarmNode> =>
  fc
    .record({
      role: fc.constantFrom('worker' as const, 'manager' as const),
      state: fc.constantFrom('ready' as const, 'down' as const, 'unknown' as const),
      availability: fc.constantFrom('active' as const, 'drain' as const),
      reachable: fc.boolean(),
      mark: fc.constantFrom(undefined, 'leave', 'shutdown'),
    })
    .map(({ mark, reachable, ...rest }) => {
      const labels = { ...node(name).labels, ...(mark === undefined ? {} : { 'pi-swarm.leaving': mark }) };
      const voter = rest.role === 'manager';
      return node(name, { ...rest, labels, voter, reachable: voter && reachable && rest.state === 'ready' });
    });

const anyPeer = (name: string): fc.Arbitrary<Peer> =>
  fc
    .record({
      liveness: fc.constantFrom('alive' as const, 'suspect' as const, 'dead' as const),
      intent: fc.constantFrom(...intents),
      swarmId: fc.constantFrom(undefined, 'swarm-a', 'swarm-b'),
      leader: fc.boolean(),
      dissolving: fc.boolean(),
      services: fc.nat(2),
    })
    .map(({ liveness, intent, swarmId, leader, dissolving, services }) => {
      const summary = { services, nodes: 1, createdAtMs: 1 };
      const role = leader ? ('manager' as const) : ('worker' as const);
      const swarm =
        swarmId === undefined
          ? ({ state: 'none' } as const)
          : active(name, { swarmId, leader, role, quorum: leader, ...(leader ? { summary } : {}) });
      return peer(name, { intent, swarm, ...(dissolving ? { dissolving: { into: 'x' } } : {}) }, { liveness });
    });

const others = names.slice(1);
const anyFacts: fc.Arbitrary<Facts> = fc
  .record({
    own: anyNode('pi1'),
    nodes: fc.tuple(...others.map(anyNode)),
    peers: fc.tuple(...others.map(anyPeer)),
    count: fc.nat(others.length),
    intent: fc.constantFrom(...intents),
    engine: fc.constantFrom('ready' as const, 'slow' as const, 'absent' as const),
    where: fc.constantFrom('none', 'pending', 'error', 'locked', 'worker', 'manager', 'foreign'),
    tag: fc.boolean(),
    tasks: fc.nat(3),
    yieldingTo: fc.constantFrom(undefined, 'swarm-b'),
  })
  .map(({ own, nodes, peers, count, intent, engine, where, tag, tasks, yieldingTo }) => {
    const memory = { intent, swarmId: 'swarm-a', swarmNodeId: 'node-pi1', ...(yieldingTo ? { yieldingTo } : {}) };
    const common = {
      peers: peers.slice(0, count),
      engine,
      runningTasks: tasks,
      memory,
      ...(tag ? {} : { tag: undefined }),
    };
    if (where === 'manager') {
      const me = manager('pi1', { labels: own.labels, availability: own.availability });
      return leading([me, ...nodes.slice(0, count)], common);
    }
    const local = ['pending', 'error', 'locked'].find(state => state === where) as 'pending' | undefined;
    if (local) return facts({ ...common, engineSwarm: engineSwarm('pi1', { localState: local }) });
    if (where === 'foreign') {
      const theirs = engineSwarm('pi1', { controlAvailable: true, cluster: cluster('other', {}) });
      return facts({ ...common, engineSwarm: theirs });
    }
    return facts(where === 'worker' ? { ...common, engineSwarm: engineSwarm('pi1') } : common);
  });

const before = (now: Facts, ms: number) => turn({ ...now, nowMs: now.nowMs - ms }).world;
const stepsOf = (now: Facts, ms: number): Step[] => turn(now, before(now, ms)).decision.steps;
const anyAge = fc.constantFrom(0, 1_000, 10_000, 70_000, 1e9);

describe('whatever the world looks like', () => {
  it('there is a decision, and the same world gives the same one', () => {
    fc.assert(
      fc.property(anyFacts, anyAge, (now, ms) => {
        const world = before(now, ms);
        const first = turn(now, world);
        expect(first.decision.why).not.toBe('');
        expect(turn(structuredClone(now), structuredClone(world))).toEqual(first);
      }),
      { numRuns: 2_000 },
    );
  });

  it('at most one manager is made or unmade at a time, and a majority is left afterwards', () => {
    fc.assert(
      fc.property(anyFacts, anyAge, (now, ms) => {
        const changes = stepsOf(now, ms).filter(({ action }) => action === 'promote' || action === 'demote');
        expect(changes.length).toBeLessThanOrEqual(1);
        const [change] = changes;
        if (change?.action !== 'demote') return;
        const voters = (now.nodes ?? []).filter(({ voter }) => voter);
        const left = voters.filter(({ nodeId, reachable }) => reachable && nodeId !== change.node);
        expect(left.length).toBeGreaterThanOrEqual(majority(voters.length - 1));
      }),
      { numRuns: 2_000 },
    );
  });

  it('nothing is done to the nodes of a swarm by one who does not lead it with a majority', () => {
    const forLeaders = new Set(['promote', 'demote', 'remove', 'drain', 'activate', 'label', 'tune']);
    fc.assert(
      fc.property(anyFacts, anyAge, (now, ms) => {
        const { world, decision } = turn(now, before(now, ms));
        if (world.swarm.state === 'active' && world.swarm.leader && world.swarm.quorum) return;
        expect(decision.steps.filter(({ action }) => forLeaders.has(action))).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  it('a living node is never removed, and this Pi never removes itself', () => {
    fc.assert(
      fc.property(anyFacts, anyAge, (now, ms) => {
        for (const step of stepsOf(now, ms)) {
          if (step.action !== 'remove') continue;
          expect(step.node).not.toBe('node-pi1');
          expect(now.nodes?.find(({ nodeId }) => nodeId === step.node)?.state).toBe('down');
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('without a secret, in a foreign swarm, or without an engine nothing is touched', () => {
    fc.assert(
      fc.property(anyFacts, anyAge, (now, ms) => {
        const { world, decision } = turn(now, before(now, ms));
        if (world.tag !== undefined && world.swarm.state !== 'foreign' && world.engine === 'ready') return;
        expect(decision.steps).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  it('a swarm with services and its majority is never abandoned for another one', () => {
    fc.assert(
      fc.property(anyFacts, anyAge, fc.integer({ min: 1, max: 3 }), (now, ms, services) => {
        const withServices = { ...now, services: Array.from({ length: services }, () => SERVICE) };
        const { world, decision } = turn(withServices, before(withServices, ms));
        if (world.swarm.state !== 'active' || !world.swarm.leader || !world.swarm.quorum) return;
        expect(decision.steps.filter(({ action }) => action === 'abandon')).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });
});

const SERVICE = { id: 's', name: 's', image: 'i', replicas: 1, running: 1, desired: 1, ports: [], createdAtMs: 0 };
