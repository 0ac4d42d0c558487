/** A Pi goes in order and comes back, under load from outside: requests that failed, and how long until the work is even. */
import type { Lab } from '../../src/lab/lab.ts';
import { Load } from '../load.ts';
import { askEngine, countManagers, type EngineNode, isReady, nodesOf, placesOf } from '../swarm-view.ts';
import { runOnManager, whoamiByHand } from './by-hand.ts';
import { type BenchContext, onFreshLab, type Row, timeUntil } from './measure.ts';

const PIS = 4;
const REPLICAS = 5;
const REQUESTS_MIN = 2_000;
/** The second service has one task: no other can answer for it. */
const SERVICES = [
  { name: 'whoami', port: 80, replicas: REPLICAS, ratePerSecond: 120 },
  { name: 'one', port: 81, replicas: 1, ratePerSecond: 60 },
] as const;
/** Longer than the target: what has not happened by then counts as never. */
const EVEN_LIMIT_MS = 90_000;
const EVEN_MAX_S = 60;

interface Round {
  failed: number[];
  leaveS: number;
  evenS?: number;
}

export async function planned(context: BenchContext): Promise<Row[]> {
  const [ours, stock]: [Round[], Round[]] = [[], []];
  for (let round = 1; round <= context.rounds; round++) {
    context.progress(`planned leave, round ${round} of ${context.rounds}: drained by hand`);
    stock.push(await onFreshLab(context, { pis: PIS }, (lab, pis) => byHand(context, lab, pis, round === 1)));
    context.progress(`planned leave, round ${round} of ${context.rounds}: pi-swarm`);
    ours.push(await onFreshLab(context, { pis: PIS }, (lab, pis) => byPiSwarm(context, lab, pis)));
  }
  const failed = SERVICES.map(({ replicas }, index): Row => {
    const of = (rounds: Round[]) => rounds.map(round => round.failed[index] ?? Number.NaN);
    return {
      what: `planned leave, ${replicas === 1 ? '1 task' : `${replicas} tasks`}: failed`,
      unit: 'req.',
      ours: of(ours),
      reference: { what: 'drain', values: of(stock) },
      target: { text: '0', of: 'worst', keeps: worst => worst === 0 },
    };
  });
  const leave = (rounds: Round[]) => rounds.map(({ leaveS }) => leaveS);
  const even = (rounds: Round[]) => rounds.flatMap(({ evenS }) => (evenS === undefined ? [] : [evenS]));
  return [
    ...failed,
    {
      what: 'planned leave: told → gone',
      unit: 's',
      ours: leave(ours),
      reference: { what: 'drain', values: leave(stock) },
    },
    {
      what: 'return → even again',
      unit: 's',
      ours: even(ours),
      reference: { what: 'stock', values: even(stock) },
      target: { text: `≤ ${EVEN_MAX_S} s worst`, of: 'worst', keeps: worst => worst <= EVEN_MAX_S },
    },
  ];
}

/** One swarm by agents in both columns: the kernel may have no ip_vs, and then the routing mesh is the agents'. */
async function form(context: BenchContext, lab: Lab, pis: string[]): Promise<void> {
  await Promise.all(pis.map(pi => lab.startAgent(pi)));
  await timeUntil(context, 'three managers', async () => {
    const nodes = await nodesOf(lab, pis);
    return nodes.length === PIS && nodes.every(isReady) && countManagers(nodes) === 3;
  });
}

async function byPiSwarm(context: BenchContext, lab: Lab, pis: string[]): Promise<Round> {
  await form(context, lab, pis);
  for (const { name, port, replicas } of SERVICES) {
    const words = ['--name', name, '--replicas', `${replicas}`, '--publish', `${port}:8000`];
    await lab.run('pi1', ['pi-swarm', 'deploy', 'whoami', ...words], { timeoutMs: 90_000 });
  }
  const round = await leaveUnderLoad(context, lab, pis, async ({ name }) => {
    await lab.run(name, ['pi-swarm', 'leave'], { timeoutMs: 90_000 });
  });
  const began = performance.now();
  await lab.run(round.gone.name, ['pi-swarm', 'join']);
  return { ...round, evenS: await evenAfter(context, lab, pis, began) };
}

/** @param alsoReturn also look, once, whether the load evens out by itself: it takes as long as the limit */
async function byHand(context: BenchContext, lab: Lab, pis: string[], alsoReturn: boolean): Promise<Round> {
  await form(context, lab, pis);
  for (const { name, port, replicas } of SERVICES) await whoamiByHand(lab, pis, { name, replicas, port });
  await timeUntil(context, 'published ports', async () => {
    const answers = SERVICES.flatMap(({ port }) =>
      pis.map(pi => lab.exec('laptop', ['curl', '-sf', '--max-time', '2', `http://${lab.address(pi)}:${port}/`])),
    );
    return (await Promise.all(answers)).every(({ code }) => code === 0);
  });
  const set = (availability: string, id: string) =>
    runOnManager(lab, pis, ['docker', 'node', 'update', '--availability', availability, id]);
  const round = await leaveUnderLoad(context, lab, pis, ({ id }) => set('drain', id));
  if (!alsoReturn) return round;
  await Promise.all(pis.map(pi => lab.stopAgent(pi)));
  const began = performance.now();
  await set('active', round.gone.id);
  return { ...round, evenS: await evenAfter(context, lab, pis, began) };
}

interface Gone {
  name: string;
  id: string;
}

/** The Pi that runs the only task of `one` goes; its address is asked until no container of these runs there any more. */
async function leaveUnderLoad(
  context: BenchContext,
  lab: Lab,
  pis: string[],
  leave: (gone: Gone) => Promise<void>,
): Promise<Round & { gone: Gone }> {
  for (const { name, replicas } of SERVICES) {
    await timeUntil(
      context,
      `${replicas} of ${name}`,
      async () => (await placesOf(lab, pis, name)).length === replicas,
    );
  }
  const [name = 'pi1'] = await placesOf(lab, pis, 'one');
  const gone = { name, id: (await nodesOf(lab, pis)).find(node => node.Description.Hostname === name)?.ID ?? '' };
  const loads: Load[] = [];
  try {
    for (const { port, ratePerSecond } of SERVICES) loads.push(await Load.start(lab, { pis, port, ratePerSecond }));
    await loads[0]?.sent(100);
    const began = performance.now();
    const left = leave(gone);
    left.catch(() => {}); // Waited for below; the load must not fail on it first.
    await timeUntil(context, `${name} to be idle`, async () => (await runningOn(lab, pis, gone)) === 0);
    await Promise.all(loads.map(load => load.drop(name)));
    await left;
    const leaveS = (performance.now() - began) / 1000;
    await loads[0]?.sent(REQUESTS_MIN);
    const results = await Promise.all(loads.map(load => load.stop()));
    context.progress(results.map(({ ok, failed }) => `${failed} of ${ok + failed} requests failed`).join(', '));
    return { gone, leaveS, failed: results.map(({ failed }) => failed) };
  } finally {
    for (const load of loads) load.kill();
  }
}

/** Containers there, as each other Pi that is a manager lists them. */
async function runningOn(lab: Lab, pis: string[], { name, id }: Gone): Promise<number> {
  const filters = encodeURIComponent(JSON.stringify({ node: [id] }));
  for (const pi of pis.filter(other => other !== name)) {
    try {
      const tasks = await askEngine<{ Status: { State: string } }[]>(lab, pi, `/tasks?filters=${filters}`, 1_000);
      return tasks.filter(({ Status }) => Status.State === 'running').length;
    } catch {
      // A worker, or no leader for the moment.
    }
  }
  return Number.NaN;
}

/** @returns seconds until every Pi has its share and nobody two more than another; Infinity when that did not happen */
async function evenAfter(context: BenchContext, lab: Lab, pis: string[], began: number): Promise<number> {
  while (performance.now() - began < EVEN_LIMIT_MS) {
    context.signal.throwIfAborted();
    const nodes: EngineNode[] = await nodesOf(lab, pis);
    const places = await placesOf(lab, pis, 'whoami');
    const counts = pis.map(pi => places.filter(place => place === pi).length);
    const isEven = Math.max(...counts) - Math.min(...counts) <= 1 && places.length === REPLICAS;
    if (isEven && nodes.filter(isReady).length >= PIS) return (performance.now() - began) / 1000;
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  return Number.POSITIVE_INFINITY;
}
