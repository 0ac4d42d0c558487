/** Several Pis with a feed each: who leads writes, the others follow, and whoever leads next goes on. */
import { describe, expect, it } from 'vitest';
import type { ClusterEvent } from '../src/core/event-types.ts';
import { type Facts, observe, type World } from '../src/core/observe.ts';
import type { Peer, PiStatus, SwarmNode } from '../src/core/world.ts';
import { EventFeed } from '../src/event-feed.ts';
import type { Peers } from '../src/ports.ts';
import { active, cluster, engineSwarm, facts, idOf, leader, manager, node, nodeIdOf, peer } from './core/build.ts';

/** One Pi of a shelf: its feed, and what it has told. */
interface Shelved {
  name: string;
  feed: EventFeed;
  status: PiStatus;
  told: ClusterEvent[];
  troubles: unknown[];
  world?: World;
}

class Shelf {
  nowMs = 1_000_000;
  wallMs = Date.parse('2026-05-01T16:41:00Z');
  leader = 'pi1';
  readonly pis = new Map<string, Shelved>();
  readonly dead = new Set<string>();
  /** Their engines have been started and have found no manager yet. */
  readonly pending = new Set<string>();
  nodes: SwarmNode[];
  /** Instead of what a Pi would answer. */
  answer: ((to: string) => unknown) | undefined;
  requests: { from: string; to: string }[] = [];

  constructor(count: number) {
    const names = Array.from({ length: count }, (_, index) => `pi${index + 1}`);
    this.nodes = names.map(name => (Number(name.slice(2)) <= 3 ? manager(name) : node(name)));
    for (const name of names) this.start(name);
  }

  /** Its agent is started, perhaps anew: it remembers nothing. */
  start(name: string): void {
    const told: ClusterEvent[] = [];
    const troubles: unknown[] = [];
    const feed = new EventFeed({
      peers: () => this.#peersOf(name),
      wall: () => this.wallMs,
      onNews: events => told.push(...events),
      trouble: (_what, error) => void troubles.push(error),
    });
    const boot = `${name}x${this.nowMs}`;
    this.pis.set(name, { name, feed, told, troubles, status: { ...peer(name).status, boot } });
  }

  #peersOf(name: string): Peers {
    return {
      list: () => this.#seenBy(name),
      request: async (to: string, command: string, body: unknown) => {
        const other = [...this.pis.values()].find(it => idOf(it.name) === to);
        expect(command).toBe('chronicle');
        if (other === undefined || this.dead.has(other.name)) throw new Error('no answer');
        this.requests.push({ from: name, to: other.name });
        const answer = this.answer ? this.answer(other.name) : other.feed.answer(structuredClone(body));
        return JSON.parse(JSON.stringify(answer ?? null));
      },
    } as unknown as Peers;
  }

  #seenBy(name: string): Peer[] {
    return [...this.pis.values()].flatMap(({ name: other, status }) => {
      if (other === name) return [];
      const dead = this.dead.has(other);
      return [peer(other, status, { liveness: dead ? 'dead' : 'alive', lastSeenMs: this.nowMs - (dead ? 5_000 : 0) })];
    });
  }

  change(name: string, change: Partial<SwarmNode>): void {
    this.nodes = this.nodes.map(it => (it.hostname === name ? { ...it, ...change } : it));
  }

  cut(name: string): void {
    this.dead.add(name);
    this.change(name, { state: 'down', reachable: false });
  }

  /** Every Pi that is on takes a turn, the leader first; then all requests are answered. */
  async turn(times = 1): Promise<void> {
    for (let turns = 0; turns < times; turns += 1) {
      this.nowMs += 250;
      this.wallMs += 250;
      for (const name of [this.leader, ...[...this.pis.keys()].filter(it => it !== this.leader)]) this.#turnOf(name);
      for (let ticks = 0; ticks < 10; ticks += 1) await new Promise(setImmediate);
    }
  }

  #turnOf(name: string): void {
    const pi = this.pis.get(name);
    if (pi === undefined || this.dead.has(name)) return;
    const leads = name === this.leader;
    const role = this.nodes.find(it => it.hostname === name)?.role ?? 'worker';
    const more: Partial<Facts> = leads ? { nodes: this.nodes, services: [], tasks: [] } : {};
    const world = observe(
      facts({
        nowMs: this.nowMs,
        wallMs: this.wallMs,
        self: { ...pi.status, address: '10.0.0.1' },
        engineSwarm: engineSwarm(name, {
          ...(leads ? { controlAvailable: true, cluster: cluster() } : {}),
          ...(this.pending.has(name) ? { localState: 'pending' } : {}),
        }),
        memory: { intent: 'stay', swarmId: 'swarm-a', swarmNodeId: nodeIdOf(name) },
        peers: this.#seenBy(name),
        ...more,
        ...(leads ? { nodes: this.nodes.map(it => ({ ...it, leader: it.hostname === name })) } : {}),
      }),
      pi.world,
    );
    pi.world = world;
    pi.feed.onTurn(world);
    const swarm = leads ? leader(name) : active(name, { role });
    pi.status = pi.feed.stamp({ ...pi.status, swarm });
  }

  textsOn(name: string): string[] {
    return (
      this.pis
        .get(name)
        ?.feed.list({})
        .events.map(({ text }) => text) ?? []
    );
  }
}

describe('events on a shelf of Pis', () => {
  it('reach every Pi, and only what is new is fetched', async () => {
    const shelf = new Shelf(4);
    await shelf.turn(2);
    shelf.cut('pi4');
    await shelf.turn(3);
    for (const pi of ['pi1', 'pi2', 'pi3']) expect(shelf.textsOn(pi)).toEqual(['pi4 lost power or its network']);
    shelf.requests = [];
    await shelf.turn(5);
    expect(shelf.requests).toEqual([]);
  });

  it('are told to the outside by the leader alone, each once', async () => {
    const shelf = new Shelf(4);
    await shelf.turn(2);
    shelf.cut('pi4');
    await shelf.turn(4);
    expect(shelf.pis.get('pi1')?.told.map(({ kind }) => kind)).toEqual(['lost']);
    expect(shelf.pis.get('pi2')?.told).toEqual([]);
  });

  it('go on when the leader dies: nothing twice, nothing lost, its death told by the next one', async () => {
    const shelf = new Shelf(4);
    await shelf.turn(2);
    shelf.change('pi4', { availability: 'pause' });
    await shelf.turn(3);
    shelf.cut('pi1');
    shelf.leader = 'pi2';
    await shelf.turn(3);
    const all = [
      'pi4 gets no new work: a person paused it',
      'pi1 lost power or its network',
      'pi2 leads the swarm now, after pi1 · nobody led it for 5.0 s',
    ];
    expect(shelf.textsOn('pi2').sort()).toEqual([...all].sort());
    expect(shelf.textsOn('pi4').sort()).toEqual([...all].sort());
    expect(shelf.pis.get('pi2')?.told).toHaveLength(2);
  });

  it('are not told anew by a leader that has missed the last ones: it asks who knows more', async () => {
    const shelf = new Shelf(4);
    await shelf.turn(2);
    shelf.change('pi4', { availability: 'pause' });
    shelf.dead.add('pi2');
    await shelf.turn(3);
    shelf.dead.delete('pi2');
    const original = shelf.pis.get('pi3')?.feed.list({}).events[0];
    expect(shelf.textsOn('pi2')).toEqual([]);
    shelf.cut('pi1');
    shelf.leader = 'pi2';
    await shelf.turn(4);
    expect(shelf.pis.get('pi2')?.feed.list({}).events).toContainEqual(original);
    expect(shelf.textsOn('pi2').filter(text => text.includes('paused'))).toHaveLength(1);
  });

  it('outlive the leader’s agent, which is started anew and remembers nothing', async () => {
    const shelf = new Shelf(3);
    await shelf.turn(2);
    shelf.change('pi3', { availability: 'pause' });
    await shelf.turn(3);
    shelf.start('pi1');
    await shelf.turn(4);
    shelf.change('pi3', { availability: 'active' });
    await shelf.turn(3);
    for (const pi of ['pi1', 'pi2', 'pi3']) {
      expect(shelf.textsOn(pi)).toEqual(['pi3 gets no new work: a person paused it', 'pi3 is used again']);
    }
  });

  it('stay readable on a Pi that no leader can reach', async () => {
    const shelf = new Shelf(3);
    await shelf.turn(2);
    shelf.change('pi3', { availability: 'pause' });
    await shelf.turn(3);
    for (const name of ['pi1', 'pi2']) shelf.dead.add(name);
    await shelf.turn(5);
    expect(shelf.textsOn('pi3')).toEqual(['pi3 gets no new work: a person paused it']);
  });

  it.each(['active', 'pending'])(
    'are asked of any other Pi by one that has just been started while nobody leads: %s',
    async state => {
      const shelf = new Shelf(3);
      await shelf.turn(2);
      shelf.change('pi3', { availability: 'pause' });
      await shelf.turn(3);
      shelf.dead.add('pi1');
      shelf.start('pi2');
      if (state === 'pending') shelf.pending.add('pi2');
      await shelf.turn(2);
      expect(shelf.textsOn('pi2')).toEqual(['pi3 gets no new work: a person paused it']);
      shelf.requests = [];
      await shelf.turn(5);
      expect(shelf.requests).toEqual([]);
    },
  );

  it('are said to be unheard, not to be none, by a Pi that could ask nobody yet', async () => {
    const shelf = new Shelf(2);
    const unheardOn = (pi: string) => shelf.pis.get(pi)?.feed.list({}).unheard;
    await shelf.turn(2);
    expect(unheardOn('pi2')).toBeUndefined();
    shelf.dead.add('pi1');
    shelf.start('pi2');
    await shelf.turn();
    expect(unheardOn('pi2')).toEqual({ pi: 'pi2', leader: false });
    shelf.dead.delete('pi1');
    shelf.answer = () => undefined;
    await shelf.turn(2);
    expect(unheardOn('pi2')).toEqual({ pi: 'pi2', leader: true });
    shelf.answer = undefined;
    await shelf.turn(2);
    expect(unheardOn('pi2')).toBeUndefined();
  });

  it.each([
    undefined,
    'text',
    [],
    { origin: 'a', revision: -1, whole: true, events: [], open: {} },
    { origin: 'a', revision: 5, whole: true, events: [{ id: 'x', text: 7 }], open: {} },
    { origin: 'a', revision: 5, whole: true, events: Array.from({ length: 5000 }, () => ({})), open: {} },
  ])('survive a leader that answers nonsense: %j', async answer => {
    const shelf = new Shelf(3);
    shelf.answer = () => answer;
    shelf.change('pi3', { availability: 'pause' });
    await shelf.turn(5);
    shelf.change('pi3', { availability: 'active' });
    await shelf.turn(5);
    expect(shelf.textsOn('pi2')).toEqual([]);
    expect(shelf.pis.get('pi2')?.troubles).toEqual([]);
  });

  it('lose what a terminal would obey, and what another release remembers, but not their text', async () => {
    const shelf = new Shelf(3);
    await shelf.turn();
    const at = '2026-05-01T16:41:00.000Z';
    const event = { id: 'a-1', revision: 5, at, kind: 'something-new', text: 'pi\u001b[2Jx', extra: 1 };
    shelf.answer = () => ({ origin: 'a', revision: 5, whole: true, events: [event], open: {}, told: { other: 1 } });
    shelf.change('pi3', { availability: 'pause' });
    await shelf.turn(2);
    shelf.change('pi3', { availability: 'active' });
    await shelf.turn(2);
    expect(shelf.textsOn('pi2')).toEqual(['pi\ufffd[2Jx']);
  });
});
