/** Return and drain on real engines: the load evens out by itself, and what is to be left alone is. */
import { beforeAll, expect, it } from 'vitest';
import type { RebalanceReport } from '../../src/commands/types.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { describeOnNamespaces } from '../io/netns.ts';
import { formed, nodesOf, oneCluster, oneOf, others, running, secondsSince, snapshotOf, tasksOf } from './cluster.ts';
import { docker, useLab, waitFor } from './harness.ts';

/** How many tasks of a service run on each of these Pis, in order. */
async function spread(lab: Lab, service: string, pis: readonly string[] = lab.pis()): Promise<string> {
  const tasks = await tasksOf(lab, service, pis);
  return pis.map(name => tasks.filter(({ pi }) => pi === name).length).join();
}

const dryRun = async (lab: Lab, pi: string): Promise<RebalanceReport> =>
  JSON.parse(await lab.run(pi, ['pi-swarm', 'rebalance', '--dry-run', '--json'])) as RebalanceReport;

describeOnNamespaces('three Pis with work', () => {
  const lab = useLab(oneCluster({ pis: 3 }));
  const deploy = (pi: string, name: string, ...words: string[]) =>
    lab().run(pi, ['pi-swarm', 'deploy', 'whoami', '--name', name, ...words]);
  const leader = async (): Promise<string> => oneOf(await nodesOf(lab()), 'leader').name;
  const off = ['--label', 'pi-swarm.rebalance=off'];

  beforeAll(async () => {
    await formed(lab(), lab().pis(), 3);
    await deploy('pi1', 'whoami', '--replicas', '6');
    await deploy('pi1', 'kept', '--replicas', '4', '--publish', '81:8000', ...off);
    await deploy('pi1', 'db', '--replicas', '4', '--publish', '82:8000', '--volume', 'data:/data');
  }, 120_000);

  it('a power cut, and a minute after the return the load is even again, but for what is to stay', async ({
    annotate,
  }) => {
    const gone = others(lab(), await leader())[0] ?? '';
    const rest = others(lab(), gone);
    await lab().powerCut(gone);
    for (const [service, sums] of Object.entries({ whoami: '3,3', kept: '2,2', db: '2,2' })) {
      await waitFor(() => spread(lab(), service, rest), { what: `${service} on ${rest}`, is: it_ => it_ === sums });
    }
    await lab().powerOn(gone);
    await waitFor(() => nodesOf(lab(), rest), {
      what: `${gone} to be back`,
      is: nodes => nodes.every(it_ => it_.ready),
    });
    const began = performance.now();
    const ids = (await nodesOf(lab())).map(({ id }) => id);

    const [asked = ''] = rest;
    const before = await waitFor(() => dryRun(lab(), asked), {
      what: 'a plan',
      is: ({ plan }) => plan.some(({ to }) => to.includes(gone)),
    });
    const froms = before.plan.map(({ from }) => from).sort();
    expect(froms).toEqual([...rest].sort());
    for (const move of before.plan) expect(move).toMatchObject({ service: 'whoami', count: 1, to: [gone] });
    expect(before.waits).toMatch(/steady|down|heard|manager/);
    expect(before.leftAlone.map(({ service }) => service).sort()).toEqual(['db', 'kept']);

    await waitFor(() => spread(lab(), 'whoami'), {
      what: 'an even load',
      timeoutMs: 120_000,
      is: it_ => it_ === '2,2,2',
    });
    await annotate(`even ${secondsSince(began)} s after ${gone} was back`);
    for (const service of ['kept', 'db']) expect(await spread(lab(), service, rest)).toBe('2,2');
    // The same node as before, not a new one.
    expect((await nodesOf(lab())).map(({ id }) => id)).toEqual(ids);
    await waitFor(() => dryRun(lab(), asked), {
      what: 'nothing left to move',
      is: ({ plan, moving }) => plan.length === 0 && moving.length === 0,
    });
  }, 240_000);

  it('pi-swarm rebalance does not wait for calm, and works from any Pi', async ({ annotate }) => {
    const [worker = ''] = others(lab(), await leader());
    const [other = ''] = others(lab(), worker, await leader());
    await lab().run(worker, ['pi-swarm', 'drain', other]);
    await waitFor(() => spread(lab(), 'whoami', [other]), { what: 'nothing there', is: it_ => it_ === '0' });
    await lab().run(worker, ['pi-swarm', 'drain', other, '--undo']);
    const began = performance.now();
    await lab().run(worker, ['pi-swarm', 'rebalance']);
    await annotate(`even after ${secondsSince(began)} s`);
    expect(await spread(lab(), 'whoami')).toBe('2,2,2');
  }, 180_000);

  it('a drained Pi stays so through a reboot, until that is undone', async () => {
    const [asked = ''] = [await leader()];
    const [pi = ''] = others(lab(), asked);
    const { stdout, code } = await lab().exec(asked, ['pi-swarm', 'drain', pi]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(new RegExp(`nothing runs on ${pi} any more`))]);
    await running(lab(), 6, others(lab(), pi));
    const node = async () => (await nodesOf(lab())).find(({ name }) => name === pi);
    expect((await node())?.availability).toBe('drain');

    await lab().shutdown(pi);
    await lab().powerOn(pi);
    await waitFor(() => snapshotOf(lab(), pi), { what: 'its agent', is: ({ self }) => self.intent === 'stay' });
    const word = async () => {
      const [it_] = JSON.parse(await docker(lab(), asked, 'node', 'inspect', pi)) as [{ Spec: { Labels: object } }];
      return it_.Spec.Labels;
    };
    await waitFor(word, {
      what: 'the mark',
      is: labels => JSON.stringify(labels).includes('"pi-swarm.leaving":"drain"'),
    });
    expect((await node())?.availability).toBe('drain');
    expect(await spread(lab(), 'whoami', [pi])).toBe('0');

    await lab().run(pi, ['pi-swarm', 'drain', pi, '--undo']);
    expect((await node())?.availability).toBe('active');
    await waitFor(() => spread(lab(), 'whoami'), {
      what: 'an even load',
      timeoutMs: 120_000,
      is: it_ => it_ === '2,2,2',
    });
  }, 240_000);
});
