import { describe } from 'vitest';
import { FakeSwarmLan } from '../fakes/engine.ts';
import { type SwarmSubject, swarmContract } from './engine-swarm.ts';

const STEP_MS = 100;

describe('three fake engines', () => {
  let now = 0;
  const lan = new FakeSwarmLan({ now: () => now });
  const pis = ['pi1', 'pi2', 'pi3'].map((name, index) => lan.addEngine(name, { address: `10.0.0.${index + 1}` }));
  const engine = (pi: string) => {
    const found = lan.engines.get(pi);
    if (found === undefined || !pis.includes(found)) throw new Error(`no engine ${pi}`);
    return found;
  };
  const servicesOf = (pi: string) => {
    const { swarm } = engine(pi);
    if (swarm === undefined) throw new Error(`${pi} is in no swarm`);
    return swarm.services;
  };
  const subject: SwarmSubject = {
    engine,
    address: pi => engine(pi).address,
    powerCut: async pi => engine(pi).powerOff(),
    powerOn: async pi => engine(pi).powerOn(),
    spec: async (pi, service) => servicesOf(pi).spec(service),
    async canStart(pi, can) {
      engine(pi).taskStartMs = can ? undefined : Number.POSITIVE_INFINITY;
    },
    async scaleByHand(pi, service, Replicas) {
      servicesOf(pi).update(service, spec => ({ ...spec, Mode: { Replicated: { Replicas } } }), now);
    },
    async eventually(what, done) {
      for (let step = 0; step < 1_000; step++) {
        lan.tick();
        if (await done().catch(() => false)) return;
        now += STEP_MS;
      }
      throw new Error(`never: ${what}`);
    },
  };
  swarmContract(() => subject);
});
