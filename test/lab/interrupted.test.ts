/** The agent of the Pi that goes, or the leader's, is killed in the midst of a leave: the others, or the next one, go on. */
import { isDeepStrictEqual } from 'node:util';
import { beforeAll, expect, it } from 'vitest';
import { Load } from '../../scripts/load.ts';
import { describeOnNamespaces } from '../io/netns.ts';
import {
  agentPid,
  answersEverywhere,
  containersOf,
  formed,
  nodesOf,
  oneCluster,
  oneOf,
  others,
  running,
  secondsSince,
  snapshotOf,
  type Task,
} from './cluster.ts';
import { dockerOf, useLab, waitFor } from './harness.ts';
import { GENTLY } from './load.ts';

type Phase = 'pause' | 'surge' | 'block';

interface Spec {
  Labels: Record<string, string>;
}

const REPLICAS = 6;

describeOnNamespaces('an agent that is killed while a Pi leaves', () => {
  const lab = useLab(oneCluster({ pis: 4, config: { drainTimeout: '25s' } }));
  let asDeployed: Spec;

  const specFrom = async (pi: string): Promise<Spec> =>
    ((await dockerOf(lab(), pi).getService('whoami').inspect()) as { Spec: Spec }).Spec;

  const availability = async (name: string, leader: string): Promise<string | undefined> =>
    (await nodesOf(lab(), [leader])).find(node => node.name === name)?.availability;

  /** What the leader of the swarm has written down of the leave. */
  const phase = async (going: string, leader: string): Promise<Phase | undefined> => {
    const label = (await specFrom(leader)).Labels['pi-swarm.move'];
    if (label !== undefined) return (JSON.parse(label) as { phase: Phase }).phase;
    return (await availability(going, leader)) === 'pause' ? 'pause' : undefined;
  };

  /** A service as its user made it, all of it running, nobody marked any more. @returns whether the Pi has left */
  const ended = async (going: string): Promise<boolean> => {
    const rest = others(lab(), going);
    return waitFor(
      async () => {
        const spec = await Promise.any(rest.map(specFrom));
        const node = (await nodesOf(lab(), rest)).find(({ name }) => name === going);
        const tasks = await running(lab(), REPLICAS, lab().pis(), 1_000);
        if (!isDeepStrictEqual(spec, asDeployed)) throw new Error(`the service is ${JSON.stringify(spec)}`);
        const { intent } = (await snapshotOf(lab(), going)).self;
        const left = intent === 'left' && tasks.every(({ pi }) => pi !== going);
        const stays = intent === 'stay' && node?.ready === true && node.availability === 'active';
        return left || stays ? { left } : undefined;
      },
      { what: 'a clean end', timeoutMs: 60_000 },
    ).then(end => end?.left === true);
  };

  /** All Pis are there, with some of the work on a worker. */
  const ready = async (): Promise<{ leader: string; going: string }> => {
    for (const pi of lab().pis()) {
      if ((await snapshotOf(lab(), pi)).self.intent === 'left') await lab().run(pi, ['pi-swarm', 'join']);
    }
    const nodes = await formed(lab(), lab().pis(), 3);
    const [leader, going] = [oneOf(nodes, 'leader').name, oneOf(nodes, 'worker').name];
    await lab().run(leader, ['pi-swarm', 'rebalance']);
    const works = (tasks: Task[]) => tasks.some(({ pi }) => pi === going);
    const tasks = await waitFor(() => running(lab(), REPLICAS, lab().pis()), { what: `work on ${going}`, is: works });
    await answersEverywhere(lab(), lab().pis(), containersOf(tasks));
    return { leader, going };
  };

  beforeAll(async () => {
    await formed(lab(), lab().pis(), 3);
    const words = ['--replicas', `${REPLICAS}`, '--publish', '80:8000'];
    await lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', ...words]);
    await running(lab(), REPLICAS, lab().pis());
    asDeployed = await specFrom(oneOf(await nodesOf(lab()), 'leader').name);
  }, 120_000);

  for (const [whose, wanted] of [
    ['own', 'pause'],
    ['own', 'surge'],
    ['own', 'block'],
    ["leader's", 'pause'],
    ["leader's", 'surge'],
    ["leader's", 'block'],
  ] as const) {
    it(`the ${whose} in the phase ${wanted}: it ends clean, and no request fails`, async ({ annotate }) => {
      const { leader, going } = await ready();
      const rest = others(lab(), going);
      const load = await Load.start(lab(), { ...GENTLY, pis: rest });
      try {
        const victim = whose === 'own' ? going : leader;
        const pid = agentPid(lab(), victim);
        const leaving = lab().exec(going, ['pi-swarm', 'leave']);
        await waitFor(() => phase(going, leader), {
          what: `the phase ${wanted}`,
          everyMs: 5,
          is: seen => seen === wanted,
        });
        await lab().signalAgent(victim, 'SIGKILL');
        const began = performance.now();
        await waitFor(() => agentPid(lab(), victim), {
          what: 'a new agent',
          is: now => now !== pid && now !== 'none',
        });
        await leaving;
        const left = await ended(going);
        await annotate(`${left ? 'it has left' : 'it stays'}, clean after ${secondsSince(began)} s`);
        const { ok, failed, failures } = await load.stop();
        await annotate(`${ok} requests, ${failed} failed`);
        expect(failures).toEqual([]);
      } finally {
        load.kill();
      }
    }, 150_000);
  }
});
