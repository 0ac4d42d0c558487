/** Network cuts, which differ from power cuts: the Pi goes on and thinks that the others are gone. And two of five at once. */
import { beforeAll, expect, it } from 'vitest';
import { describeOnNamespaces } from '../io/netns.ts';
import {
  answersEverywhere,
  containersOf,
  formed,
  type Node,
  nodesOf,
  oneCluster,
  oneOf,
  others,
  running,
  secondsSince,
  tasksOf,
} from '../lab/cluster.ts';
import { docker, useLab, waitFor } from '../lab/harness.ts';

const REPLICAS = 6;
/** An election takes 10–19 s; with two managers left, both may stand at once, and then it takes one more. */
const LEADER_MAX_MS = 45_000;

describeOnNamespaces('five Pis with six replicas', () => {
  const lab = useLab(oneCluster({ pis: 5, config: { steadyFor: '1s', rebalanceEvery: '1s' } }));

  beforeAll(async () => {
    await formed(lab(), lab().pis(), 3);
    const words = ['--replicas', `${REPLICAS}`, '--publish', '80:8000'];
    await lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', ...words]);
    await running(lab(), REPLICAS, lab().pis());
  }, 120_000);

  /** Everybody has some of the work. */
  const even = () =>
    waitFor(() => tasksOf(lab(), 'whoami'), {
      what: 'some work on each Pi',
      timeoutMs: 90_000,
      is: tasks => tasks.length === REPLICAS && new Set(tasks.map(({ pi }) => pi)).size === 5,
    });

  const containersEverywhere = async (): Promise<number> => {
    const words = ['ps', '-q', '--filter', 'label=com.docker.swarm.service.name=whoami'];
    const lists = await Promise.all(
      lab()
        .pis()
        .map(pi => docker(lab(), pi, ...words)),
    );
    return lists.flatMap(text => text.split('\n').filter(Boolean)).length;
  };

  /** All are one swarm again as they were, and no container runs twice. */
  const whole = async (gone: readonly Node[]): Promise<void> => {
    const nodes = await formed(lab(), lab().pis(), 3, 90_000);
    for (const { id, name } of gone) expect(nodes.find(node => node.name === name)?.id).toBe(id);
    await running(lab(), REPLICAS, lab().pis());
    await waitFor(containersEverywhere, {
      what: `${REPLICAS} containers on all Pis together`,
      is: count => count === REPLICAS,
    });
  };

  /**
   * The engines' gossip takes up to a minute to agree again on where each task is: the one that was away tells the others, too,
   * that theirs are gone.
   */
  const answers = async () => {
    await even();
    await answersEverywhere(lab(), lab().pis(), containersOf(await tasksOf(lab(), 'whoami')), 120_000);
  };

  for (const [role, maxMs] of [
    ['worker', 10_000],
    ['manager', 10_000],
    ['leader', LEADER_MAX_MS],
  ] as const) {
    it(`run elsewhere when the network of ${role === 'leader' ? 'the' : 'a'} ${role} is cut, and only once when it is back`, async ({
      annotate,
    }) => {
      await even();
      const victim = oneOf(await nodesOf(lab()), role);
      const rest = others(lab(), victim.name);
      const began = performance.now();
      await lab().unplug(victim.name);
      const tasks = await running(lab(), REPLICAS, rest);
      const tookMs = performance.now() - began;
      await annotate(`${role}, network cut: ${REPLICAS}/${REPLICAS} on the rest after ${secondsSince(began)} s`);
      await answersEverywhere(lab(), rest, containersOf(tasks));
      const plugged = performance.now();
      await lab().plug(victim.name);
      await whole([victim]);
      await annotate(`${role}, network cut: whole again after ${secondsSince(plugged)} s`);
      await answers();
      await annotate(`${role}, network cut: all answer everywhere after ${secondsSince(plugged)} s`);
      expect(tookMs).toBeLessThan(maxMs);
    });
  }

  it('run on the other three when two lose their power at once, the leader among them', async ({ annotate }) => {
    await even();
    const nodes = await nodesOf(lab());
    const gone = [oneOf(nodes, 'leader'), oneOf(nodes, 'worker')];
    const rest = others(lab(), ...gone.map(({ name }) => name));
    const began = performance.now();
    await Promise.all(gone.map(({ name }) => lab().powerCut(name)));
    const tasks = await running(lab(), REPLICAS, rest);
    await annotate(`two of five: ${REPLICAS}/${REPLICAS} on the rest after ${secondsSince(began)} s`);
    const tookMs = performance.now() - began;
    await answersEverywhere(lab(), rest, containersOf(tasks));
    const on = performance.now();
    await Promise.all(gone.map(({ name }) => lab().powerOn(name)));
    await whole(gone);
    await even();
    await annotate(`two of five: even again after ${secondsSince(on)} s`);
    await answers();
    expect(tookMs).toBeLessThan(LEADER_MAX_MS);
  });
});
