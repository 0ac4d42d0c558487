/** The daemon: makes every port, joins them to the loop, and ends them in order. Every `new` of the agent stands here. */
import { randomBytes } from 'node:crypto';
import { agentCommands, type RunCommand } from './agent-commands.ts';
import { Asked } from './asked.ts';
import { type Beginnings, begin } from './begin.ts';
import { Card } from './card.ts';
import { Closers } from './closers.ts';
import { Collector } from './collect.ts';
import type { Config } from './config.ts';
import { JUST_STARTED, startControl } from './control.ts';
import type { Wish } from './core/observe.ts';
import type { Snapshot } from './core/snapshot.ts';
import { messageOf, PiSwarmError } from './errors.ts';
import { EventFeed } from './event-feed.ts';
import { executorOf } from './executors.ts';
import type { SystemClock } from './io/clock.ts';
import { DockerEngine } from './io/engine.ts';
import type { Identity } from './io/identity.ts';
import type { HostNetwork } from './io/network.ts';
import { untilNoManager } from './io/swarm-certificate.ts';
import { notify, Watchdog } from './io/systemd.ts';
import { ensureWhoami, WHOAMI_IMAGE } from './io/whoami.ts';
import { KeptMemory } from './keep-memory.ts';
import type { Logger } from './log.ts';
import { Loop, loopLog } from './loop.ts';
import { Membership } from './membership.ts';
import { MeshReconciler } from './mesh.ts';
import { MeshFeed } from './mesh-feed.ts';
import { Reporter } from './reporter.ts';
import { mayBeDemoted, Stopper } from './shutdown.ts';
import { MqttTelemetry } from './telemetry/mqtt.ts';
import { VERSION } from './version.ts';
import { VitalsWatch } from './vitals.ts';
import { wishOf } from './wish.ts';

/** Everything that is closed at the end has this long, together. */
const CLOSE_MS = 5_000;
/** Whoever waits for the load to be evened out asks several times a second. */
const REBALANCE_ASKED_MS = 5_000;

export class Agent {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #clock: SystemClock;
  readonly #vitals: VitalsWatch;
  readonly #network: HostNetwork;
  readonly #engine: DockerEngine;
  readonly #membership: Membership;
  readonly #mesh: MeshReconciler;
  readonly #feed: MeshFeed;
  readonly #events: EventFeed;
  readonly #collector: Collector;
  readonly #reporter: Reporter;
  readonly #telemetry: MqttTelemetry | undefined;
  readonly #loop: Loop;
  readonly #wish: Wish;
  readonly #commands: RunCommand;
  readonly #identity: Identity;
  readonly #closers = new Closers();
  readonly #rebalanceAsked: Asked;
  readonly #memory: KeptMemory;
  readonly #stopper: Stopper;
  readonly #card: Card;

  static async create(config: Config, log: Logger): Promise<Agent> {
    const agent = new Agent(config, log, await begin(config));
    try {
      await agent.#start();
      return agent;
    } catch (error) {
      await agent.close();
      throw error;
    }
  }

  private constructor(config: Config, log: Logger, beginnings: Beginnings) {
    const { store, memory, identity, clock, network, host, facts } = beginnings;
    const boot = randomBytes(4).toString('hex');
    this.#config = config;
    this.#log = log;
    this.#memory = new KeptMemory(store, memory);
    this.#clock = clock;
    this.#rebalanceAsked = new Asked(clock, REBALANCE_ASKED_MS);
    this.#identity = identity;
    this.#vitals = new VitalsWatch(host);
    this.#network = network;
    this.#card = new Card(config);
    this.#wish = wishOf(config);
    this.#engine = new DockerEngine({ socketPath: config.dockerSocket });
    this.#membership = new Membership({
      config,
      identity,
      clock,
      network,
      log,
      onChange: () => this.#peersChanged(),
      onRequest: (from, command, body) => this.#commands(from, command, body),
    });
    const peers = () => this.#membership.peers;
    this.#mesh = new MeshReconciler({ mode: config.mesh, log, onApplied: () => this.#loop.wake() });
    this.#feed = new MeshFeed({ sink: this.#mesh, peers, trouble: (what, error) => this.#trouble(what, error) });
    this.#events = new EventFeed({
      peers,
      wall: () => clock.wall(),
      onNews: events => this.#telemetry?.tell(events),
      trouble: (what, error) => this.#trouble(what, error),
    });
    this.#collector = new Collector({
      clock,
      engine: this.#engine,
      network,
      peers,
      memory: () => this.#memory.now,
      vitals: () => this.#vitals.now(),
      identity: { id: identity.id, name: config.name, version: VERSION, boot, port: config.port },
      hardware: facts.hardware,
      model: facts.model,
      tag: () => this.#membership.tag,
      wish: this.#wish,
      advertise: config.advertise,
      images: [WHOAMI_IMAGE],
      meshVersion: view => this.#feed.versionOf(view),
      meshApplied: () => this.#feed.applied(),
      rebalanceAsked: () => this.#rebalanceAsked.holds,
      mayRename: () => this.#card.mayRename(),
    });
    this.#telemetry = config.mqtt && new MqttTelemetry({ config: config.mqtt, log, clock });
    this.#reporter = new Reporter({
      peers,
      now: () => clock.now(),
      wall: () => clock.wall(),
      ownView: () => this.#collector.view,
      context: () => ({
        clockBehind: clock.state() === 'behind',
        engineVersion: this.#collector.engineInfo?.version,
        notices: [...store.notices(), ...this.#membership.notices(), ...this.#card.notices()],
        mesh: this.#mesh.status(),
        mqtt: this.#telemetry?.state() ?? { state: 'off' },
      }),
    });
    this.#loop = this.#makeLoop();
    this.#stopper = new Stopper({
      memory: this.#memory,
      log,
      drainTimeoutMs: this.#wish.drainTimeoutMs,
      closeMs: CLOSE_MS,
      wake: () => this.#loop.wake(),
    });
    this.#commands = this.#makeCommands();
  }

  #makeLoop(): Loop {
    const execute = executorOf({
      engine: this.#engine,
      peers: () => this.#claimed().peers,
      tag: () => this.#claimed().tag,
      wish: this.#wish,
      address: () => this.#address(),
      remember: change => this.#memory.change(change),
      makeImage: () => this.#ensureWhoami(),
      rename: to => this.#card.rename(to),
      stale: () => this.#collector.stale('engine'),
    });
    const watchdog = new Watchdog();
    return new Loop({
      clock: this.#clock,
      collect: signal => this.#collector.collect(signal),
      restMs: () => this.#collector.restMs(),
      execute,
      publish: (world, decision, status) => {
        this.#reporter.onTurn(world, decision, status);
        this.#events.onTurn(world);
        this.#membership.peers?.setStatus(this.#events.stamp(status));
        this.#feed.onTurn(world, this.#collector.view);
        const snapshot = this.#telemetry && this.#reporter.current();
        if (snapshot) this.#telemetry?.publish(snapshot);
        this.#stopper.onTurn(world.memory.intent);
      },
      alive: () => watchdog.turned(),
      log: loopLog(this.#log),
    });
  }

  #makeCommands(): RunCommand {
    return agentCommands({
      self: { id: this.#identity.id, name: this.#config.name },
      engine: this.#engine,
      peers: () => this.#membership.peers,
      claimed: () => this.#claimed(),
      swarm: () => this.#reporter.world?.swarm ?? { state: 'none' },
      dissolving: () => this.#reporter.status?.dissolving !== undefined,
      address: () => this.#address(),
      mesh: () => this.#feed.answer(),
      chronicle: request => this.#events.answer(request),
      events: question => this.#events.list(question),
      view: () => this.#reporter.viewForOthers(),
      meshApplied: () => this.#feed.applied(),
      snapshot: () => this.#snapshot(),
      requestIntent: async intent => {
        await this.#memory.change({ intent });
        this.#loop.wake();
      },
      world: () => this.#reporter.world,
      askRebalance: () => {
        if (this.#rebalanceAsked.again()) this.#loop.wake();
      },
      ensureWhoami: () => this.#ensureWhoami(),
      pickUpSecret: () => this.#pickUpSecret(),
      config: this.#config,
    });
  }

  async #start(): Promise<void> {
    this.#closers.add('network', () => this.#network.stop());
    this.#closers.add('clock', () => this.#clock.stop());
    this.#closers.add('engine', () => this.#engine.stop());
    this.#closers.add('routing mesh', () => this.#mesh.stop());
    this.#closers.add('peers', () => this.#membership.leave());
    // Back from a shutdown that was planned: L2 makes this Pi take work again.
    if (this.#memory.now.intent === 'shutdown') await this.#memory.changeIfPossible({ intent: 'stay' });
    const control = await startControl(this.#config.socket, {
      snapshot: async () => (await this.#reporter.newest()) ?? this.#snapshot(),
      command: (name, body) => this.#commands('local', name, body),
      onBug: error => this.#trouble('a command failed', error),
    });
    this.#closers.add('control socket', () => control.stop());
    await this.#pickUpSecret();
    this.#engine.onChange(what => {
      this.#collector.stale(what);
      this.#loop.wake();
    });
    this.#network.onChange(() => this.#loop.wake());
    this.#telemetry?.start();
    if (this.#telemetry) this.#closers.add('MQTT', () => this.#telemetry?.stop());
    this.#closers.add('vitals', () => this.#vitals.stop());
    this.#closers.add('card', () => this.#card.stop());
    await Promise.all([this.#vitals.start(), this.#card.start()]);
    const { tag = 'unclaimed' } = this.#membership;
    this.#log.info({ version: VERSION, tag, port: this.#config.port }, 'pi-swarm agent started');
    void notify('READY=1');
  }

  async run(signal: AbortSignal): Promise<void> {
    await this.#loop.run(signal);
    const root = this.#collector.engineInfo?.rootDirectory;
    if (root !== undefined && mayBeDemoted(this.#reporter.world)) await untilNoManager(root, this.#clock, signal);
  }

  /** SIGTERM may still let work move first; a second signal ends at once. */
  askToStop(signal: string, stop: () => void): Promise<void> {
    return this.#stopper.ask(signal, stop);
  }

  close(): Promise<void> {
    return this.#closers.close(CLOSE_MS, (what, error) => this.#trouble(what, error));
  }

  #peersChanged(): void {
    const clocks = this.#membership.peers?.list().map(peer => peer.status.wallMs) ?? [];
    for (const ms of clocks) this.#clock.offer(ms);
    this.#card.heedClocks(clocks);
    this.#feed.refresh();
    this.#loop.wake();
  }

  /** Reads the secret and belongs to its cluster; without one the Pi stays unclaimed and says so. */
  async #pickUpSecret(): Promise<void> {
    await this.#membership.pickUp(this.#config.secretFile);
    this.#loop.wake();
  }

  #claimed(): { peers: NonNullable<Membership['peers']>; tag: string } {
    const { peers, tag } = this.#membership;
    if (peers && tag !== undefined) return { peers, tag };
    const cure = '`pi-swarm join TOKEN` brings it into one.';
    throw new PiSwarmError('unavailable', 'this Pi belongs to no cluster yet', cure);
  }

  #address(): string | undefined {
    return this.#reporter.world?.self.address;
  }

  #snapshot(): Snapshot {
    const snapshot = this.#reporter.current();
    if (snapshot) return snapshot;
    throw new PiSwarmError('unavailable', JUST_STARTED, 'Try again in a moment.');
  }

  async #ensureWhoami(): Promise<void> {
    const architecture = this.#collector.engineInfo?.architecture;
    if (architecture === undefined)
      throw new PiSwarmError('unavailable', 'the engine has not said its architecture yet', 'Try again in a moment.');
    await ensureWhoami(this.#engine, architecture);
  }

  #trouble(what: string, error: unknown): void {
    this.#log.warn({ error }, `${what}: ${messageOf(error)}`);
  }
}
