import { describe, expect, it } from 'vitest';
import { SimCluster } from './cluster.ts';
import type { SimPi } from './pi.ts';
import { Work } from './work.ts';

/** PI_SWARM_SEED replays one history; PI_SWARM_SEEDS asks for more of them. */
const seeds = process.env.PI_SWARM_SEED
  ? [Number(process.env.PI_SWARM_SEED)]
  : Array.from({ length: Number(process.env.PI_SWARM_SEEDS ?? 15) }, (_, index) => index + 1);

/** How many tasks of `web` run on each Pi that is up, the fullest first. */
function spread(work: Work): number[] {
  const web = work.services.list().find(({ name }) => name === 'web');
  const tasks = work.services.listTasks().filter(task => task.serviceId === web?.id && task.desired === 'running');
  return work.sim.pis
    .filter(({ running }) => running)
    .map(({ engine }) => tasks.filter(({ nodeId }) => nodeId === engine.nodeId).length)
    .sort((a, b) => b - a);
}

function isEven(work: Work): boolean {
  const counts = spread(work);
  const moving = work.services.list().some(({ move }) => move !== undefined);
  return work.isComplete() && !moving && (counts[0] ?? 0) - (counts.at(-1) ?? 0) < 2;
}

/** Moves that were begun to even out the load. */
const moves = (sim: SimCluster): number =>
  sim.pis.flatMap(({ done }) => done).filter(step => step.startsWith('move ')).length;

describe('a Pi that lost its power and is back', () => {
  it.each(seeds)(
    'seed %i: gets its share within a minute, nothing is missed, and then nothing moves any more',
    async seed => {
      const sim = new SimCluster({ seed, pis: 3 + (seed % 4) });
      const work = new Work(sim);
      await work.begin();
      const pi = sim.pis[seed % sim.pis.length];
      if (pi === undefined) throw new Error('nobody is there');
      sim.note(`${pi.name}: power cut`);
      pi.powerOff();
      await sim.run(5_000);
      await sim.until('the others do its work', () => work.isComplete(), 120_000);
      await sim.run(sim.random() * 30_000);
      await work.comeBack(pi);
      await sim.until('it is back', () => pi.world?.swarm.state === 'active' && work.isComplete(), 60_000);
      await sim.until('it answers', () => work.problem() === undefined, 10_000);
      await work.smoothly('the load is even', () => isEven(work), 75_000);
      // Each service is even by itself; the Pis may not be yet.
      await work.calm(45_000);
      const before = moves(sim);
      await work.calm(60_000);
      expect([moves(sim), isEven(work)]).toEqual([before, true]);
      await work.isAsBefore();
    },
  );
});

describe('a Pi that comes back with a new card, and fetches the image for minutes', () => {
  it.each(seeds)('seed %i: gets its share, and nothing stops before it has', async seed => {
    const sim = new SimCluster({ seed, pis: 3 + (seed % 4) });
    const work = new Work(sim);
    await work.begin();
    const pi = sim.pis[seed % sim.pis.length];
    if (pi === undefined) throw new Error('nobody is there');
    await work.ask(pi, 'shutdown');
    await work.smoothly(`${pi.name} has gone`, () => work.hasGone(pi), 90_000);
    pi.engine.taskStartMs = 60_000 + sim.random() * 120_000;
    await work.comeBack(pi);
    await work.smoothly('it is back', () => pi.world?.swarm.state === 'active', 60_000);
    await work.smoothly('the load is even', () => isEven(work), 600_000);
    await work.isAsBefore();
  });
});

describe('Pis that come and go without order', () => {
  it.each(seeds)('seed %i: in the end the load is even, with few moves, and no move is left behind', async seed => {
    const sim = new SimCluster({ seed, pis: 4 + (seed % 3), lose: seed % 4 === 0 ? 0.03 : 0 });
    const work = new Work(sim);
    await work.begin();
    let returns = 0;
    const trouble = [
      async (pi: SimPi) => {
        if (sim.pis.filter(({ running }) => running).length <= Math.ceil(sim.pis.length / 2) + 1) return;
        sim.note(`${pi.name}: power cut`);
        pi.powerOff();
      },
      async (pi: SimPi) => {
        if (pi.running) return;
        returns++;
        await work.comeBack(pi);
      },
      async (pi: SimPi) => {
        if (!pi.running) return;
        sim.note(`${pi.name}: agent killed`);
        pi.killAgent();
        await sim.run(1_000);
        void pi.startAgent();
      },
    ];
    for (let turn = 0; turn < 12; turn++) {
      const pi = sim.pis[Math.floor(sim.random() * sim.pis.length)];
      const what = trouble[Math.floor(sim.random() * trouble.length)];
      if (pi !== undefined) await what?.(pi);
      await sim.run(sim.random() * 40_000);
    }
    for (const pi of sim.pis) {
      if (pi.running) continue;
      returns++;
      await work.comeBack(pi);
    }
    await sim.until('the load is even', () => isEven(work), 240_000);
    await sim.run(60_000);
    await work.isAsBefore();
    const before = moves(sim);
    await sim.run(60_000);
    expect([moves(sim), isEven(work)]).toEqual([before, true]);
    // `web` has at most seven tasks: a return moves two or three of them, one Pi after the other.
    expect(before).toBeLessThanOrEqual(4 * (returns + 3));
  });
});
