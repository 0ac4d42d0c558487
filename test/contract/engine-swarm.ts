/** What several engines do together; the same on fakes and on real ones. */
import { expect, it } from 'vitest';
import type { SwarmNode } from '../../src/core/world.ts';
import type { EngineError } from '../../src/errors.ts';
import { WHOAMI_IMAGE } from '../../src/io/whoami.ts';
import type { Engine } from '../../src/ports.ts';
import { movesContract } from './engine-moves.ts';

/** Three engines, called pi1 to pi3, that reach each other. */
export interface SwarmSubject {
  engine(pi: string): Engine;
  address(pi: string): string;
  powerCut(pi: string): Promise<void>;
  powerOn(pi: string): Promise<void>;
  /** What a service is asked to be, whole, in the engine's own words. */
  spec(pi: string, service: string): Promise<object>;
  /** Whether the image is there: without it no new task runs on that Pi. */
  canStart(pi: string, can: boolean): Promise<void>;
  /** `docker service scale`: somebody who knows nothing of pi-swarm. */
  scaleByHand(pi: string, service: string, replicas: number): Promise<void>;
  /** Lets time pass until it is true; an error counts as «not yet». */
  eventually(what: string, done: () => Promise<boolean>): Promise<void>;
}

const SETTINGS = { labels: {}, dispatcherHeartbeatMs: 1_000, nodeCertExpiryMs: 1e12 };

const failureOf = (call: Promise<unknown>): Promise<EngineError> =>
  call.then(
    () => Promise.reject(new Error('it should have thrown')),
    (error: EngineError) => error,
  );

export function swarmContract(subject: () => SwarmSubject): void {
  const on = (pi: string): Engine => subject().engine(pi);
  const nodeOf = async (pi: string, from = 'pi1'): Promise<SwarmNode | undefined> =>
    (await on(from).nodes()).find(node => node.hostname === pi);
  const idOf = async (pi: string): Promise<string> => (await on(pi).info()).swarm.nodeId;
  const eventually: SwarmSubject['eventually'] = (what, done) => subject().eventually(what, done);
  const running = (count: number, from = 'pi1') =>
    eventually(`${count} running`, async () => (await on(from).services())[0]?.running === count);

  it('join as workers, and are ready', async () => {
    await on('pi1').swarmInit({ ...SETTINGS, advertiseAddress: subject().address('pi1') });
    const token = await on('pi1').workerToken();
    for (const pi of ['pi2', 'pi3']) {
      await on(pi).swarmJoin({
        advertiseAddress: subject().address(pi),
        managers: [`${subject().address('pi1')}:2377`],
        token,
      });
    }
    await eventually(
      'three ready',
      async () => (await on('pi1').nodes()).filter(node => node.state === 'ready').length === 3,
    );
    const { swarm } = await on('pi2').info();
    expect(swarm).toMatchObject({ localState: 'active', controlAvailable: false });
    expect(swarm.remoteManagers).toEqual([`${subject().address('pi1')}:2377`]);
    expect(swarm.cluster).toBeUndefined();
    expect((await failureOf(on('pi2').nodes())).status).toBe(503);
  });

  it('become managers when they are promoted', async () => {
    for (const pi of ['pi2', 'pi3']) {
      await on('pi1').nodeUpdate(await idOf(pi), { role: 'manager' });
      await eventually(`${pi} reachable`, async () => (await nodeOf(pi))?.reachable === true);
      await eventually(`${pi} in control`, async () => (await on(pi).info()).swarm.controlAvailable);
    }
    await eventually('pi3 answers for the swarm', async () => (await on('pi3').nodes()).length === 3);
    const { swarm } = await on('pi3').info();
    expect(swarm.cluster?.id).toBe((await on('pi1').info()).swarm.cluster?.id);
    expect((await on('pi1').nodes()).filter(node => node.leader)).toHaveLength(1);
  });

  it('share the tasks of a service evenly', async () => {
    await on('pi1').serviceCreate({
      name: 'whoami',
      image: WHOAMI_IMAGE,
      platforms: [],
      replicas: 3,
      ports: [],
      env: [],
      constraints: [],
      labels: {},
      mounts: [],
      networks: [],
      restartDelayMs: 100,
    });
    await running(3);
    expect(new Set((await on('pi1').tasks()).map(task => task.nodeId)).size).toBe(3);
  });

  movesContract(subject);

  it('run the tasks elsewhere when one loses power, call it down, and ready when it is back', async () => {
    await subject().powerCut('pi3');
    await eventually('pi3 down', async () => (await nodeOf('pi3'))?.state === 'down');
    await running(3);
    expect(await nodeOf('pi3')).toMatchObject({ role: 'manager', reachable: false });
    await subject().powerOn('pi3');
    await eventually(
      'pi3 ready',
      async () => (await nodeOf('pi3'))?.state === 'ready' && (await nodeOf('pi3'))?.reachable === true,
    );
    expect((await on('pi3').info()).swarm.localState).toBe('active');
    expect(await on('pi3').runningTaskContainers()).toBe(0);
  });

  // Real engines took 20 to 80 s to find each other again: their connections wait longer after each failure.
  it('answer nothing without a majority of managers, and go on when it is back', async () => {
    await Promise.all(['pi2', 'pi3'].map(pi => subject().powerCut(pi)));
    await eventually('no answer', () =>
      on('pi1')
        .nodes()
        .then(
          () => false,
          () => true,
        ),
    );
    const { swarm } = await on('pi1').info();
    expect(swarm).toMatchObject({ controlAvailable: true, localState: 'active' });
    expect(swarm.error).not.toBe('');
    await Promise.all(['pi2', 'pi3'].map(pi => subject().powerOn(pi)));
    await eventually(
      'three ready',
      async () => (await on('pi1').nodes()).filter(node => node.state === 'ready').length === 3,
    );
    await running(3);
  }, 300_000);

  it('choose another leader when the leader loses power', async () => {
    const leader = (await on('pi1').nodes()).find(node => node.leader)?.hostname ?? '';
    const other = leader === 'pi2' ? 'pi3' : 'pi2';
    await subject().powerCut(leader);
    await eventually('another leader', async () => {
      const now = (await on(other).nodes()).find(node => node.leader);
      return now !== undefined && now.hostname !== leader;
    });
    await running(3, other);
    await subject().powerOn(leader);
    await eventually('all ready', async () =>
      (await on('pi1').nodes()).every(node => node.state === 'ready' && node.reachable),
    );
  });

  it('must be demoted before they are removed; the removed one is not told', async () => {
    const from = (await on('pi1').nodes()).find(node => node.leader)?.hostname ?? '';
    const gone = from === 'pi3' ? 'pi2' : 'pi3';
    const nodeId = await idOf(gone);
    expect((await failureOf(on(from).nodeRemove(nodeId, true))).message).toMatch(/must be demoted/);
    await on(from).nodeUpdate(nodeId, { role: 'worker' });
    await eventually('a worker', async () => !(await on(gone).info()).swarm.controlAvailable);
    // Becoming a worker interrupts its session: for a moment it is not ready, and then a removal needs no force.
    await eventually('a ready worker', async () => (await nodeOf(gone, from))?.state === 'ready');
    expect((await failureOf(on(from).nodeRemove(nodeId, false))).message).toMatch(/not down/);
    await on(from).nodeRemove(nodeId, true);
    expect(await nodeOf(gone, from)).toBeUndefined();
    expect((await on(gone).info()).swarm).toMatchObject({ localState: 'active', nodeId });
    await on(gone).swarmLeave(true);
    expect((await on(gone).info()).swarm.localState).toBe('inactive');
  });
}
