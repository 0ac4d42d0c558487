import { beforeAll, expect, it } from 'vitest';
import { describeOnNamespaces } from '../io/netns.ts';
import {
  answersEverywhere,
  answersOf,
  containersOf,
  failed,
  formed,
  type Node,
  nodesOf,
  oneCluster,
  oneOf,
  others,
  running,
  secondsSince,
  snapshotOf,
} from './cluster.ts';
import { docker, useLab, waitFor, withLab } from './harness.ts';

describeOnNamespaces('whoami with five replicas on three managers and a worker', () => {
  // No task may move while it is asked which containers answer.
  const lab = useLab(oneCluster({ pis: 4, config: { rebalance: false } }));

  beforeAll(async () => {
    await formed(lab(), lab().pis(), 3);
    await lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', '--replicas', '5', '--publish', '80:8000']);
    const tasks = await running(lab(), 5, lab().pis());
    await answersEverywhere(lab(), lab().pis(), containersOf(tasks));
  });

  /** A Pi with that role; its share of the work is moved to it first, where others took it in an earlier test. */
  const victimOf = async (role: Node['role']): Promise<Node> => {
    const victim = oneOf(await nodesOf(lab()), role);
    const [other = ''] = others(lab(), victim.name);
    const on = async () => (await running(lab(), 5, lab().pis())).filter(({ pi }) => pi === victim.name).length;
    if ((await on()) === 0) {
      await docker(lab(), other, 'service', 'update', '--force', '--detach', 'whoami').catch(() =>
        docker(lab(), victim.name, 'service', 'update', '--force', '--detach', 'whoami'),
      );
      await waitFor(on, { what: `a task on ${victim.name}` });
      await running(lab(), 5, lab().pis());
    }
    return victim;
  };

  const shownDead = (victim: string, by: string[]) =>
    Promise.all(
      by.map(pi =>
        waitFor(async () => (await snapshotOf(lab(), pi)).cluster.pis.find(({ name }) => name === victim)?.liveness, {
          what: `${pi} to show ${victim} as dead`,
          timeoutMs: 15_000,
          is: liveness => liveness === 'dead',
        }),
      ),
    );

  const meshIsOurs = async (pi: string) => (await snapshotOf(lab(), pi)).mesh.mode === 'nftables';

  /** From when liveness knows, no request fails any more: the rules follow at once, not when the swarm has noticed. */
  const noRequestFails = async (pis: string[]) => {
    if (!(await meshIsOurs(pis[0] ?? ''))) return;
    for (const pi of pis) {
      await waitFor(() => answersOf(lab(), pi, 10), {
        what: `${pi} to answer without the dead Pi's tasks`,
        timeoutMs: 6_000,
        is: answers => !answers.some(failed),
      });
    }
    for (const pi of pis) expect((await answersOf(lab(), pi, 20)).filter(failed)).toEqual([]);
  };

  const isBack = async ({ name, id, role }: Node) => {
    const nodes = await formed(lab(), lab().pis(), 3);
    const now = nodes.find(node => node.name === name);
    expect(now?.id).toBe(id);
    expect(now?.role === 'worker').toBe(role === 'worker');
    const tasks = await running(lab(), 5, lab().pis());
    await answersEverywhere(lab(), lab().pis(), containersOf(tasks));
  };

  for (const role of ['worker', 'manager', 'leader'] as const) {
    it(`outlives a power cut of ${role === 'leader' ? 'the' : 'a'} ${role} and takes it back as what it was`, async ({
      annotate,
    }) => {
      const victim = await victimOf(role);
      const rest = others(lab(), victim.name);
      const began = performance.now();
      await lab().powerCut(victim.name);
      const elsewhere = running(lab(), 5, rest).then(tasks => ({ tasks, ms: performance.now() - began }));
      const [{ tasks, ms }] = await Promise.all([
        elsewhere,
        (async () => {
          await shownDead(victim.name, rest);
          await annotate(`${role}: known to be dead after ${secondsSince(began)} s`);
          await noRequestFails(rest);
        })(),
      ]);
      await annotate(`${role}: 5/5 on the rest after ${(ms / 1000).toFixed(1)} s`);
      await answersEverywhere(lab(), rest, containersOf(tasks));
      const returned = performance.now();
      await lab().powerOn(victim.name);
      await isBack(victim);
      await annotate(`${role}: back after ${secondsSince(returned)} s`);
    }, 120_000);
  }
});

describeOnNamespaces('Pis that come back otherwise', () => {
  // At once, each in a lab of its own: an engine that is no longer what it was takes 20 s to start.
  it.concurrent("gives a manager's part to a worker after `replaceAfter`; the one that returns is a worker", async ({
    annotate,
  }) => {
    await withLab(oneCluster({ pis: 4, config: { replaceAfter: '5s' } }), async lab => {
      await formed(lab, lab.pis(), 3);
      const nodes = await nodesOf(lab);
      const [gone, worker] = [oneOf(nodes, 'manager'), oneOf(nodes, 'worker')];
      const rest = others(lab, gone.name);
      await lab.powerCut(gone.name);
      await waitFor(() => nodesOf(lab, rest), {
        what: `${worker.name} to be a manager instead of ${gone.name}`,
        is: now =>
          now.some(({ id, role, reachable }) => id === worker.id && role === 'manager' && reachable) &&
          now.some(({ id, role, ready }) => id === gone.id && role === 'worker' && !ready),
      });
      const returned = performance.now();
      await lab.powerOn(gone.name);
      // Takes 20 s or more: so long does dockerd wait at its start for a swarm that does not take it as what it was.
      const after = await formed(lab, lab.pis(), 3);
      await annotate(`replaced manager: back after ${secondsSince(returned)} s`);
      expect(after.find(({ name }) => name === gone.name)).toMatchObject({ role: 'worker' });
    });
  });

  it.concurrent('forgets a worker after `forgetAfter`; the one that returns joins anew by itself', async ({
    annotate,
  }) => {
    await withLab(oneCluster({ pis: 2, config: { forgetAfter: '10s' } }), async lab => {
      await formed(lab, lab.pis(), 1);
      const gone = oneOf(await nodesOf(lab), 'worker');
      const rest = others(lab, gone.name);
      await lab.powerCut(gone.name);
      await waitFor(() => nodesOf(lab, rest), {
        what: `${gone.name} to be forgotten`,
        is: nodes => nodes.length === 1,
      });
      const returned = performance.now();
      await lab.powerOn(gone.name);
      const after = await formed(lab, lab.pis(), 1);
      await annotate(`forgotten worker: back after ${secondsSince(returned)} s`);
      expect(after.find(({ name }) => name === gone.name)?.id).not.toBe(gone.id);
    });
  });

  it.concurrent('takes a Pi with a new card in and forgets what it was at once', async ({ annotate }) => {
    await withLab(oneCluster({ pis: 3 }), async lab => {
      await formed(lab, lab.pis(), 3);
      const gone = oneOf(await nodesOf(lab), 'manager');
      const identity = (await snapshotOf(lab, gone.name)).self;
      const began = performance.now();
      await lab.powerCut(gone.name);
      await lab.wipe(gone.name);
      await lab.powerOn(gone.name);
      const after = await formed(lab, lab.pis(), 3);
      await annotate(`new card: in place of the old one after ${secondsSince(began)} s`);
      expect(performance.now() - began).toBeLessThan(60_000);
      expect(after.map(({ id }) => id)).not.toContain(gone.id);
      const now = (await snapshotOf(lab, gone.name)).self;
      expect(now.id).not.toBe(identity.id);
      expect(now.hardware).toBe(identity.hardware);
    });
  });

  it.concurrent('outlive a pulled network cable, and run exactly five again when it is plugged in', async ({
    annotate,
  }) => {
    await withLab(oneCluster({ pis: 3, config: { rebalance: false } }), async lab => {
      await formed(lab, lab.pis(), 3);
      await lab.run('pi1', ['pi-swarm', 'deploy', 'whoami', '--replicas', '5', '--publish', '80:8000']);
      await running(lab, 5, lab.pis());
      const victim = oneOf(await nodesOf(lab), 'manager');
      const rest = others(lab, victim.name);
      const began = performance.now();
      await lab.unplug(victim.name);
      const elsewhere = await running(lab, 5, rest);
      await annotate(`cable: 5/5 on the rest after ${secondsSince(began)} s`);
      await answersEverywhere(lab, rest, containersOf(elsewhere));

      const plugged = performance.now();
      await lab.plug(victim.name);
      const after = await formed(lab, lab.pis(), 3);
      expect(after.find(({ name }) => name === victim.name)?.id).toBe(victim.id);
      const tasks = await running(lab, 5, lab.pis());
      const containers = async () => {
        const words = ['ps', '-q', '--filter', 'label=com.docker.swarm.service.name=whoami'];
        const lists = await Promise.all(lab.pis().map(pi => docker(lab, pi, ...words)));
        return lists.flatMap(text => text.split('\n').filter(Boolean)).length;
      };
      await waitFor(containers, { what: 'five containers on all Pis together', is: count => count === 5 });
      // The engines' gossip takes up to a minute to agree again on where each task is: the one that was away tells the others, too, that
      // theirs are gone.
      await answersEverywhere(lab, lab.pis(), containersOf(tasks), 120_000);
      await annotate(`cable: answers from all again after ${secondsSince(plugged)} s`);
    });
  }, 240_000);
});
