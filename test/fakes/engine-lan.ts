/** All fake engines of one network, and the swarms they make. */
import { FakeEngine } from './engine.ts';
import { FakeSwarm, type FakeTimes, TIMES } from './engine-swarm.ts';

export class FakeSwarmLan {
  readonly engines = new Map<string, FakeEngine>();
  readonly now: () => number;
  readonly times: FakeTimes;
  /** Whether two engines' hosts reach each other; a simulation's network may replace it. */
  linked: (a: FakeEngine, b: FakeEngine) => boolean = () => true;
  readonly #swarms: FakeSwarm[] = [];
  #ids = 0;

  constructor(options: { now: () => number; times?: Partial<FakeTimes> }) {
    this.now = options.now;
    this.times = { ...TIMES, ...options.times };
  }

  addEngine(name: string, options: { address: string; architecture?: string }): FakeEngine {
    const engine = new FakeEngine(this, name, options.address, options.architecture ?? 'armv7l');
    this.engines.set(name, engine);
    return engine;
  }

  /** To be called after each step of the clock. */
  tick(): void {
    for (const engine of this.engines.values()) engine.retryJoin();
    for (const swarm of this.#swarms) swarm.tick(this.now());
    for (const engine of this.engines.values()) engine.flush();
  }

  /** Swarms that still have a member that knows of it. */
  swarms(): FakeSwarm[] {
    return this.#swarms.filter(swarm => [...this.engines.values()].some(engine => engine.swarm === swarm));
  }

  makeSwarm(settings: ConstructorParameters<typeof FakeSwarm>[2]): FakeSwarm {
    const swarm = new FakeSwarm(this.id('swarm'), this.now(), settings, this.times);
    this.#swarms.push(swarm);
    return swarm;
  }

  id(kind: string): string {
    return `${kind}${String(++this.#ids).padStart(6, '0')}`.padEnd(25, 'x');
  }
}
