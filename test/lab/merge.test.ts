import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { Lab } from '../../src/lab/lab.ts';
import { formed, nodesOf, oneCluster, running, snapshotOf, tasksOf } from './cluster.ts';
import { agreed, becomeOne, kindsOf, startAgents, startOver, statusOf } from './forming.ts';
import { useLab, waitFor } from './harness.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 90_000 });

/** Three managers: while they move one by one, what is left of their swarm loses its majority. */
const LARGE = ['pi1', 'pi2', 'pi3'];
const SMALL = ['pi4', 'pi5'];
const ALL = [...LARGE, ...SMALL];

const deploy = (lab: Lab, pi: string, replicas: number): Promise<string> =>
  lab.run(pi, ['pi-swarm', 'deploy', 'whoami', '--replicas', `${replicas}`]);
const containersOf = async (lab: Lab, pis: string[]): Promise<string[]> =>
  (await tasksOf(lab, 'whoami', pis)).map(({ container }) => container).sort();
const nodeIds = async (lab: Lab, pis: string[]): Promise<string[]> =>
  (await nodesOf(lab, pis)).map(({ id }) => id).sort();

describe('two halves of a cluster that formed apart and then meet', () => {
  const lab = useLab(oneCluster({ pis: 5, agents: false }));
  let fresh = true;
  /** The ids of the two swarms. */
  let large = '';
  let small = '';

  beforeEach(async () => {
    if (!fresh) await startOver(lab());
    fresh = false;
    await lab().split(LARGE, SMALL);
    await startAgents(lab());
    await Promise.all([formed(lab(), LARGE, 3), formed(lab(), SMALL, 1)]);
    [large, small] = await Promise.all([agreed(lab(), LARGE), agreed(lab(), SMALL)]);
    expect(large).not.toBe(small);
  });

  const meet = async (what: string): Promise<void> => {
    await lab().join();
    await becomeOne(lab(), ALL, 3, what);
  };

  test('the one without services joins the other, though it is larger; the services run on', async () => {
    await deploy(lab(), 'pi4', 2);
    const containers = (await running(lab(), 2, SMALL)).map(({ container }) => container).sort();
    await meet('without services');
    expect(await agreed(lab(), ALL)).toBe(small);
    expect(await containersOf(lab(), ALL)).toEqual(containers);
  });

  test('with no services anywhere the smaller one joins the larger', async () => {
    const before = await nodeIds(lab(), LARGE);
    await meet('without any services');
    expect(await agreed(lab(), ALL)).toBe(large);
    expect(await nodeIds(lab(), ALL)).toEqual(expect.arrayContaining(before));
  });

  test('with services in both nothing is changed and every Pi says so; when those of one are removed, it joins the other', async () => {
    await Promise.all([deploy(lab(), 'pi1', 3), deploy(lab(), 'pi4', 2)]);
    await Promise.all([running(lab(), 3, LARGE), running(lab(), 2, SMALL)]);
    const [ofLarge, ofSmall] = await Promise.all([containersOf(lab(), LARGE), containersOf(lab(), SMALL)]);
    const before = await Promise.all([nodeIds(lab(), LARGE), nodeIds(lab(), SMALL)]);
    await lab().join();
    await Promise.all(
      ALL.map(pi =>
        waitFor(async () => kindsOf(await snapshotOf(lab(), pi)), {
          what: `the alarm on ${pi}`,
          is: kinds => kinds.includes('two-swarms'),
        }),
      ),
    );
    const [there, here] = await Promise.all([statusOf(lab(), 'pi1'), statusOf(lab(), 'pi4')]);
    expect(there.cluster.swarmId).toBe(large);
    expect(here.cluster.swarmId).toBe(small);
    expect((await lab().exec('pi1', ['pi-swarm', 'status'])).stdout).toContain('pi-swarm rm');
    expect(await Promise.all([nodeIds(lab(), LARGE), nodeIds(lab(), SMALL)])).toEqual(before);
    expect(await containersOf(lab(), LARGE)).toEqual(ofLarge);
    expect(await containersOf(lab(), SMALL)).toEqual(ofSmall);

    await lab().run('pi1', ['pi-swarm', 'rm', 'whoami']);
    await becomeOne(lab(), ALL, 3, 'after the services of one were removed');
    expect(await agreed(lab(), ALL)).toBe(small);
    expect(await containersOf(lab(), ALL)).toEqual(ofSmall);
    const said = await Promise.all(ALL.map(pi => statusOf(lab(), pi)));
    expect(said.flatMap(kindsOf).filter(kind => kind === 'two-swarms')).toEqual([]);
  });
});
