import { afterEach, describe, expect, test, vi } from 'vitest';
import { nodesOf, oneCluster, oneOf } from './cluster.ts';
import { agentIsUp, agreed, becomeOne, startAgents, startOver, statusOf, timesDone } from './forming.ts';
import { dockerOf, useLab, waitFor } from './harness.ts';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

const THREE = ['pi1', 'pi2', 'pi3'];
const ORDERS = [
  ['pi1', 'pi2', 'pi3'],
  ['pi1', 'pi3', 'pi2'],
  ['pi2', 'pi1', 'pi3'],
  ['pi2', 'pi3', 'pi1'],
  ['pi3', 'pi1', 'pi2'],
  ['pi3', 'pi2', 'pi1'],
];

interface ApiSwarm {
  CreatedAt: string;
  Spec: { Dispatcher: { HeartbeatPeriod: number }; CAConfig: { NodeCertExpiry: number } };
}

describe('Pis of one cluster become one swarm', () => {
  const lab = useLab(oneCluster({ pis: 3, agents: false }));
  const swarmOf = async (pi: string): Promise<ApiSwarm> => (await dockerOf(lab(), pi).swarmInspect()) as ApiSwarm;

  // Two that merge in the end would look the same, and cost a Pi its swarm on the way.
  afterEach(() => expect(timesDone(lab(), 'init a new swarm')).toBe(1));

  test('when all agents start at once', async () => {
    await startAgents(lab());
    await becomeOne(lab(), THREE, 3, 'all at once');
  });

  test('which finds a silent Pi within seconds, and is not locked out after a summer in a drawer', async () => {
    // Of the managers, only the leader answers for sure: the others may still be getting ready.
    const leader = oneOf(await nodesOf(lab()), 'leader').name;
    const { Dispatcher, CAConfig } = (await swarmOf(leader)).Spec;
    expect(Dispatcher.HeartbeatPeriod / 1e9).toBe(1);
    expect(CAConfig.NodeCertExpiry / 1e9 / 86_400).toBeGreaterThanOrEqual(365);
  });

  test('and `pi-swarm status --json` says the same on each of them', async () => {
    const views = await Promise.all(THREE.map(pi => statusOf(lab(), pi)));
    expect(views.map(({ self }) => self.name)).toEqual(THREE);
    expect(views.map(({ cluster }) => cluster.state)).toEqual(['ok', 'ok', 'ok']);
    expect(new Set(views.map(({ cluster }) => cluster.swarmId)).size).toBe(1);
    const rows = views.map(({ cluster }) =>
      cluster.pis.map(({ name, role, swarmState, liveness }) => ({ name, role, swarmState, liveness })).sort(byName),
    );
    expect(rows[1]).toEqual(rows[0]);
    expect(rows[2]).toEqual(rows[0]);
    expect(views.flatMap(({ notices }) => notices)).toEqual([]);
  });

  test.each(ORDERS)('when their agents start one after another: %s, %s, %s', async (...order) => {
    await startOver(lab());
    for (const pi of order) {
      await lab().startAgent(pi);
      await agentIsUp(lab(), pi);
    }
    await becomeOne(lab(), THREE, 3, order.join(', '));
  });

  test('when one comes 30 s after the others have formed it: it joins theirs, and they are left as they are', async () => {
    await startOver(lab());
    await startAgents(lab(), ['pi2', 'pi3']);
    const before = await becomeOne(lab(), ['pi2', 'pi3'], 1, 'two of three');
    const first = before.find(({ role }) => role === 'leader')?.name ?? '';
    const createdMs = Date.parse((await swarmOf(first)).CreatedAt);
    const swarmId = await agreed(lab(), ['pi2', 'pi3']);
    await waitFor(() => Date.now() - createdMs >= 30_000, { what: 'the swarm to be 30 s old', timeoutMs: 40_000 });
    await lab().startAgent('pi1');
    const after = await becomeOne(lab(), THREE, 3, 'the late one');
    expect(await agreed(lab(), THREE)).toBe(swarmId);
    expect(
      after
        .filter(({ name }) => name !== 'pi1')
        .map(({ id }) => id)
        .sort(),
    ).toEqual(before.map(({ id }) => id).sort());
    expect(after.find(({ role }) => role === 'leader')?.name).toBe(first);
  });

  test('of five, three are managers', async () => {
    await startOver(lab());
    await Promise.all([lab().add({ agent: false }), lab().add({ agent: false })]);
    await startAgents(lab());
    await becomeOne(lab(), lab().pis(), 3, 'five at once');
    expect(await nodesOf(lab())).toHaveLength(5);
  });
});

describe('where multicast does not pass', () => {
  const PEERS: Record<string, string[]> = { pi1: [], pi2: ['pi1'], pi3: ['pi2'] };
  const lab = useLab(oneCluster({ pis: 3, config: pi => ({ mdns: false, peers: PEERS[pi] }) }));

  test('Pis that each know at most one other by name become one swarm: gossip introduces the rest', async () => {
    await becomeOne(lab(), THREE, 3, 'static peers');
  });
});

const byName = (a: { name: string }, b: { name: string }): number => a.name.localeCompare(b.name);
