import { describe, expect, it } from 'vitest';
import { turn } from '../../src/core/turn.ts';
import type { SwarmNode } from '../../src/core/world.ts';
import {
  active,
  cluster,
  engineSwarm,
  facts,
  leader,
  leading,
  manager,
  node,
  nodeIdOf,
  peer,
  plan,
  service,
} from './build.ts';

const marked = { 'pi-swarm.id': '0000000000000003', 'pi-swarm.leaving': 'leave' };
const leaves = { intent: 'leave' as const, swarm: active('pi3') };

describe('L1 as the leader sees it', () => {
  it('forgets a Pi that left once it is out, and not while it is still on its way', () => {
    const listed = [manager('pi1'), node('pi2'), node('pi3', { state: 'down', availability: 'drain', labels: marked })];
    const it_ = leading(listed);
    expect(plan({ ...it_, peers: [...it_.peers, peer('pi3', leaves)] }).join()).not.toContain('remove pi3');
    expect(plan({ ...it_, peers: [...it_.peers, peer('pi3', leaves, { liveness: 'dead' })] })).toEqual(['remove pi3']);
    expect(plan({ ...it_, peers: [...it_.peers, peer('pi3', { intent: 'left' })] })).toEqual(['remove pi3']);
    expect(plan(it_)).toEqual(['remove pi3']);
  });
});

describe('L1 on the Pi that goes', () => {
  const leaving = (members: string[]) =>
    facts({
      engineSwarm: engineSwarm('pi1'),
      memory: { intent: 'leave', swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') },
      peers: [peer('pi2', { swarm: leader('pi2'), members })],
    });

  it('goes when the leader has removed it already', () => {
    expect(plan(leaving([nodeIdOf('pi2')]), 6_000)).toEqual([
      'leave the swarm by force',
      'forget the swarm',
      'remember that it has left',
    ]);
  });

  it('goes when the leader says that its work runs elsewhere, or after most of its time', () => {
    const drained = (more: object = {}) =>
      facts({
        engineSwarm: engineSwarm('pi1'),
        memory: { intent: 'leave', swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') },
        peers: [peer('pi2', { swarm: leader('pi2'), leaving: [nodeIdOf('pi1')], ...more })],
      });
    expect(plan(drained(), 10_000)).toEqual(['wait: the leader does not say yet that its work runs elsewhere']);
    expect(plan(drained({ released: [nodeIdOf('pi1')] }))[0]).toBe('leave the swarm');
    expect(plan(drained(), 45_000)[0]).toBe('leave the swarm');
  });

  it('waits for the leader while it is listed, or has only just joined', () => {
    const waits = ['wait: the leader has not drained this Pi yet'];
    expect(plan(leaving([nodeIdOf('pi1'), nodeIdOf('pi2')]), 6_000)).toEqual(waits);
    expect(plan(leaving([nodeIdOf('pi2')]), 1_000)).toEqual(waits);
  });
});

describe('L1 when the leader itself goes', () => {
  const own = { availability: 'drain' as const, labels: { 'pi-swarm.leaving': 'leave' } };
  const memory = { intent: 'leave' as const, swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') };
  const nodes = [manager('pi1', own), manager('pi2'), manager('pi3'), manager('pi4')];

  it('hands over once every other manager has been one for a while: leadership can fall to any of them', () => {
    expect(plan(leading(nodes, { memory }), 3_000)).toEqual(['demote pi1']);
    expect(plan(leading(nodes, { memory }), 2_000)).toEqual(['wait: handing over to the other managers']);
  });

  it('lets its work move first: while leadership moves, the swarm may decide nothing for 25 s', () => {
    const lastedMs = 5_000;
    const short = [{ ...service('whoami'), running: 4, desired: 5 }];
    expect(plan(leading(nodes, { memory, runningTasks: 1 }), lastedMs)).toEqual(['wait: 1 tasks still run here']);
    expect(plan(leading(nodes, { memory, services: short }), lastedMs)[0]).not.toBe('demote pi1');
    expect(plan(leading(nodes, { memory, services: [service('whoami')] }), lastedMs)).toEqual(['demote pi1']);
  });

  it('does not wait longer than most of its time for a service that never gets complete', () => {
    const short = [{ ...service('broken'), running: 0, desired: 1 }];
    expect(plan(leading(nodes, { memory, services: short }), 45_000)).toEqual(['demote pi1']);
  });

  it('goes as soon as the new leader says that it is no manager any more, whatever its engine still believes', () => {
    const engine = engineSwarm('pi1', { controlAvailable: true, cluster: cluster() });
    const heard = (more: object) =>
      facts({
        engineSwarm: engine,
        memory,
        peers: [
          peer('pi2', { swarm: leader('pi2'), members: ['node-pi1', 'node-pi2'], leaving: ['node-pi1'], ...more }),
        ],
      });
    expect(plan(heard({}))).toEqual(['wait: handing over to the other managers']);
    expect(plan(heard({ released: ['node-pi1'] }))[0]).toBe('leave the swarm by force');
  });

  describe('the leader releases a Pi', () => {
    const gone = (mark: 'leave' | 'shutdown', more: object = {}) =>
      node('pi2', { availability: 'drain', labels: { 'pi-swarm.leaving': mark }, ...more });
    const said = (it_: SwarmNode, more: object = {}) =>
      turn(leading([manager('pi1'), it_, manager('pi3')], more)).status.released;
    const voter = { role: 'manager', voter: true, reachable: true };

    it('that is drained and out of Raft', () => {
      expect(said(gone('leave'))).toEqual(['node-pi2']);
      expect(said(gone('leave', { voter: true }))).toBeUndefined();
      expect(said(gone('leave', voter))).toBeUndefined();
      expect(said(gone('leave', { availability: 'active' }))).toBeUndefined();
    });

    it('that only shuts down also as a manager', () => {
      expect(said(gone('shutdown', voter))).toEqual(['node-pi2']);
    });

    it('when nothing runs there any more, and everything elsewhere', () => {
      expect(said(gone('leave'), { busyNodes: ['node-pi2'] })).toBeUndefined();
      expect(said(gone('leave'), { busyNodes: ['node-pi3'] })).toEqual(['node-pi2']);
      expect(said(gone('leave'), { services: [{ ...service('whoami'), running: 0 }] })).toBeUndefined();
    });
  });

  it('does not wait for managers that Raft cannot reach: they get nothing handed over', () => {
    const five = [...nodes, manager('pi5', { state: 'down', reachable: false })];
    expect(plan(leading(five, { memory }), 3_000)).toEqual(['demote pi1']);
  });
});
