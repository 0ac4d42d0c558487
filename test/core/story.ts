/** A cluster in which things happen, as its leader pi1 sees it: each turn changes something, and tells what is new. */
import { type Chronicle, EMPTY_CHRONICLE, write } from '../../src/core/chronicle.ts';
import type { ClusterEvent, Told } from '../../src/core/event-types.ts';
import { tell } from '../../src/core/events.ts';
import { type Facts, observe, type World } from '../../src/core/observe.ts';
import { NOTHING_SEEN, type Witness, witness } from '../../src/core/witness.ts';
import type { Peer, SwarmNode, SwarmService, SwarmTask } from '../../src/core/world.ts';
import { active, engineSwarm, idOf, leading, manager, node, nodeIdOf, peer, service } from './build.ts';

export class Story {
  nowMs = 1_000_000;
  wallMs = Date.parse('2026-05-01T16:41:00Z');
  nodes: SwarmNode[];
  services: SwarmService[] = [];
  tasks: SwarmTask[] = [];
  settings: Facts['settings'];
  chronicle: Chronicle = EMPTY_CHRONICLE;
  seen: Witness = NOTHING_SEEN;
  told: Told | undefined;
  /** Further facts of pi1. */
  more: Partial<Facts> = {};
  #world: World | undefined;
  readonly #peers = new Map<string, Peer>();

  /** pi1, pi2 and pi3 are managers; the swarm is old and nothing has been told of it yet. */
  constructor(pis = 4) {
    this.nodes = Array.from({ length: pis }, (_, index) => {
      const name = `pi${index + 1}`;
      return index < 3 ? manager(name) : node(name);
    });
    for (const { hostname, role } of this.nodes.slice(1)) this.agent(hostname, { swarm: active(hostname, { role }) });
    this.turn();
  }

  /** Something new about the agent of a Pi, or the agent of a new Pi. */
  agent(name: string, status: Partial<Peer['status']> = {}, rest: Partial<Peer> = {}): void {
    const before = this.#peers.get(name);
    const vitals = { uptimeSeconds: this.nowMs / 1000 };
    const now = peer(name, { vitals, ...before?.status, ...status }, { ...before, lastSeenMs: this.nowMs, ...rest });
    this.#peers.set(name, { ...now, status: { ...now.status, ...status } });
  }

  change(name: string, change: Partial<SwarmNode>): void {
    this.nodes = this.nodes.map(it => (it.hostname === name ? { ...it, ...change } : it));
  }

  /** So many replicas of a service run on these Pis, in this order. */
  run(name: string, ...pis: string[]): void {
    this.services = [
      ...this.services.filter(it => it.name !== name),
      { ...service(name), replicas: pis.length, desired: pis.length, running: pis.length },
    ];
    this.tasks = [...this.tasks.filter(it => it.serviceId !== name), ...pis.map((pi, slot) => task(name, slot, pi))];
  }

  /** Task `slot` of the service on `from` is told to stop, another one in its place runs on `to`. */
  replace(name: string, from: string, to: string): void {
    const old = this.tasks.find(
      it => it.serviceId === name && it.nodeId === nodeIdOf(from) && it.desired === 'running',
    );
    if (old === undefined) throw new Error(`nothing of ${name} runs on ${from}`);
    const stopped: SwarmTask = { ...old, desired: 'shutdown' };
    this.tasks = [...this.tasks.filter(it => it !== old), stopped, task(name, old.slot, to)];
  }

  /** What was told to stop on this Pi has stopped. */
  stopped(name: string): void {
    this.tasks = this.tasks.map(it =>
      it.nodeId === nodeIdOf(name) && it.desired === 'shutdown' ? { ...it, state: 'shutdown' } : it,
    );
  }

  /** Nothing more is heard of it; the swarm gives it up. */
  lose(name: string, afterMs = 4_000): void {
    const since = this.#peers.get(name)?.lastSeenMs;
    this.pass(afterMs, name);
    this.agent(name, {}, { liveness: 'dead', lastSeenMs: since ?? this.nowMs });
    this.change(name, { state: 'down', reachable: false });
  }

  /** Its agent and its node are there again. */
  comeBack(name: string, status: Partial<Peer['status']> = {}): void {
    this.agent(name, { vitals: { uptimeSeconds: this.nowMs / 1000 }, ...status }, { liveness: 'alive' });
    this.change(name, { state: 'ready', reachable: this.nodes.find(it => it.hostname === name)?.role === 'manager' });
  }

  /** Time goes by; everybody is heard, but those in `silent` and the dead. */
  pass(ms: number, ...silent: string[]): void {
    this.nowMs += ms;
    this.wallMs += ms;
    for (const [name, it] of this.#peers) {
      if (it.liveness !== 'dead' && !silent.includes(name)) this.agent(name);
    }
  }

  /** One turn of the leader's loop. @returns the lines that are new or complete now */
  turn(): string[] {
    return this.events().map(({ text }) => text);
  }

  events(): ClusterEvent[] {
    const leader = this.nodes.find(it => it.leader)?.hostname ?? '';
    const facts: Facts = {
      ...leading(this.nodes, { peers: [...this.#peers.values()] }),
      nowMs: this.nowMs,
      wallMs: this.wallMs,
      services: this.services,
      tasks: this.tasks,
      engineSwarm: engineSwarm('pi1', {
        controlAvailable: true,
        cluster: { id: 'swarm-a', labels: { 'pi-swarm.tag': '00112233aabbccdd' }, createdAtMs: 1_000 },
      }),
      ...(this.settings === undefined ? {} : { settings: this.settings }),
      ...this.more,
    };
    if (leader !== 'pi1') for (const key of ['services', 'tasks'] as const) delete facts[key];
    const world = observe(facts, this.#world);
    this.#world = world;
    this.seen = witness(world, this.seen);
    const news = tell(world, this.seen, this.told);
    if (news === undefined) return [];
    this.told = news.told;
    const before = this.chronicle.revision;
    this.chronicle = write(this.chronicle, 'boot1', news.told, news.news, world.wallMs);
    return this.chronicle.events.filter(({ revision }) => revision > before);
  }
}

export const task = (serviceId: string, slot: number, pi: string): SwarmTask => ({
  id: `${serviceId}-${slot}-${pi}`,
  serviceId,
  nodeId: nodeIdOf(pi),
  slot,
  state: 'running',
  desired: 'running',
});

export { idOf, nodeIdOf };
