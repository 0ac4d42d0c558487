import { describe, expect, it } from 'vitest';
import { managersFor } from '../../src/core/managers.ts';
import { SimCluster } from './cluster.ts';

/** PI_SWARM_SEED replays one history; PI_SWARM_SEEDS asks for more of them. */
const seeds = process.env.PI_SWARM_SEED
  ? [Number(process.env.PI_SWARM_SEED)]
  : Array.from({ length: Number(process.env.PI_SWARM_SEEDS ?? 25) }, (_, index) => index + 1);

describe('a simulated cluster', () => {
  it.each([1, 2, 3, 5, 7, 9])('of %i Pis switched on together becomes one swarm', async pis => {
    const sim = new SimCluster({ seed: pis, pis });
    for (const pi of sim.pis) pi.powerOn();
    const ms = await sim.until('one swarm', () => sim.isWhole(managersFor(pis, 'auto')), 60_000);
    expect(ms).toBeLessThan(pis === 1 ? 12_000 : 20_000);
  });

  it.each(seeds)('seed %i: whatever the order, losses, crashes and cuts, it ends as one whole swarm', async seed => {
    const sim = new SimCluster({ seed, pis: 2 + (seed % 6), lose: 0.05 });
    const { random, pis } = sim;
    // Agents are killed between any two steps, and come back a second later.
    const killSometimes = (pi: (typeof pis)[number]): void => {
      if (random() > 0.15 || sim.clock.now() > 120_000) return;
      sim.note(`${pi.name}: agent killed`);
      pi.killAgent();
      void sim.clock.sleep(1_000).then(() => {
        if (pi.engine.state() !== 'absent' && !pi.running) void pi.startAgent();
      });
    };
    sim.beforeStep = killSometimes;
    sim.afterStep = killSometimes;
    for (const pi of pis) void sim.clock.sleep(random() * 30_000).then(() => pi.powerOn());
    await sim.run(20_000);
    const half = Math.ceil(pis.length / 2);
    if (random() < 0.5)
      sim.lan.partition(
        pis.slice(0, half).map(pi => pi.id),
        pis.slice(half).map(pi => pi.id),
      );
    await sim.run(20_000);
    sim.lan.heal();
    await sim.run(10_000);
    const victim = pis[Math.floor(random() * pis.length)];
    sim.note(`${victim?.name}: power cut`);
    victim?.powerOff();
    await sim.run(10_000 + random() * 60_000);
    sim.note(`${victim?.name}: power on`);
    victim?.powerOn();
    await sim.run(20_000);
    for (const pi of pis) if (!pi.running) void pi.startAgent();
    await sim.until('one whole swarm', () => sim.isWhole(managersFor(pis.length, 'auto')), 300_000);
  });
});
