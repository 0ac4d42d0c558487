/** What happened, as every Pi tells it: read on another one than the leader, through the program that people use. */
import { beforeAll, expect, it } from 'vitest';
import type { ClusterEvent } from '../../src/core/event-types.ts';
import { describeOnNamespaces } from '../io/netns.ts';
import { formed, type Node, nodesOf, oneCluster, oneOf, others, running } from './cluster.ts';
import { useLab, waitFor } from './harness.ts';

describeOnNamespaces('whoami with six replicas on three managers and a worker', () => {
  const lab = useLab(oneCluster({ pis: 4, config: { drainTimeout: '25s' } }));

  beforeAll(async () => {
    await formed(lab(), lab().pis(), 3);
    await lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', '--replicas', '6', '--publish', '80:8000']);
    await running(lab(), 6, lab().pis());
  }, 120_000);

  const eventsOn = async (pi: string): Promise<ClusterEvent[]> =>
    JSON.parse(await lab().run(pi, ['pi-swarm', 'events', '--json', '--limit', '200']));

  /** A Pi that neither leads nor is `without`. */
  const readerOf = async (...without: string[]): Promise<Node> => {
    const nodes = (await nodesOf(lab(), others(lab(), ...without))).filter(({ name }) => !without.includes(name));
    return nodes.find(({ role, ready }) => role === 'worker' && ready) ?? oneOf(nodes, 'manager');
  };

  /** On that Pi: the newest event of a kind about a Pi, as soon as it is as it should be. */
  const told = async (
    on: string,
    kind: string,
    pi: string,
    is: (event: ClusterEvent) => boolean = () => true,
  ): Promise<ClusterEvent> => {
    const newest = async () => (await eventsOn(on)).filter(it => it.kind === kind && it.pi === pi).at(-1);
    const found = await waitFor(newest, {
      what: `${on} to tell that ${pi} is ${kind}`,
      timeoutMs: 90_000,
      is: event => event !== undefined && is(event),
    });
    if (found === undefined) throw new Error('unreachable');
    return found;
  };

  const print = async (on: string, annotate: (text: string) => Promise<unknown>) =>
    annotate(`\n${await lab().run(on, ['pi-swarm', 'events'])}`);

  it('tells how the swarm came to be, the same on every Pi', async ({ annotate }) => {
    const leader = oneOf(await nodesOf(lab()), 'leader').name;
    const first = await waitFor(() => eventsOn(leader), {
      what: 'the forming to be told',
      is: events => events.length >= 6,
    });
    expect(first[0]).toMatchObject({ kind: 'formed' });
    expect(first.filter(({ kind }) => kind === 'joined')).toHaveLength(3);
    expect(first.filter(({ kind }) => kind === 'promoted')).toHaveLength(2);
    for (const pi of lab().pis()) {
      await waitFor(() => eventsOn(pi), {
        what: `${pi} to know the same`,
        is: events => JSON.stringify(events) === JSON.stringify(first),
      });
    }
    await print('pi1', annotate);
  }, 60_000);

  for (const role of ['worker', 'leader'] as const) {
    it(`tells that the ${role} lost power, when its work ran elsewhere, and what it was when it is back`, async ({
      annotate,
    }) => {
      const nodes = await nodesOf(lab());
      const victim = oneOf(nodes, role).name;
      const reader = (await readerOf(victim)).name;
      const on = (await running(lab(), 6, lab().pis())).filter(({ pi }) => pi === victim).length;
      expect(on).toBeGreaterThan(0);
      const cutMs = Date.now();
      await lab().powerCut(victim);
      const lost = await told(
        reader,
        'lost',
        victim,
        ({ at, durationMs }) => durationMs !== undefined && Date.parse(at) > cutMs - 3_000,
      );
      expect(lost).toMatchObject({ tasks: on });
      expect(lost.text).toMatch(/lost power or its network · \d tasks? · running elsewhere after [\d.]+ s$/);
      expect(lost.durationMs).toBeLessThan(Date.now() - Date.parse(lost.at) + 100);
      if (role === 'leader') {
        const leads = oneOf(await nodesOf(lab(), others(lab(), victim)), 'leader').name;
        expect((await told(reader, 'leader', leads)).text).toMatch(
          new RegExp(`^${leads} leads the swarm now, after ${victim} · nobody led it for [\\d.]+ s$`),
        );
      }
      await lab().powerOn(victim);
      const back = await told(reader, 'back', victim, ({ at }) => Date.parse(at) > Date.parse(lost.at));
      expect(back.text).toMatch(/is back after [\d.]+ s · it had lost power$/);
      const gone = (await eventsOn(reader)).filter(
        ({ id, kind, pi }) => kind === 'lost' && pi === victim && id === lost.id,
      );
      expect(gone).toEqual([lost]);
      await print(reader, annotate);
      // The one that was away has heard of it, too.
      await told(victim, 'back', victim);
      await formed(lab(), lab().pis(), 3, 90_000);
    }, 150_000);
  }

  it('tells a network that was cut from a loss of power when the Pi is back', async ({ annotate }) => {
    const victim = oneOf(await nodesOf(lab()), 'worker').name;
    const reader = (await readerOf(victim)).name;
    const cutMs = Date.now();
    await lab().unplug(victim);
    const lost = await told(reader, 'lost', victim, ({ at }) => Date.parse(at) > cutMs - 3_000);
    await lab().plug(victim);
    const back = await told(reader, 'back', victim, ({ at }) => Date.parse(at) > Date.parse(lost.at));
    expect(back.text).toMatch(/is back after [\d.]+ s · it had lost its network$/);
    await print(reader, annotate);
    await formed(lab(), lab().pis(), 3, 90_000);
  }, 120_000);

  it('tells that a Pi left, how much moved before, and that it joined again', async ({ annotate }) => {
    const nodes = await nodesOf(lab());
    const tasks = await running(lab(), 6, lab().pis());
    const busy = nodes.find(({ name, role }) => role !== 'leader' && tasks.some(({ pi }) => pi === name));
    if (busy === undefined) throw new Error('only the leader has work');
    const leaver = busy.name;
    const reader = (await readerOf(leaver)).name;
    await lab().run(leaver, ['pi-swarm', 'leave']);
    const left = await told(reader, 'left', leaver);
    expect(left.text).toMatch(/^pi\d left · \d tasks? moved before · [\d.]+ s$/);
    await lab().run(leaver, ['pi-swarm', 'join']);
    await told(reader, 'joined', leaver, ({ at }) => Date.parse(at) >= Date.parse(left.at));
    await formed(lab(), lab().pis(), 3, 90_000);
    const joined = (await eventsOn(reader)).filter(({ kind, pi }) => kind === 'joined' && pi === leaver);
    expect(joined.filter(({ at }) => Date.parse(at) >= Date.parse(left.at))).toHaveLength(1);
    await print(reader, annotate);
  }, 120_000);
});
