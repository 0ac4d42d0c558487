import { beforeAll, expect, it } from 'vitest';
import { EXIT } from '../../src/errors.ts';
import { describeOnNamespaces } from '../io/netns.ts';
import {
  agentPid,
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
  snapshotOf,
  type Task,
  tasksOf,
} from './cluster.ts';
import { docker, useLab, waitFor } from './harness.ts';

describeOnNamespaces('leaving a cluster that runs whoami', () => {
  const lab = useLab(oneCluster({ pis: 4, config: { drainTimeout: '25s', rebalance: false } }));

  beforeAll(async () => {
    await formed(lab(), lab().pis(), 3);
    await lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', '--replicas', '5', '--publish', '80:8000']);
    await running(lab(), 5, lab().pis());
  });

  /** A Pi with that role, and some of the work on it. */
  const pick = async (role: Node['role']): Promise<Node> => {
    const nodes = await nodesOf(lab());
    const node = oneOf(nodes, role);
    const works = async () => (await running(lab(), 5, lab().pis())).some(({ pi }) => pi === node.name);
    if (!(await works())) {
      await docker(lab(), oneOf(nodes, 'leader').name, 'service', 'update', '--force', '--detach', 'whoami');
      await waitFor(works, { what: `work on ${node.name}` });
    }
    return node;
  };

  /** Rules of ours in the Pi's kernel, in its own and in the ingress network's namespace. */
  const traces = (pi: string): Promise<string> =>
    lab().run(pi, [
      'sh',
      '-c',
      'nft list tables; iptables -S; [ "$(stat -f -c %T /run/docker/netns/ingress_sbox)" != nsfs ] || nsenter --net=/run/docker/netns/ingress_sbox nft list tables',
    ]);

  /**
   * What ran at the moment of the farewell: read as soon as a manager answers. While a leader is elected nobody does, and
   * nothing can be moved either.
   */
  const asLeft = (rest: string[]): Promise<Task[]> =>
    waitFor(() => tasksOf(lab(), 'whoami', rest), { what: 'a manager that answers', is: () => true });

  const answerAll = async (pis: string[], tasks: Task[]) => answersEverywhere(lab(), pis, containersOf(tasks));

  for (const role of ['worker', 'manager', 'leader'] as const) {
    it(`lets ${role === 'leader' ? 'the' : 'a'} ${role} go when its work runs elsewhere, and leaves no trace of it`, async ({
      annotate,
    }) => {
      const node = await pick(role);
      const rest = others(lab(), node.name);
      await waitFor(() => traces(node.name), { what: 'rules', is: text => /pi[_-]swarm/.test(text) });

      const began = performance.now();
      await lab().run(node.name, ['pi-swarm', 'leave']);
      await annotate(`${role}: left after ${secondsSince(began)} s`);
      const tasks = await asLeft(rest);
      expect(tasks).toHaveLength(5);
      expect(tasks.map(({ pi }) => pi)).not.toContain(node.name);
      // What stays behind is three Pis, and so three managers: a worker takes the place of a manager that went.
      await formed(lab(), rest, 3);
      await answerAll(rest, tasks);
      await waitFor(() => traces(node.name), { what: 'no rules any more', is: text => !/pi[_-]swarm/.test(text) });
    }, 90_000);

    it(`keeps the ${role} that left away through a restart of its agent, until it is asked to join`, async () => {
      const present = new Set((await nodesOf(lab(), await inSwarm())).map(({ name }) => name));
      const gone = lab()
        .pis()
        .find(pi => !present.has(pi));
      if (gone === undefined) throw new Error('nobody has left');
      const before = agentPid(lab(), gone);
      await lab().signalAgent(gone, 'SIGKILL');
      const snapshot = await waitFor(() => snapshotOf(lab(), gone), {
        what: 'the new agent to know all Pis',
        is: ({ cluster }) => agentPid(lab(), gone) !== before && cluster.pis.length === 4,
      });
      expect(snapshot.self).toMatchObject({ intent: 'left', swarm: { state: 'none' } });
      expect(snapshot.doing).toMatch(/has left/);
      await lab().run(gone, ['pi-swarm', 'join']);
      await formed(lab(), lab().pis(), 3);
      await answerAll(lab().pis(), await running(lab(), 5, lab().pis()));
    }, 90_000);
  }

  const inSwarm = async (): Promise<string[]> => {
    const found: string[] = [];
    for (const pi of lab().pis()) if ((await snapshotOf(lab(), pi)).self.swarm.state === 'active') found.push(pi);
    return found;
  };

  for (const role of ['worker', 'leader'] as const) {
    it(`moves the work of a ${role} away before it is powered off in order, and uses it again when it is back`, async ({
      annotate,
    }) => {
      const node = await pick(role);
      const rest = others(lab(), node.name);
      const began = performance.now();
      await lab().shutdown(node.name);
      const tasks = await asLeft(rest);
      await annotate(`${role}: off after ${secondsSince(began)} s`);
      expect(tasks).toHaveLength(5);
      expect(tasks.map(({ pi }) => pi)).not.toContain(node.name);
      expect(lab().logs(node.name, 'init')).not.toMatch(/agent did not end by itself/);
      const listed = (await nodesOf(lab(), rest)).find(({ id }) => id === node.id);
      expect(listed?.availability).toBe('drain');

      await lab().powerOn(node.name);
      const after = await formed(lab(), lab().pis(), 3);
      expect(after.map(({ id }) => id)).toContain(node.id);
      await answerAll(lab().pis(), await running(lab(), 5, lab().pis()));
    }, 120_000);
  }
});

describeOnNamespaces('the last Pi', () => {
  const lab = useLab(oneCluster({ pis: 1, config: { settleAlone: '500ms' } }));

  it('refuses to leave its services behind, unless it is forced', async () => {
    await formed(lab(), ['pi1'], 1);
    await waitFor(() => snapshotOf(lab(), 'pi1'), {
      what: 'pi1 to be calm',
      is: ({ doing }) => /all is well/.test(doing),
    });
    // Docker knows it some milliseconds before the agent does.
    await waitFor(() => snapshotOf(lab(), 'pi1'), {
      what: 'the agent to know its swarm',
      is: ({ self }) => self.swarm.state === 'active' && self.swarm.leader,
    });
    await lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', '--replicas', '1']);
    const refused = await lab().exec('pi1', ['pi-swarm', 'leave']);
    expect(refused.code).toBe(EXIT.refused);
    expect(refused.stderr).toMatch(/last Pi.*1 service runs[\s\S]*--force/);
    expect((await snapshotOf(lab(), 'pi1')).self).toMatchObject({ intent: 'stay', swarm: { state: 'active' } });

    await lab().run('pi1', ['pi-swarm', 'leave', '--force']);
    expect((await snapshotOf(lab(), 'pi1')).self).toMatchObject({ intent: 'left', swarm: { state: 'none' } });
    expect(await docker(lab(), 'pi1', 'info', '--format', '{{.Swarm.LocalNodeState}}')).toBe('inactive');
  });
});
