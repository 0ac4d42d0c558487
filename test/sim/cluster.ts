/**
 * A whole cluster in memory: the real loop, collector, rules and executors on fake engines and a fake LAN, driven by one
 * clock and one seed. The same seed gives the same history.
 */
import type { Wish } from '../../src/core/observe.ts';
import { type Step, sentence } from '../../src/core/step.ts';
import { WISH as CALM_WISH } from '../core/build.ts';
import { FakeClock } from '../fakes/clock.ts';
import type { FakeEngine } from '../fakes/engine.ts';
import { FakeSwarmLan } from '../fakes/engine.ts';
import { FakeLan } from '../fakes/peers.ts';
import { SimPi } from './pi.ts';

export const TICK_MS = 50;

export const WISH: Wish = {
  ...CALM_WISH,
  settleMs: 1_500,
  forgetAfterMs: 3_600_000,
  nodeCertExpiryMs: 1e12,
};

/** mulberry32: small, seeded, good enough to shuffle faults with. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

class SeededClock extends FakeClock {
  readonly #random: () => number;
  constructor(random: () => number) {
    super();
    this.#random = random;
  }
  override random(): number {
    return this.#random();
  }
}

export class SimCluster {
  readonly clock: FakeClock;
  readonly lan: FakeLan;
  readonly swarms: FakeSwarmLan;
  readonly pis: SimPi[] = [];
  readonly random: () => number;
  readonly wish: Wish;
  /** What happened, for a failure's message. */
  readonly history: string[] = [];
  beforeStep: (pi: SimPi, step: Step) => void = () => {};
  afterStep: (pi: SimPi, step: Step) => void = () => {};

  constructor(options: { seed: number; pis: number; wish?: Partial<Wish>; lose?: number }) {
    this.random = randomOf(options.seed);
    this.wish = { ...WISH, ...options.wish };
    this.clock = new SeededClock(this.random);
    const lossRate = options.lose ?? 0;
    this.lan = new FakeLan({ clock: this.clock, lose: () => lossRate > 0 && this.random() < lossRate });
    this.swarms = new FakeSwarmLan({ now: () => this.clock.now() });
    this.swarms.linked = (a, b) => this.lan.reachable(this.#byEngine(a).id, this.#byEngine(b).id);
    for (let index = 1; index <= options.pis; index++) this.pis.push(new SimPi(this, index));
  }

  log(pi: SimPi, what: Step | string, error?: unknown): void {
    const text = typeof what === 'string' ? what : sentence(what);
    const failed = error === undefined ? '' : ` FAILED ${error instanceof Error ? error.message : String(error)}`;
    this.note(`${pi.name}: ${text}${failed}`);
  }

  note(text: string): void {
    this.history.push(`${(this.clock.now() / 1000).toFixed(2)} ${text}`);
    if (this.history.length > 400) this.history.shift();
  }

  async run(ms: number, each?: () => void): Promise<void> {
    const endMs = this.clock.now() + ms;
    while (this.clock.now() < endMs) {
      await this.clock.advance(TICK_MS);
      this.swarms.tick();
      this.lan.step();
      await settle();
      each?.();
    }
  }

  /** Runs until the fact holds. @throws with the history when it does not within `limitMs` of virtual time */
  async until(what: string, fact: () => boolean, limitMs: number): Promise<number> {
    const startMs = this.clock.now();
    while (!fact()) {
      if (this.clock.now() - startMs > limitMs) throw new Error(`not within ${limitMs} ms: ${what}\n${this.report()}`);
      await this.run(TICK_MS);
    }
    return this.clock.now() - startMs;
  }

  /** One swarm, everybody in it, and nothing left to do. */
  isWhole(managers: number): boolean {
    const swarms = this.swarms.swarms();
    return (
      swarms.length === 1 &&
      swarms[0]?.voters().length === managers &&
      this.pis.every(
        pi =>
          pi.world?.swarm.state === 'active' &&
          pi.decision?.steps.length === 0 &&
          pi.world.since.orphanMs === undefined,
      )
    );
  }

  report(): string {
    const rows = this.pis.map(
      pi => `${pi.name} ${pi.id} ${JSON.stringify(pi.world?.swarm)} · ${pi.decision?.rule} ${pi.decision?.why}`,
    );
    return [...rows, ...this.history.slice(-60)].join('\n');
  }

  #byEngine(engine: FakeEngine): SimPi {
    const pi = this.pis.find(it => it.engine === engine);
    if (pi === undefined) throw new Error(`no Pi has the engine ${engine.name}`);
    return pi;
  }
}

/** Lets every promise that is ready run. */
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
};
