import Docker from 'dockerode';
import { beforeAll, expect, it } from 'vitest';
import { describeOnNamespaces } from '../io/netns.ts';
import { formed, nodesOf, oneCluster, oneOf, others, running, secondsSince, snapshotOf, tasksOf } from './cluster.ts';
import { docker, dockerOf, useLab, waitFor } from './harness.ts';
import { becomes, healthOf, setTemperature } from './weather.ts';

const HOT = 84;
const COOL = 50;
/** Readings each 5 s, 15 s until it counts, and a busy machine. */
const UNWELL_MS = 45_000;
/** A minute until it is well again. */
const WELL_MS = 100_000;

describeOnNamespaces('whoami on four Pis, of which some get hot', () => {
  // Evening out the load would move tasks as well.
  const lab = useLab(oneCluster({ pis: 4, config: { rebalance: false } }));

  beforeAll(async () => {
    await formed(lab(), lab().pis(), 3);
    await lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', '--replicas', '4']);
    await running(lab(), 4, lab().pis());
  });

  it('one gets no new work, keeps what it has, and says why, until it is cool again', async ({ annotate }) => {
    const nodes = await nodesOf(lab());
    const leader = oneOf(nodes, 'leader').name;
    const hot = oneOf(nodes, 'worker').name;
    const before = (await tasksOf(lab(), 'whoami')).filter(({ pi }) => pi === hot);
    expect(before).toHaveLength(1);

    let began = performance.now();
    await setTemperature(lab(), hot, HOT);
    await becomes(lab(), hot, leader, { availability: 'pause', label: 'hot' }, UNWELL_MS);
    await annotate(`paused after ${secondsSince(began)} s`);
    expect(await docker(lab(), leader, 'node', 'ls')).toMatch(new RegExp(`${hot} .*Ready +Pause`));

    await docker(lab(), leader, 'service', 'scale', '--detach', 'whoami=8');
    const tasks = await running(lab(), 8, lab().pis());
    expect(tasks.filter(({ pi }) => pi === hot)).toEqual(before);

    // Whoever asks, and wherever.
    for (const pi of [hot, leader]) {
      const status = await lab().run(pi, ['pi-swarm', 'status']);
      expect(status).toMatch(new RegExp(`${hot} .*paused .*84°C +hot`));
      expect(status).toMatch(new RegExp(`! ${hot} is too hot \\(84 °C now\\); it gets no new work`));
    }
    expect((await snapshotOf(lab(), leader)).cluster.pis.find(({ name }) => name === hot)).toMatchObject({
      unwell: 'hot',
      availability: 'pause',
    });

    began = performance.now();
    await setTemperature(lab(), hot, COOL);
    await becomes(lab(), hot, leader, { availability: 'active', label: undefined }, WELL_MS);
    await annotate(`active again after ${secondsSince(began)} s`);
    expect(performance.now() - began).toBeGreaterThan(55_000);
    expect((await tasksOf(lab(), 'whoami')).filter(({ pi }) => pi === hot)).toEqual(before);
    expect((await snapshotOf(lab(), leader)).notices).toEqual([]);
    await lab().run(leader, ['pi-swarm', 'scale', 'whoami=4']);
    await running(lab(), 4, lab().pis());
  }, 240_000);

  it('the leader hands over while it can, in seconds, and never do fewer tasks run', async ({ annotate }) => {
    const nodes = await nodesOf(lab());
    const leader = oneOf(nodes, 'leader').name;
    const managers = nodes.filter(({ role }) => role === 'manager').map(({ name }) => name);
    const elsewhere = (await tasksOf(lab(), 'whoami')).filter(({ pi }) => pi !== leader);
    await setTemperature(lab(), leader, HOT);
    await becomes(lab(), leader, leader, { availability: 'pause', label: 'hot' }, UNWELL_MS);
    const work = watchContainers(lab());
    const { next, silentMs } = await watchLeader(lab(), managers, leader);
    await annotate(`planned: ${next} leads after ${(silentMs / 1000).toFixed(1)} s without a leader`);
    expect(silentMs).toBeLessThan(10_000);
    const asked = performance.now();
    await lab().run(next, ['pi-swarm', 'scale', '--detach', 'whoami=5']);
    const more = await running(lab(), 5, lab().pis());
    await annotate(`planned: a new task runs ${secondsSince(asked)} s after it was asked for`);
    expect(more).toEqual(expect.arrayContaining(elsewhere));

    // The cool worker becomes the third manager, the hot one stays a worker without new work.
    const now = await waitFor(() => nodesOf(lab(), managers), {
      what: 'three managers without the hot one',
      is: all => all.filter(({ role, reachable }) => role !== 'worker' && reachable).length === 3,
    });
    expect(now.find(({ name }) => name === leader)?.role).toBe('worker');
    expect(await healthOf(lab(), leader, next)).toEqual({ availability: 'pause', label: 'hot' });
    // Its engine may take half a minute to notice that it is a worker.
    await waitFor(() => snapshotOf(lab(), leader), {
      what: 'the one that was leader to find the cluster in order',
      timeoutMs: 60_000,
      is: ({ self, cluster }) => self.swarm.state === 'active' && !self.swarm.leader && cluster.state === 'ok',
    });
    // What ran on it may have been started elsewhere meanwhile.
    expect(await running(lab(), 5, lab().pis())).toEqual(expect.arrayContaining(elsewhere));
    expect(await work.fewest()).toBeGreaterThanOrEqual(4);
  }, 180_000);

  it('nobody is paused where all are hot: who was is used again', async () => {
    const leader = oneOf(await nodesOf(lab()), 'leader').name;
    for (const pi of lab().pis()) await setTemperature(lab(), pi, HOT);
    await waitFor(() => snapshotOf(lab(), leader), {
      what: 'all to be unwell',
      timeoutMs: UNWELL_MS,
      is: ({ cluster }) => cluster.pis.every(({ unwell }) => unwell === 'hot'),
    });
    for (const pi of lab().pis())
      await becomes(lab(), pi, leader, { availability: 'active', label: undefined }, 10_000);
    const { notices } = await snapshotOf(lab(), leader);
    expect(notices.filter(({ kind }) => kind === 'pi-unwell')).toHaveLength(4);
    await docker(lab(), leader, 'service', 'scale', '--detach', 'whoami=8');
    await running(lab(), 8, lab().pis());
  }, 180_000);

  it('a leader that loses power instead leaves the swarm without one for longer', async ({ annotate }) => {
    const nodes = await nodesOf(lab());
    const leader = oneOf(nodes, 'leader').name;
    const managers = nodes.filter(({ role }) => role === 'manager').map(({ name }) => name);
    const watch = watchLeader(lab(), managers, leader);
    await lab().powerCut(leader);
    const { next, silentMs } = await watch;
    await annotate(`power cut: ${next} leads after ${(silentMs / 1000).toFixed(1)} s without a leader`);
    expect(others(lab(), leader)).toContain(next);
  }, 120_000);
});

describeOnNamespaces('with `health.evict`', () => {
  const lab = useLab(oneCluster({ pis: 3, config: { rebalance: false, health: { evict: true } } }));

  it('what runs on a hot Pi moves to others, new tasks first', async ({ annotate }) => {
    await formed(lab(), lab().pis(), 3);
    await lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', '--replicas', '3']);
    const before = await running(lab(), 3, lab().pis());
    const nodes = await nodesOf(lab());
    const [hot, leader] = [oneOf(nodes, 'manager').name, oneOf(nodes, 'leader').name];
    await setTemperature(lab(), hot, HOT);
    await becomes(lab(), hot, leader, { availability: 'pause', label: 'hot' }, UNWELL_MS);
    const began = performance.now();
    let fewest = 3;
    const after = await waitFor(() => tasksOf(lab(), 'whoami'), {
      what: `three tasks, none on ${hot}`,
      everyMs: 50,
      is: tasks => {
        fewest = Math.min(fewest, tasks.length);
        return tasks.length === 3 && tasks.every(({ pi }) => pi !== hot);
      },
    });
    await annotate(`moved ${secondsSince(began)} s after the pause`);
    expect(fewest).toBe(3);
    expect(after).toEqual(expect.arrayContaining(before.filter(({ pi }) => pi !== hot)));
  }, 120_000);
});

/** Counts the containers of whoami on all Pis until it is asked for the smallest number. */
function watchContainers(lab: TestLab): { fewest(): Promise<number> } {
  const dockers = lab.pis().map(pi => dockerOf(lab, pi));
  const filters = JSON.stringify({ label: ['com.docker.swarm.service.name=whoami'], status: ['running'] });
  let fewest = Number.POSITIVE_INFINITY;
  let over = false;
  const watching = (async () => {
    while (!over) {
      const lists = await Promise.all(dockers.map(docker => docker.listContainers({ filters })));
      fewest = Math.min(fewest, lists.flat().length);
      await new Promise(go => setTimeout(go, 200));
    }
  })();
  // Its error is thrown where the number is asked for.
  watching.catch(() => {});
  return {
    fewest: async () => {
      over = true;
      await watching;
      return fewest;
    },
  };
}

/** Asks the managers until one of them leads; how long none of them could answer for the swarm before. */
async function watchLeader(
  lab: TestLab,
  managers: readonly string[],
  before: string,
): Promise<{ next: string; silentMs: number }> {
  // A manager without a leader lets its caller wait.
  const dockers = managers.map(pi => new Docker({ socketPath: lab.engine(pi), timeout: 500 }));
  let heardMs = performance.now();
  let silentMs = 0;
  const next = await waitFor(
    async () => {
      const nodes = (await Promise.any(dockers.map(docker => docker.listNodes()))) as unknown as ApiNode[];
      silentMs = Math.max(silentMs, performance.now() - heardMs);
      heardMs = performance.now();
      return nodes.find(node => node.ManagerStatus?.Leader && node.Description.Hostname !== before)?.Description
        .Hostname;
    },
    { what: `another leader than ${before}`, timeoutMs: 90_000, everyMs: 20 },
  );
  return { next: next ?? '', silentMs };
}

type TestLab = ReturnType<ReturnType<typeof useLab>>;

interface ApiNode {
  Description: { Hostname: string };
  ManagerStatus?: { Leader?: boolean };
}
