import { describe, it } from 'vitest';
import { SimCluster } from './cluster.ts';
import type { SimPi } from './pi.ts';
import { Work } from './work.ts';

/** PI_SWARM_SEED replays one history; PI_SWARM_SEEDS asks for more of them. */
const seeds = process.env.PI_SWARM_SEED
  ? [Number(process.env.PI_SWARM_SEED)]
  : Array.from({ length: Number(process.env.PI_SWARM_SEEDS ?? 15) }, (_, index) => index + 1);

const intentOf = (sim: SimCluster): 'leave' | 'shutdown' => (sim.random() < 0.5 ? 'leave' : 'shutdown');

describe('a Pi that goes in order', () => {
  it.each(seeds)('seed %i: no task is missed and no request goes to one that has gone', async seed => {
    const sim = new SimCluster({ seed, pis: 2 + (seed % 5), lose: seed % 3 === 0 ? 0.05 : 0 });
    const work = new Work(sim);
    await work.begin();
    const goers = [...new Set([work.leader, ...sim.pis])].slice(0, 3);
    for (const pi of goers) {
      if (sim.pis.filter(({ running }) => running).length === 1) break;
      await work.ask(pi, intentOf(sim));
      await work.smoothly(`${pi.name} has gone`, () => work.hasGone(pi), 90_000);
      await work.calm(1_000);
      if (sim.random() < 0.6) {
        await work.comeBack(pi);
        await work.smoothly('it is back', () => pi.world?.swarm.state === 'active', 60_000);
      }
      // Long enough for the load to even out.
      await work.calm(60_000);
    }
    await work.isAsBefore();
  });

  it.each(seeds)('seed %i: new tasks may take long to start, and still nothing is missed', async seed => {
    const sim = new SimCluster({ seed, pis: 3 + (seed % 3), wish: { drainTimeoutMs: 120_000 } });
    const work = new Work(sim);
    await work.begin();
    const pi = sim.pis[seed % sim.pis.length];
    if (pi === undefined) throw new Error('nobody is there');
    for (const other of sim.pis) other.engine.taskStartMs = 20_000 + sim.random() * 30_000;
    await work.ask(pi, intentOf(sim));
    await work.smoothly(`${pi.name} has gone`, () => work.hasGone(pi), 120_000);
    await work.isAsBefore();
  });

  it.each(seeds)('seed %i: two at once, and still nothing is missed', async seed => {
    const sim = new SimCluster({ seed, pis: 5 });
    const work = new Work(sim);
    await work.begin();
    const goers = [sim.pis[seed % 5], sim.pis[(seed + 1 + (seed % 4)) % 5]].filter(pi => pi !== undefined);
    for (const pi of goers) {
      await work.ask(pi, intentOf(sim));
      await work.calm(sim.random() * 4_000);
    }
    const gone = (): boolean => goers.map(pi => work.hasGone(pi)).every(Boolean);
    await work.smoothly('both have gone', gone, 120_000);
    await work.calm(30_000);
    await work.isAsBefore();
  });
});

describe('when something goes wrong while a Pi goes', () => {
  it.each(seeds)('seed %i: agents that are killed between any two steps leave no move behind', async seed => {
    const sim = new SimCluster({ seed, pis: 3 + (seed % 4) });
    const work = new Work(sim);
    await work.begin();
    const killSometimes = (pi: SimPi): void => {
      if (sim.random() > 0.2) return;
      sim.note(`${pi.name}: agent killed`);
      pi.killAgent();
      void sim.clock.sleep(1_000).then(() => {
        if (pi.engine.state() !== 'absent' && !pi.running) void pi.startAgent();
      });
    };
    sim.beforeStep = killSometimes;
    sim.afterStep = killSometimes;
    const [goer] = [...sim.pis].sort(() => sim.random() - 0.5);
    if (goer === undefined) throw new Error('nobody is there');
    await work.ask(goer, 'leave');
    await sim.until(`${goer.name} has gone`, () => work.hasGone(goer), 120_000);
    sim.beforeStep = () => {};
    sim.afterStep = () => {};
    await sim.run(20_000);
    await work.isAsBefore();
  });

  it.each(seeds)('seed %i: a leader that loses power in the middle leaves no move behind', async seed => {
    // An election and a move take longer than the half of a minute that a move usually has.
    const sim = new SimCluster({ seed, pis: 3 + (seed % 4), wish: { drainTimeoutMs: 120_000 } });
    const work = new Work(sim);
    await work.begin();
    const { leader } = work;
    const [goer] = sim.pis.filter(pi => pi !== leader).sort(() => sim.random() - 0.5);
    if (goer === undefined) throw new Error('nobody is there');
    await work.ask(goer, intentOf(sim));
    await work.calm(sim.random() * 4_000);
    sim.note(`${leader.name}: power cut, it leads`);
    leader.powerOff();
    // In the middle of a move more may run than were wished. Tasks that are marked already are stopped by swarm's next leader.
    const left = work.services.list().map(({ name, desired, move }) => {
      return { name, least: move?.phase === 'block' ? 0 : Math.min(desired, work.counts().get(name) ?? 0) };
    });
    const fewer = (): string[] =>
      left
        .filter(({ name, least }) => name !== 'everywhere' && (work.counts().get(name) ?? 0) < least)
        .map(({ name }) => name);
    const hasGone = (): boolean => {
      if (fewer().length > 0) throw new Error(`fewer than the cut left: ${fewer().join(', ')}\n${sim.report()}`);
      return work.hasGone(goer);
    };
    await sim.until(`${goer.name} has gone`, hasGone, 150_000);
    await work.comeBack(leader);
    await sim.run(20_000);
    await work.isAsBefore();
  });
});

describe('a Pi that comes back and has to fetch the images first', () => {
  it.each(seeds)('seed %i: gets its share, and nothing stops before it has', async seed => {
    const sim = new SimCluster({ seed, pis: 2 + (seed % 3) });
    const work = new Work(sim);
    await work.begin();
    const pi = sim.pis[seed % sim.pis.length];
    if (pi === undefined) throw new Error('nobody is there');
    await work.ask(pi, 'shutdown');
    await work.smoothly(`${pi.name} has gone`, () => work.hasGone(pi), 90_000);
    pi.engine.taskStartMs = 10_000 + sim.random() * 50_000;
    sim.note(`${pi.name}: takes ${pi.engine.taskStartMs} ms to start a task`);
    await work.comeBack(pi);
    await work.calm(180_000);
    await work.isAsBefore();
  });
});
