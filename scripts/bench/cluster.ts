/** How fast Pis become one swarm, and how fast work comes back after a power cut: ours beside Docker by hand. */
import type { Lab } from '../../src/lab/lab.ts';
import { allReady, countManagers, isLeader, nodesOf, placesOf } from '../swarm-view.ts';
import { swarmByHand, whoamiByHand } from './by-hand.ts';
import { type BenchContext, onFreshLab, type Row, timeUntil } from './measure.ts';

const REPLICAS = 5;
const FORMATION_SLACK_S = 3;
const FAILOVER_MAX_S = 5;
const LEADER_MAX_S = 20;

/** From agents started (engines up) to all Ready, beside the script from its first command to all Ready. */
export async function formation(context: BenchContext, pis: number): Promise<Row[]> {
  const ours: number[] = [];
  const managers: number[] = [];
  const byHand: number[] = [];
  for (let round = 1; round <= context.rounds; round++) {
    context.progress(`${pis} Pis, round ${round} of ${context.rounds}: by hand`);
    byHand.push(
      await onFreshLab(context, { pis }, async (lab, names) => {
        const began = performance.now();
        await swarmByHand(lab, names);
        await timeUntil(context, 'all Ready', async () => allReady(await nodesOf(lab, names), pis));
        return (performance.now() - began) / 1000;
      }),
    );
    context.progress(`${pis} Pis, round ${round} of ${context.rounds}: pi-swarm`);
    await onFreshLab(context, { pis }, async (lab, names) => {
      const began = performance.now();
      await Promise.all(names.map(pi => lab.startAgent(pi)));
      await timeUntil(context, 'all Ready', async () => allReady(await nodesOf(lab, names), pis));
      ours.push((performance.now() - began) / 1000);
      await timeUntil(context, 'three managers', async () => (await managersOf(lab, names)) === 3);
      managers.push((performance.now() - began) / 1000);
    });
  }
  const reference = { what: 'script', values: byHand };
  const keeps = (mine: number, script: number) => mine <= script + FORMATION_SLACK_S;
  return [
    {
      what: `${pis} Pis: agents start → all Ready`,
      unit: 's',
      ours,
      reference,
      target: { text: `≤ script + ${FORMATION_SLACK_S} s`, keeps },
    },
    { what: `${pis} Pis: agents start → 3 managers`, unit: 's', ours: managers, reference },
  ];
}

const managersOf = async (lab: Lab, pis: string[]): Promise<number> => countManagers(await nodesOf(lab, pis));

/** Power cut of a Pi that runs replicas, until all of them run on the rest. */
export async function failover(context: BenchContext, who: Victim): Promise<Row[]> {
  const [what, maxS] = who === 'leader' ? ['power cut of leader', LEADER_MAX_S] : ['power cut', FAILOVER_MAX_S];
  const ours: number[] = [];
  const stock: number[] = [];
  for (let round = 1; round <= context.rounds; round++) {
    context.progress(`${what}, round ${round} of ${context.rounds}: stock swarm mode`);
    stock.push(
      await onFreshLab(context, { pis: 3 }, async (lab, pis) => {
        await swarmByHand(lab, pis);
        await whoamiByHand(lab, pis, { replicas: REPLICAS });
        return cutAndWait(context, lab, pis, who);
      }),
    );
    context.progress(`${what}, round ${round} of ${context.rounds}: pi-swarm`);
    ours.push(
      await onFreshLab(context, { pis: 3 }, async (lab, pis) => {
        await Promise.all(pis.map(pi => lab.startAgent(pi)));
        await timeUntil(context, 'three managers', async () => (await managersOf(lab, pis)) === 3);
        const deploy = ['pi-swarm', 'deploy', 'whoami', '--replicas', `${REPLICAS}`, '--publish', '80:8000'];
        await lab.run('pi1', deploy, { timeoutMs: 90_000 });
        return cutAndWait(context, lab, pis, who);
      }),
    );
  }
  const reference = { what: 'stock', values: stock };
  const target = { text: `≤ ${maxS} s worst`, of: 'worst', keeps: (worst: number) => worst <= maxS } as const;
  return [{ what: `${what} → ${REPLICAS}/${REPLICAS} run`, unit: 's', ours, reference, target }];
}

type Victim = 'leader' | 'another';

/** @returns seconds */
async function cutAndWait(context: BenchContext, lab: Lab, pis: string[], who: Victim): Promise<number> {
  const all = async () => (await placesOf(lab, pis, 'whoami')).length === REPLICAS;
  await timeUntil(context, `${REPLICAS} replicas`, all);
  const leader = (await nodesOf(lab, pis)).find(isLeader)?.Description.Hostname;
  const places = await placesOf(lab, pis, 'whoami');
  const lost = pis.find(pi => (pi === leader) === (who === 'leader') && places.includes(pi)) ?? pis.at(-1) ?? 'pi3';
  const rest = pis.filter(pi => pi !== lost);
  const began = performance.now();
  await lab.powerCut(lost);
  await timeUntil(context, 'all replicas on the rest', async () => {
    const now = await placesOf(lab, rest, 'whoami');
    return now.filter(pi => rest.includes(pi)).length === REPLICAS;
  });
  return (performance.now() - began) / 1000;
}
