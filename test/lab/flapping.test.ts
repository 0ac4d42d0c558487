import { beforeAll, expect, it } from 'vitest';
import { describeOnNamespaces } from '../io/netns.ts';
import {
  agentPid,
  answersEverywhere,
  answersOf,
  containersOf,
  failed,
  formed,
  type Node,
  nodesOf,
  oneCluster,
  oneOf,
  running,
  secondsSince,
  snapshotOf,
  tasksOf,
} from './cluster.ts';
import { agreed } from './forming.ts';
import { docker, dockerOf, useLab, waitFor } from './harness.ts';
import { type TaskLife, TaskWatch } from './task-watch.ts';

/** Two on each Pi. */
const REPLICAS = 8;
const FLAPS = 10;
/** Down comes after 3 × (1 s ± 0.5 s) at first. */
const GONE_MS = 4_800;
/** So that ten flaps take about a minute. */
const BETWEEN_MS = 1_200;

interface Swarm {
  heartbeatMs: number;
  labels: Record<string, string>;
}

interface ApiSwarm {
  Spec: { Labels?: Record<string, string>; Dispatcher: { HeartbeatPeriod: number } };
}

describeOnNamespaces('a Pi that comes and goes ten times in a minute', () => {
  const lab = useLab(oneCluster({ pis: 4 }));

  const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

  const leader = async (): Promise<string> => oneOf(await nodesOf(lab()), 'leader').name;

  const swarmNow = async (): Promise<Swarm> => {
    const { Spec } = (await dockerOf(lab(), await leader()).swarmInspect()) as ApiSwarm;
    return { heartbeatMs: Spec.Dispatcher.HeartbeatPeriod / 1e6, labels: Spec.Labels ?? {} };
  };

  const setHeartbeat = async (time: string) => {
    await docker(lab(), await leader(), 'swarm', 'update', '--dispatcher-heartbeat', time);
  };

  /** The worker; its share of the work is brought back to it where others took it. */
  const workerWithTasks = async (): Promise<{ worker: Node; share: number }> => {
    const worker = oneOf(await nodesOf(lab()), 'worker');
    const share = async () => (await tasksOf(lab(), 'whoami')).filter(({ pi }) => pi === worker.name).length;
    if ((await share()) === 0) {
      await docker(lab(), await leader(), 'service', 'update', '--force', '--quiet', '--no-resolve-image', 'whoami');
      await waitFor(share, { what: `tasks on ${worker.name}` });
    }
    await running(lab(), REPLICAS, lab().pis());
    return { worker, share: await share() };
  };

  beforeAll(async () => {
    await formed(lab(), lab().pis(), 3);
    await lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', '--replicas', `${REPLICAS}`, '--publish', '80:8000']);
    const tasks = await running(lab(), REPLICAS, lab().pis());
    await answersEverywhere(lab(), lab().pis(), containersOf(tasks));
  });

  /** Ten flaps; those tasks that were started while they went on. */
  const startsDuring = async (go: () => Promise<void>, comeBack: () => Promise<void>): Promise<TaskLife[]> => {
    const watch = new TaskWatch(lab());
    const began = performance.now();
    const before = Date.now();
    try {
      for (let flap = 0; flap < FLAPS; flap++) {
        await go();
        await pause(GONE_MS);
        await comeBack();
        await pause(BETWEEN_MS);
      }
      console.info(`${FLAPS} flaps took ${secondsSince(began)} s`);
      await formed(lab(), lab().pis(), 3);
      await running(lab(), REPLICAS, lab().pis());
    } finally {
      await watch.stop();
    }
    const { tasks } = await watch.stop();
    return tasks.filter(({ service, runsSinceMs }) => service === 'whoami' && runsSinceMs >= before);
  };

  /** What ran there starts elsewhere, once; it may be caught half-way by the next flap: as much again. */
  const noStorm = (starts: TaskLife[], share: number) => {
    console.info(`${share} of ${REPLICAS} tasks were there; started: ${starts.map(({ pi }) => pi).join(', ')}`);
    expect(starts.length).toBeGreaterThanOrEqual(share);
    expect(starts.length).toBeLessThanOrEqual(2 * share + 1);
  };

  /** Not `answersEverywhere`: the load is evened out meanwhile, and containers change. */
  const soundAgain = async (pis: string[]) => {
    await agreed(lab(), pis);
    await running(lab(), REPLICAS, pis);
    for (const pi of pis) {
      await waitFor(() => answersOf(lab(), pi, 2 * REPLICAS), {
        what: `${pi} to answer each time`,
        // The engines' gossip takes up to a minute to agree on where each task is.
        timeoutMs: 120_000,
        is: answers => !answers.some(failed),
      });
    }
  };

  it('by its cable: no storm of tasks, and the cluster becomes patient and says with whom', async () => {
    const { worker, share } = await workerWithTasks();
    const { name } = worker;
    expect((await swarmNow()).heartbeatMs).toBe(1_000);
    const starts = await startsDuring(
      () => lab().unplug(name),
      () => lab().plug(name),
    );
    noStorm(starts, share);
    const { heartbeatMs, labels } = await swarmNow();
    console.info(`heartbeat ${heartbeatMs} ms, ${JSON.stringify(labels)}`);
    expect(heartbeatMs).toBeGreaterThan(1_000);
    expect(labels).toMatchObject({ 'pi-swarm.patience-node': worker.id });
    await soundAgain(lab().pis());
    for (const pi of lab().pis()) {
      const { notices } = await snapshotOf(lab(), pi);
      expect(notices, pi).toContainEqual(
        expect.objectContaining({ kind: 'patience', text: expect.stringContaining(`because ${name} came`) }),
      );
    }
  }, 400_000);

  it('patience outlives all agents, and is there again when somebody has reset the heartbeat', async () => {
    const { heartbeatMs, labels } = await swarmNow();
    await setHeartbeat('1s');
    await waitFor(swarmNow, {
      what: `a heartbeat of ${heartbeatMs} ms again`,
      timeoutMs: 60_000,
      is: now => now.heartbeatMs === heartbeatMs,
    });
    const pids = lab()
      .pis()
      .map(pi => agentPid(lab(), pi));
    await Promise.all(
      lab()
        .pis()
        .map(pi => lab().signalAgent(pi)),
    );
    await waitFor(
      () =>
        lab()
          .pis()
          .map(pi => agentPid(lab(), pi)),
      {
        what: 'new agents',
        is: now => now.every((pid, index) => pid !== 'none' && pid !== pids[index]),
      },
    );
    await agreed(lab(), lab().pis());
    expect(await swarmNow()).toEqual({ heartbeatMs, labels });
  });

  it('by its power: no storm of tasks, and it is taken back each time as what it was', async () => {
    const { worker, share } = await workerWithTasks();
    const { name } = worker;
    const starts = await startsDuring(
      () => lab().powerCut(name),
      () => lab().powerOn(name),
    );
    noStorm(starts, share);
    expect((await swarmNow()).heartbeatMs).toBeGreaterThan(1_000);
    expect((await nodesOf(lab())).find(node => node.name === name)?.id).toBe(worker.id);
    await soundAgain(lab().pis());
  }, 400_000);
});
