/** One Pi of the simulation: the real loop, collector, rules, executors and mesh feed on a fake engine and a fake LAN. */
import { Collector } from '../../src/collect.ts';
import type { World } from '../../src/core/observe.ts';
import { type Decision, sentence } from '../../src/core/step.ts';
import type { Memory } from '../../src/core/world.ts';
import { executorOf } from '../../src/executors.ts';
import { Loop } from '../../src/loop.ts';
import { MeshFeed } from '../../src/mesh-feed.ts';
import { peerCommands } from '../../src/peer-commands.ts';
import type { FakeEngine } from '../fakes/engine.ts';
import type { FakePi } from '../fakes/peers.ts';
import { FakeStore } from '../fakes/store.ts';
import type { SimCluster } from './cluster.ts';
import { SimMesh } from './mesh.ts';

export class SimPi {
  readonly name: string;
  readonly id: string;
  readonly engine: FakeEngine;
  readonly #sim: SimCluster;
  readonly #store = new FakeStore();
  readonly mesh: SimMesh;
  #stop: AbortController | undefined;
  #port: FakePi | undefined;
  #loopOf: Loop | undefined;
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
    this.mesh = new SimMesh(() => sim.clock.now());
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
    this.mesh.forget();
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
    if (this.memory.intent === 'shutdown') await this.#remember({ intent: 'stay' });
    const feed = this.#meshFeed(port);
    const collector = this.#collector(port, feed);
    const loop = this.#loop(port, collector, feed, stop.signal);
    this.#loopOf = loop;
    port.peers.onRequest(async (_from, command) => this.#answer(command, collector, feed));
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

  /** What `leave` and a shutdown begin with. */
  async intend(intent: Memory['intent']): Promise<void> {
    await this.#remember({ intent });
    this.#loopOf?.wake();
  }

  #meshFeed(port: FakePi): MeshFeed {
    return new MeshFeed({
      sink: this.mesh,
      peers: () => port.peers,
      trouble: (what, error) => this.#sim.log(this, what, error),
    });
  }

  #collector(port: FakePi, feed: MeshFeed): Collector {
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
      meshVersion: view => feed.versionOf(view),
      meshApplied: () => feed.applied(),
      rebalanceAsked: () => false,
      mayRename: () => false,
    });
  }

  #loop(port: FakePi, collector: Collector, feed: MeshFeed, signal: AbortSignal): Loop {
    const execute = executorOf({
      engine: this.engine,
      peers: () => port.peers,
      tag: () => 'cluster',
      wish: this.#sim.wish,
      address: () => this.engine.address,
      remember: change => this.#remember(change),
      rename: async () => {},
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
        feed.onTurn(world, collector.view);
      },
      log: {
        decision: () => {},
        step: (step, _ms, error) => this.#sim.log(this, step, error),
        trouble: (what, error) => this.#sim.log(this, what, error),
      },
    });
  }

  async #answer(command: string, collector: Collector, feed: MeshFeed): Promise<unknown> {
    const handlers = peerCommands({
      engine: this.engine,
      name: this.name,
      swarm: () => this.world?.swarm ?? { state: 'none' },
      dissolving: () => this.world?.dissolvingSinceMs !== undefined,
      address: () => this.engine.address,
      mesh: () => feed.answer(),
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
