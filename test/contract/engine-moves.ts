/** Moves of tasks from one engine to others; the same on fakes and on real ones. Three managers, pi1 to pi3, are there. */
import { expect, it } from 'vitest';
import type { SwarmService, SwarmTask } from '../../src/core/world.ts';
import { WHOAMI_IMAGE } from '../../src/io/whoami.ts';
import type { Engine } from '../../src/ports.ts';
import type { SwarmSubject } from './engine-swarm.ts';

const NAME = 'mover';

/** The service, its tasks, and how few of them ran at any time that somebody looked. */
class Watched {
  readonly #subject: SwarmSubject;
  least = Number.POSITIVE_INFINITY;

  constructor(subject: SwarmSubject) {
    this.#subject = subject;
  }

  get engine(): Engine {
    return this.#subject.engine('pi1');
  }

  async create(replicas: number): Promise<string> {
    const { id } = await this.engine.serviceCreate({
      name: NAME,
      image: WHOAMI_IMAGE,
      platforms: [],
      replicas,
      ports: [],
      env: [],
      constraints: ['node.hostname!=nobody'],
      labels: { team: 'a' },
      mounts: [],
      networks: [],
      restartDelayMs: 100,
    });
    await this.until(`${replicas} running`, tasks => tasks.length === replicas);
    this.least = replicas;
    return id;
  }

  async service(): Promise<SwarmService> {
    const found = (await this.engine.services()).find(({ name }) => name === NAME);
    if (found === undefined) throw new Error('the service is gone');
    return found;
  }

  /** Also those that wait for their turn to start. */
  async all(): Promise<SwarmTask[]> {
    const { id } = await this.service();
    const tasks = (await this.engine.tasks()).filter(({ serviceId }) => serviceId === id);
    return tasks.filter(({ desired }) => desired === 'running' || desired === 'ready');
  }

  /** All that shall run; those without a node wait for one. */
  async wanted(): Promise<SwarmTask[]> {
    return (await this.all()).filter(({ desired }) => desired === 'running');
  }

  async running(): Promise<SwarmTask[]> {
    const tasks = (await this.wanted()).filter(({ state }) => state === 'running');
    this.least = Math.min(this.least, tasks.length);
    return tasks;
  }

  until(what: string, is: (tasks: SwarmTask[]) => boolean | Promise<boolean>): Promise<void> {
    return this.#subject.eventually(what, async () => is(await this.running()));
  }

  /** The node with most of its tasks takes no more. */
  async pauseFullest(): Promise<{ from: string; going: SwarmTask[] }> {
    const tasks = await this.running();
    const on = (node: string): SwarmTask[] => tasks.filter(({ nodeId }) => nodeId === node);
    const from = tasks.map(({ nodeId }) => nodeId).reduce((a, b) => (on(b).length > on(a).length ? b : a));
    await this.engine.nodeUpdate(from, { availability: 'pause' });
    return { from, going: on(from) };
  }

  /** Writes the second step, and waits until the tasks that go are marked by successors in their slots. */
  async block(id: string, going: SwarmTask[]): Promise<void> {
    const used = new Set((await this.wanted()).map(({ nodeId }) => nodeId));
    const nodes = (await this.engine.nodes()).map(({ nodeId }) => nodeId);
    const empty = nodes.filter(node => !used.has(node));
    await this.engine.serviceMoveBlock(id, empty);
    await this.engine.serviceMoveBlock(id, empty);
    const slots = going.map(({ slot }) => slot).sort();
    await this.until('the tasks that go are marked', async () => {
      const waiting = (await this.wanted()).filter(({ state, nodeId }) => state === 'pending' && nodeId === '');
      return JSON.stringify(waiting.map(({ slot }) => slot).sort()) === JSON.stringify(slots);
    });
  }

  async end(id: string): Promise<void> {
    await this.engine.serviceMoveEnd(id);
    await this.engine.serviceMoveEnd(id);
  }

  async cleanUp(): Promise<void> {
    for (const { nodeId, availability } of await this.engine.nodes()) {
      if (availability !== 'active') await this.engine.nodeUpdate(nodeId, { availability: 'active' });
    }
    await this.engine.serviceRemove(NAME);
    await this.#subject.eventually('its tasks have stopped', async () => {
      const known = new Set((await this.engine.services()).map(({ id }) => id));
      return (await this.engine.tasks()).every(({ serviceId, state }) => known.has(serviceId) || state !== 'running');
    });
  }
}

const idsOf = (tasks: SwarmTask[]): string[] => tasks.map(({ id }) => id).sort();

export function movesContract(subject: () => SwarmSubject): void {
  const moving = (what: string, test: (watched: Watched) => Promise<void>): void =>
    it(what, async () => {
      const watched = new Watched(subject());
      try {
        await test(watched);
      } finally {
        await watched.cleanUp();
      }
    });

  moving(
    'a move starts as many elsewhere before the old ones go, touches no other task, and leaves the spec as it was',
    async watched => {
      const id = await watched.create(4);
      const before = { spec: await subject().spec('pi1', NAME), tasks: await watched.running() };
      const { from, going } = await watched.pauseFullest();
      const more = 4 + going.length;
      expect(going).toHaveLength(2);

      const move = { from, count: going.length, why: 'leave' } as const;
      await watched.engine.serviceMoveStart(id, move);
      await watched.engine.serviceMoveStart(id, move);
      await watched.until('as many more run', tasks => tasks.length === more);
      const surge = await watched.running();
      expect(idsOf(surge)).toEqual(expect.arrayContaining(idsOf(before.tasks)));
      expect(surge.filter(({ nodeId }) => nodeId === from)).toHaveLength(going.length);
      expect(await watched.service()).toMatchObject({ move: { ...move, phase: 'surge' }, replicas: 4, running: 4 });

      await watched.block(id, going);
      expect(idsOf(await watched.running())).toEqual(idsOf(surge));
      const { updating, ...service } = await watched.service();
      expect(updating).toBeUndefined();
      expect(service).toMatchObject({ move: { ...move, phase: 'block' }, replicas: 4, running: 4, desired: 4 });
      expect(service).toMatchObject({ constraints: ['node.hostname!=nobody'] });
      expect(service.maxReplicas).toBeUndefined();

      await watched.end(id);
      await watched.until('the old ones have gone', tasks => tasks.length === 4);
      const after = surge.filter(({ nodeId }) => nodeId !== from);
      expect(idsOf(await watched.running())).toEqual(idsOf(after));
      expect(await subject().spec('pi1', NAME)).toEqual(before.spec);
      expect((await watched.service()).move).toBeUndefined();
      expect(watched.least).toBe(4);
    },
  );

  moving('a service with one replica moves without a moment at zero', async watched => {
    const id = await watched.create(1);
    const { from, going } = await watched.pauseFullest();
    await watched.engine.serviceMoveStart(id, { from, count: 1, why: 'leave' });
    await watched.until('two run', tasks => tasks.length === 2);
    await watched.block(id, going);
    await watched.end(id);
    await watched.until('only the new one runs', tasks => tasks.length === 1 && tasks[0]?.nodeId !== from);
    expect(watched.least).toBe(1);
  });

  moving('a service that somebody scaled in the middle keeps the new number', async watched => {
    const id = await watched.create(2);
    const { from, going } = await watched.pauseFullest();
    await watched.engine.serviceMoveStart(id, { from, count: 1, why: 'leave' });
    await watched.engine.serviceScale(NAME, 3);
    expect(await watched.service()).toMatchObject({ replicas: 3, move: { phase: 'surge' } });
    await watched.until('four run', tasks => tasks.length === 4);
    await subject().scaleByHand('pi1', NAME, 5);
    expect(await watched.service()).toMatchObject({ replicas: 5, move: { phase: 'surge' } });
    await watched.until('five run', tasks => tasks.length === 5);
    await watched.block(id, going);
    // Nothing new may run anywhere now: this ends the move, or it would wait.
    await watched.engine.serviceScale(NAME, 6);
    await watched.until('six run', tasks => tasks.length === 6);
    await watched.end(id);
    const { labels, ...service } = await watched.service();
    expect(service).toMatchObject({ replicas: 6, running: 6, constraints: ['node.hostname!=nobody'] });
    expect(labels).toEqual({ team: 'a' });
    expect(watched.least).toBe(2);
  });

  // Swarm alone would keep the new one, because its node has fewer, and stop one that runs.
  moving('a move whose new tasks do not start is taken back, and nothing that runs stops', async watched => {
    const idOf = async (pi: string): Promise<string> => (await subject().engine(pi).info()).swarm.nodeId;
    await watched.engine.nodeUpdate(await idOf('pi3'), { availability: 'pause' });
    const id = await watched.create(3);
    const before = { spec: await subject().spec('pi1', NAME), tasks: await watched.running() };
    await watched.engine.nodeUpdate(await idOf('pi3'), { availability: 'active' });
    await subject().canStart('pi3', false);
    try {
      const back = await idOf('pi3');
      await watched.engine.serviceMoveStart(id, { from: await idOf('pi1'), count: 1, why: 'rebalance' });
      await watched.until('the new one is there', async () =>
        (await watched.all()).some(({ nodeId, state }) => nodeId === back && state !== 'running'),
      );
      await watched.engine.serviceMoveBlock(id, [], [back]);
      expect(await watched.service()).toMatchObject({ move: { phase: 'back' }, replicas: 3 });
      await watched.until('the new one is marked', async () =>
        (await watched.wanted()).some(({ nodeId, state }) => nodeId === '' && state === 'pending'),
      );
      await watched.end(id);
      await watched.until('only the old ones are there', async () => (await watched.all()).length === 3);
      expect(idsOf(await watched.running())).toEqual(idsOf(before.tasks));
      expect(await subject().spec('pi1', NAME)).toEqual(before.spec);
      expect(watched.least).toBe(3);
    } finally {
      await subject().canStart('pi3', true);
    }
  });

  moving('a move that is ended early leaves everything as it was', async watched => {
    const id = await watched.create(3);
    const before = { spec: await subject().spec('pi1', NAME), tasks: await watched.running() };
    await watched.engine.serviceMoveStart(id, { from: before.tasks[0]?.nodeId ?? '', count: 1, why: 'rebalance' });
    await watched.end(id);
    await watched.until('three run', tasks => tasks.length === 3);
    expect(idsOf(await watched.wanted())).toEqual(idsOf(before.tasks));
    expect(await subject().spec('pi1', NAME)).toEqual(before.spec);
    expect(watched.least).toBe(3);
  });
}
