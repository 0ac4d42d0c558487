/**
 * A whole cluster in memory: the real loop, collector, rules and executors on fake engines and a fake LAN, driven by one
 * clock and one seed. The same seed gives the same history.
 */
import { Collector } from '../../src/collect.ts';
import type { Wish, World } from '../../src/core/observe.ts';
import { type Decision, type Step, sentence } from '../../src/core/step.ts';
import type { Memory } from '../../src/core/world.ts';
import { executorOf } from '../../src/executors.ts';
import { Loop } from '../../src/loop.ts';
import { peerCommands } from '../../src/peer-commands.ts';
import { WISH as CALM_WISH } from '../core/build.ts';
import { FakeClock } from '../fakes/clock.ts';
import type { FakeEngine } from '../fakes/engine.ts';
import { FakeSwarmLan } from '../fakes/engine.ts';
import { FakeLan, type FakePi } from '../fakes/peers.ts';
import { FakeStore } from '../fakes/store.ts';

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

export class SimPi {
  readonly name: string;
  readonly id: string;
  readonly engine: FakeEngine;
  readonly #sim: SimCluster;
  readonly #store = new FakeStore();
  #stop: AbortController | undefined;
  #port: FakePi | undefined;
  #hardware: string;
  world: World | undefined;
  decision: Decision | undefined;
  /** Steps that were done, as sentences. */
  readonly done: string[] = [];
  memory: Memory = { intent: 'stay' };

  constructor(sim: SimCluster, index: number) {
    this.#sim = sim;
    this.name = `pi${index}`;
    // Ids are hashes: their order has nothing to do with the names.
    this.id = Math.floor(sim.random() * 2 ** 48)
      .toString(16)
      .padStart(16, '0');
    this.#hardware = `hw-${this.name}`;
    this.engine = sim.swarms.addEngine(this.name, { address: `10.0.0.${index}` });
    this.engine.powerOff();
  }

  get running(): boolean {
    return this.#stop !== undefined;
  }

  powerOn(): void {
    this.engine.powerOn();
    void this.startAgent();
  }

  powerOff(): void {
    this.killAgent();
    this.engine.powerOff();
    this.#sim.lan.power(this.id, 'off');
  }

  /** SIGKILL: nothing is said, nothing is saved. */
  killAgent(): void {
    this.#stop?.abort();
    this.#stop = undefined;
    if (this.#port) this.#sim.lan.power(this.id, 'off');
  }

  async startAgent(): Promise<void> {
    const { lan } = this.#sim;
    const stop = new AbortController();
    this.#stop = stop;
    const port = lan.attach(this.id, { host: this.engine.address });
    this.#port = port;
    this.memory = await this.#store.load();
    const collector = this.#collector(port);
    const loop = this.#loop(port, collector, stop.signal);
    port.peers.onRequest(async (_from, command) => this.#answer(command, collector));
    port.peers.onChange(() => loop.wake());
    port.discovery.onHint(hint => port.peers.hint(hint));
    port.discovery.onGoodbye(id => port.peers.probe(id));
    this.engine.onChange(what => {
      if (stop.signal.aborted) return;
      collector.stale(what);
      loop.wake();
    });
    await port.peers.start();
    await port.discovery.start();
    void loop.run(stop.signal);
  }

  async intend(intent: Memory['intent']): Promise<void> {
    await this.#remember({ intent });
  }

  #collector(port: FakePi): Collector {
    return new Collector({
      clock: this.#sim.clock,
      engine: this.engine,
      network: {
        state: () => ({ chosen: { name: 'eth0', address: this.engine.address, mac: '' }, addresses: [] }),
        onChange: () => {},
        stop: () => {},
      },
      peers: () => port.peers,
      memory: () => this.memory,
      vitals: () => ({}),
      identity: { id: this.id, name: this.name, version: 'sim', boot: String(this.#sim.clock.now()), port: 3378 },
      hardware: this.#hardware,
      model: 'sim',
      tag: () => 'cluster',
      wish: this.#sim.wish,
      advertise: 'interface',
      images: [],
      meshVersion: () => undefined,
      meshApplied: () => undefined,
    });
  }

  #loop(port: FakePi, collector: Collector, signal: AbortSignal): Loop {
    const execute = executorOf({
      engine: this.engine,
      peers: () => port.peers,
      tag: () => 'cluster',
      wish: this.#sim.wish,
      address: () => this.engine.address,
      remember: change => this.#remember(change),
      makeImage: async () => {},
      stale: () => collector.stale('engine'),
    });
    return new Loop({
      clock: this.#sim.clock,
      collect: () => collector.collect(),
      execute: async (step, abort) => {
        this.#sim.beforeStep(this, step);
        if (signal.aborted) throw new Error('killed before the step');
        await execute(step, abort);
        this.done.push(sentence(step));
        this.#sim.afterStep(this, step);
      },
      publish: (world, decision, status) => {
        if (signal.aborted) return;
        this.world = world;
        this.decision = decision;
        port.peers.setStatus(status);
      },
      log: {
        decision: () => {},
        step: (step, _ms, error) => this.#sim.log(this, step, error),
        trouble: (what, error) => this.#sim.log(this, what, error),
      },
    });
  }

  async #answer(command: string, collector: Collector): Promise<unknown> {
    const handlers = peerCommands({
      engine: this.engine,
      name: this.name,
      swarm: () => this.world?.swarm ?? { state: 'none' },
      dissolving: () => this.world?.dissolvingSinceMs !== undefined,
      address: () => this.engine.address,
      mesh: () => undefined,
      view: () => collector.view,
      chronicle: () => ({}),
    });
    const handler = handlers[command];
    if (handler === undefined) throw new Error(`the simulation has no command ${command}`);
    return handler();
  }

  async #remember(change: Partial<Memory>): Promise<void> {
    const memory = { ...this.memory, ...change };
    await this.#store.save(memory);
    this.memory = memory;
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
