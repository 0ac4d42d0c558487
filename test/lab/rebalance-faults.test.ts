/** Something happens while the load is evened out: nothing is lost, and nothing of the move stays behind in the service. */
import { beforeAll, expect, it } from 'vitest';
import { describeOnNamespaces } from '../io/netns.ts';
import { agentPid, formed, nodesOf, oneCluster, oneOf, others, running, tasksOf } from './cluster.ts';
import { dockerOf, useLab, waitFor } from './harness.ts';

/** `GET /services/whoami` → Spec, as far as a move changes it. */
interface Spec {
  Labels: Record<string, string>;
  Mode: { Replicated: { Replicas: number } };
  TaskTemplate: { Placement: object };
  UpdateConfig?: object;
}

const REPLICAS = 6;

describeOnNamespaces('while tasks move to a Pi that is back', () => {
  const lab = useLab(oneCluster({ pis: 3, config: { drainTimeout: '25s' } }));
  let before: Spec;

  const specFrom = async (pi: string): Promise<Spec> =>
    ((await dockerOf(lab(), pi).getService('whoami').inspect()) as { Spec: Spec }).Spec;

  const phase = async (pi: string): Promise<string> => {
    const label = (await specFrom(pi)).Labels['pi-swarm.move'];
    return label === undefined ? 'none' : (JSON.parse(label) as { phase: string }).phase;
  };

  /** One Pi without work, and tasks on their way to it. @returns its name and the leader's */
  async function moving(wanted: 'surge' | 'block'): Promise<{ leader: string; to: string }> {
    const leader = oneOf(await nodesOf(lab()), 'leader').name;
    const [to = ''] = others(lab(), leader);
    await lab().run(leader, ['pi-swarm', 'drain', to]);
    await running(lab(), REPLICAS, others(lab(), to));
    await lab().run(leader, ['pi-swarm', 'drain', to, '--undo']);
    // It holds for some seconds, which is enough for the first move to begin.
    void lab().exec(leader, ['pi-swarm', 'rebalance', '--timeout', '3s']);
    await waitFor(() => phase(leader), { what: `phase ${wanted}`, everyMs: 20, is: seen => seen === wanted });
    return { leader, to };
  }

  /** As many run as are wished, and the service is what its user made. */
  async function whole(pis: readonly string[]): Promise<void> {
    await waitFor(() => Promise.any(pis.map(specFrom)), {
      what: 'the service as it was',
      timeoutMs: 90_000,
      is: spec => JSON.stringify(spec) === JSON.stringify(before),
    });
    await running(lab(), REPLICAS, pis);
  }

  const even = () =>
    waitFor(() => tasksOf(lab(), 'whoami'), {
      what: 'an even load',
      timeoutMs: 120_000,
      is: tasks =>
        lab()
          .pis()
          .every(name => tasks.filter(({ pi }) => pi === name).length === 2),
    });

  beforeAll(async () => {
    await formed(lab(), lab().pis(), 3);
    await lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', '--replicas', `${REPLICAS}`]);
    await running(lab(), REPLICAS, lab().pis());
    before = await specFrom('pi1');
    expect(before).toMatchObject({ Mode: { Replicated: { Replicas: REPLICAS } } });
  }, 120_000);

  it('it is shut down: the others go on with all of the work', async () => {
    const { to } = await moving('surge');
    await lab().shutdown(to);
    await whole(others(lab(), to));
    await lab().powerOn(to);
    await formed(lab(), lab().pis(), 3);
    await even();
  }, 240_000);

  for (const wanted of ['surge', 'block'] as const) {
    it(`the leader’s agent is killed in the phase ${wanted}: the next one goes on`, async () => {
      const { leader } = await moving(wanted);
      const pid = agentPid(lab(), leader);
      await lab().signalAgent(leader, 'SIGKILL');
      await waitFor(() => agentPid(lab(), leader), { what: 'a new agent', is: now => now !== pid && now !== 'none' });
      await whole(lab().pis());
      await even();
    }, 240_000);
  }

  it('the leader loses its power: the next one goes on', async () => {
    const { leader } = await moving('surge');
    await lab().powerCut(leader);
    await whole(others(lab(), leader));
    await lab().powerOn(leader);
    await formed(lab(), lab().pis(), 3);
    await even();
  }, 240_000);
});
