/** The daemon: makes every port, joins them to the loop, and ends them in order. Every `new` of the agent stands here. */
import { randomBytes } from 'node:crypto';
import { agentCommands, type RunCommand } from './agent-commands.ts';
import { Collector } from './collect.ts';
import type { Config } from './config.ts';
import { startControl } from './control.ts';
import type { Wish } from './core/observe.ts';
import type { Snapshot } from './core/snapshot.ts';
import type { Memory } from './core/world.ts';
import { messageOf, PiSwarmError } from './errors.ts';
import { executorOf } from './executors.ts';
import { SystemClock } from './io/clock.ts';
import { DockerEngine } from './io/engine.ts';
import { MachineHost } from './io/host.ts';
import { type Identity, loadOrCreateIdentity } from './io/identity.ts';
import { HostNetwork } from './io/network.ts';
import { readSecretFile } from './io/secret.ts';
import { FileStore } from './io/store.ts';
import { ensureWhoami, WHOAMI_IMAGE } from './io/whoami.ts';
import { createLogger, type Logger } from './log.ts';
import { Loop, loopLog } from './loop.ts';
import { Membership } from './membership.ts';
import { MeshReconciler } from './mesh.ts';
import { MeshFeed } from './mesh-feed.ts';
import type { HostFacts } from './ports.ts';
import { Reporter } from './reporter.ts';
import { isShuttingDown } from './shutdown.ts';
import { MqttTelemetry } from './telemetry/mqtt.ts';
import { VERSION } from './version.ts';
import { VitalsWatch } from './vitals.ts';
import { wishOf } from './wish.ts';

/** Everything that is closed at the end has this long, together. */
const CLOSE_MS = 5_000;

/**
 * Runs until SIGTERM or SIGINT. When the whole Pi shuts down it first lets its work move (L1), bounded by `drainTimeout`.
 * @throws PiSwarmError when it cannot start: state directory, key or secret unreadable, socket in use
 */
export async function runAgent(config: Config): Promise<void> {
  const log = createLogger({ level: config.log.level, name: config.name });
  const stop = new AbortController();
  const agent = await Agent.create(config, log);
  const onSignal = (signal: NodeJS.Signals): void => {
    void agent.askToStop(signal, () => stop.abort());
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  try {
    await agent.run(stop.signal);
  } finally {
    await agent.close();
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
  }
}

/** What is read or made once, before anything runs. */
interface Beginnings {
  store: FileStore;
  memory: Memory;
  identity: Identity;
  clock: SystemClock;
  host: MachineHost;
  facts: HostFacts;
}

class Agent {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #store: FileStore;
  readonly #clock: SystemClock;
  readonly #vitals: VitalsWatch;
  readonly #network: HostNetwork;
  readonly #engine: DockerEngine;
  readonly #membership: Membership;
  readonly #mesh: MeshReconciler;
  readonly #feed: MeshFeed;
  readonly #collector: Collector;
  readonly #reporter: Reporter;
  readonly #telemetry: MqttTelemetry | undefined;
  readonly #loop: Loop;
  readonly #wish: Wish;
  readonly #commands: RunCommand;
  readonly #identity: Identity;
  readonly #closers: { what: string; close: () => unknown }[] = [];
  #memory: Memory;
  #remembering: Promise<unknown> = Promise.resolve();

  static async create(config: Config, log: Logger): Promise<Agent> {
    const store = new FileStore(config.stateDir);
    const memory = await store.load();
    const identity = await loadOrCreateIdentity(config.stateDir);
    const clock = new SystemClock({ stateDir: config.stateDir });
    await clock.start();
    const network = new HostNetwork({ interface: config.interface });
    const host = new MachineHost({ stateDir: config.stateDir, mac: () => network.state().chosen?.mac });
    const facts = await host.facts();
    const agent = new Agent(config, log, network, { store, memory, identity, clock, host, facts });
    try {
      await agent.#start();
      return agent;
    } catch (error) {
      await agent.close();
      throw error;
    }
  }

  private constructor(config: Config, log: Logger, network: HostNetwork, begin: Beginnings) {
    const { store, memory, identity, clock, host, facts } = begin;
    this.#config = config;
    this.#log = log;
    this.#store = store;
    this.#memory = memory;
    this.#clock = clock;
    this.#identity = identity;
    this.#vitals = new VitalsWatch(host);
    this.#network = network;
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
    this.#collector = new Collector({
      clock,
      engine: this.#engine,
      network,
      peers,
      memory: () => this.#memory,
      vitals: () => this.#vitals.now(),
      identity: {
        id: identity.id,
        name: config.name,
        version: VERSION,
        boot: randomBytes(4).toString('hex'),
        port: config.port,
      },
      hardware: facts.hardware,
      model: facts.model,
      tag: () => this.#membership.tag,
      wish: this.#wish,
      advertise: config.advertise,
      images: [WHOAMI_IMAGE],
      meshVersion: (services, tasks) => this.#feed.versionOf(services, tasks),
      meshApplied: () => this.#feed.applied(),
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
        mesh: this.#mesh.status(),
        mqtt: this.#telemetry?.state() ?? { state: 'off' },
      }),
    });
    this.#loop = this.#makeLoop();
    this.#commands = this.#makeCommands();
  }

  #makeLoop(): Loop {
    const execute = executorOf({
      engine: this.#engine,
      peers: () => this.#claimed().peers,
      tag: () => this.#claimed().tag,
      wish: this.#wish,
      address: () => this.#address(),
      remember: change => this.#remember(change),
      makeImage: () => this.#ensureWhoami(),
      stale: () => this.#collector.stale('engine'),
    });
    return new Loop({
      clock: this.#clock,
      collect: signal => this.#collector.collect(signal),
      restMs: () => this.#collector.restMs(),
      execute,
      publish: (world, decision, status) => {
        this.#reporter.onTurn(world, decision, status);
        this.#membership.peers?.setStatus(status);
        this.#feed.onTurn(world, this.#collector.view);
        const snapshot = this.#telemetry && this.#reporter.current();
        if (snapshot) this.#telemetry?.publish(snapshot);
      },
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
      view: () => this.#collector.view,
      meshApplied: () => this.#feed.applied(),
      snapshot: () => this.#snapshot(),
      requestIntent: async intent => {
        await this.#remember({ intent });
        this.#loop.wake();
      },
      ensureWhoami: () => this.#ensureWhoami(),
      pickUpSecret: () => this.#pickUpSecret(),
      config: this.#config,
    });
  }

  async #start(): Promise<void> {
    this.#closers.push({ what: 'network', close: () => this.#network.stop() });
    this.#closers.push({ what: 'clock', close: () => this.#clock.stop() });
    this.#closers.push({ what: 'engine', close: () => this.#engine.stop() });
    this.#closers.push({ what: 'routing mesh', close: () => this.#mesh.stop() });
    this.#closers.push({ what: 'peers', close: () => this.#membership.leave() });
    // Back from a shutdown that was planned: L2 makes this Pi take work again.
    if (this.#memory.intent === 'shutdown') await this.#remember({ intent: 'stay' });
    const control = await startControl(this.#config.socket, {
      snapshot: async () => (await this.#reporter.newest()) ?? this.#snapshot(),
      command: (name, body) => this.#commands('local', name, body),
      onBug: error => this.#trouble('a command failed', error),
    });
    this.#closers.push({ what: 'control socket', close: () => control.stop() });
    await this.#pickUpSecret();
    this.#engine.onChange(what => {
      this.#collector.stale(what);
      this.#loop.wake();
    });
    this.#network.onChange(() => this.#loop.wake());
    this.#telemetry?.start();
    if (this.#telemetry) this.#closers.push({ what: 'MQTT', close: () => this.#telemetry?.stop() });
    this.#closers.push({ what: 'vitals', close: () => this.#vitals.stop() });
    await this.#vitals.start();
    this.#log.info(
      { version: VERSION, tag: this.#membership.tag ?? 'unclaimed', port: this.#config.port },
      'pi-swarm agent started',
    );
  }

  run(signal: AbortSignal): Promise<void> {
    return this.#loop.run(signal);
  }

  /** The first signal may still let work move; a second one ends at once. */
  async askToStop(signal: string, stop: () => void): Promise<void> {
    if (this.#memory.intent === 'shutdown' || !(await isShuttingDown())) {
      this.#log.info({ signal }, 'stopping; the engine and its tasks go on');
      stop();
      return;
    }
    this.#log.info({ signal }, 'the Pi shuts down: letting its work move first');
    await this.#remember({ intent: 'shutdown' }).catch(error => this.#trouble('could not keep the intent', error));
    this.#loop.wake();
    setTimeout(stop, this.#wish.drainTimeoutMs + CLOSE_MS).unref();
  }

  async close(): Promise<void> {
    const all = this.#closers.reverse().map(async ({ what, close }) => {
      await Promise.resolve(close()).catch(error => this.#trouble(`could not close: ${what}`, error));
    });
    await Promise.race([Promise.all(all), new Promise(resolve => setTimeout(resolve, CLOSE_MS).unref())]);
  }

  #peersChanged(): void {
    for (const peer of this.#membership.peers?.list() ?? []) this.#clock.offer(peer.status.wallMs);
    this.#feed.refresh();
    this.#loop.wake();
  }

  /** Reads the secret and belongs to its cluster; without one the Pi stays unclaimed and says so. */
  async #pickUpSecret(): Promise<void> {
    const secret = await readSecretFile(this.#config.secretFile);
    if (secret === undefined) return;
    await this.#membership.enter(secret);
    this.#log.info({ tag: this.#membership.tag }, 'this Pi belongs to a cluster');
    this.#loop.wake();
  }

  #claimed(): { peers: NonNullable<Membership['peers']>; tag: string } {
    const { peers, tag } = this.#membership;
    if (peers && tag !== undefined) return { peers, tag };
    throw new PiSwarmError(
      'unavailable',
      'this Pi belongs to no cluster yet',
      '`pi-swarm join TOKEN` brings it into one.',
    );
  }

  #address(): string | undefined {
    return this.#reporter.world?.self.address;
  }

  #snapshot(): Snapshot {
    const snapshot = this.#reporter.current();
    if (snapshot) return snapshot;
    throw new PiSwarmError('unavailable', 'the agent has only just started', 'Try again in a moment.');
  }

  async #ensureWhoami(): Promise<void> {
    const architecture = this.#collector.engineInfo?.architecture;
    if (architecture === undefined)
      throw new PiSwarmError('unavailable', 'the engine has not said its architecture yet', 'Try again in a moment.');
    await ensureWhoami(this.#engine, architecture);
  }

  /** The one writer of the memory: one change after the other, each kept on the card before it counts. */
  #remember(change: Partial<Memory>): Promise<void> {
    const done = this.#remembering.then(async () => {
      const memory = { ...this.#memory, ...change };
      await this.#store.save(memory);
      this.#memory = memory;
    });
    this.#remembering = done.catch(() => undefined);
    return done;
  }

  #trouble(what: string, error: unknown): void {
    this.#log.warn({ error }, `${what}: ${messageOf(error)}`);
  }
}
