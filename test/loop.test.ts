import { describe, expect, it } from 'vitest';
import type { Facts } from '../src/core/observe.ts';
import type { Step } from '../src/core/step.ts';
import { SystemClock } from '../src/io/clock.ts';
import { Loop, type LoopPorts } from '../src/loop.ts';
import { facts, leader, node, nodeIdOf, peer } from './core/build.ts';

/** A lone leader whose swarm's settings are never those of the wish, whatever is done about it. */
const stubborn = (): Facts =>
  facts({
    engineSwarm: {
      localState: 'active',
      nodeId: nodeIdOf('pi1'),
      controlAvailable: true,
      error: '',
      remoteManagers: [],
      cluster: { id: 'swarm-a', labels: {}, createdAtMs: 1 },
    },
    memory: { intent: 'stay', swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') },
    nodes: [node('pi1', { role: 'manager', leader: true })],
    services: [],
    settings: { dispatcherHeartbeatMs: 5_000, nodeCertExpiryMs: 1, labels: {} },
  });

/** Sleeps take no time, and are written down; after the last one the loop is stopped. */
function make(more: Partial<LoopPorts>, turns: number) {
  const stop = new AbortController();
  const troubles: string[] = [];
  const steps: Step[] = [];
  const turnsMs: number[] = [];
  let restedMs = 0;
  const loop = new Loop({
    clock: {
      now: () => 0,
      wall: () => 0,
      random: () => 0.5,
      sleep: async ms => {
        restedMs += ms;
        await new Promise(setImmediate);
      },
    },
    collect: async () => {
      turnsMs.push(restedMs);
      restedMs = 0;
      if (turnsMs.length > turns) stop.abort();
      return facts();
    },
    execute: async step => void steps.push(step),
    publish: () => {},
    log: { decision: () => {}, step: () => {}, trouble: what => void troubles.push(what) },
    ...more,
  });
  return { loop, stop, troubles, steps, turnsMs };
}

describe('the loop', () => {
  it('lives on when what was decided cannot be told', async () => {
    let told = 0;
    const { loop, stop, troubles } = make(
      {
        publish: () => {
          told += 1;
          throw new TypeError('nonsense from a peer');
        },
      },
      3,
    );
    await loop.run(stop.signal);
    expect(told).toBeGreaterThanOrEqual(3);
    expect(troubles).toHaveLength(told);
  });

  it('says that it is alive with each turn and each step, also when turns fail, and not while one hangs', async () => {
    let alive = 0;
    const failing = make({ alive: () => void alive++, collect: () => Promise.reject(new Error('no engine')) }, 3);
    setTimeout(() => failing.stop.abort(), 50);
    await failing.loop.run(failing.stop.signal);
    expect(alive).toBeGreaterThan(3);

    const stop = new AbortController();
    const seen: number[] = [];
    alive = 0;
    const hanging = make(
      {
        alive: () => void alive++,
        collect: async () => stubborn(),
        execute: async () => {
          seen.push(alive);
          if (seen.length > 1) await new Promise(resolve => setTimeout(resolve, 100));
          if (seen.length > 1) seen.push(alive);
          if (seen.length > 2) stop.abort();
        },
      },
      3,
    );
    await hanging.loop.run(stop.signal);
    // A turn, its facts; then the step, a turn and its facts; then nothing until the second step has ended.
    expect(seen).toEqual([2, 5, 5]);
  });

  it('slows down when the same steps succeed again and again without effect', async () => {
    const stop = new AbortController();
    const waits: number[] = [];
    let waitedMs = 0;
    const { loop, steps } = make(
      {
        clock: {
          now: () => 0,
          wall: () => 0,
          random: () => 0.5,
          sleep: async ms => {
            waitedMs += ms;
            await new Promise(setImmediate);
          },
        },
        collect: async () => {
          waits.push(waitedMs);
          waitedMs = 0;
          if (waits.length > 12) stop.abort();
          return stubborn();
        },
      },
      99,
    );
    await loop.run(stop.signal);
    expect(new Set(steps.map(step => step.action))).toEqual(new Set(['tune']));
    expect(waits.slice(1, 4)).toEqual([50, 50, 50]);
    expect(waits[4]).toBe(500);
    expect(waits[6]).toBe(2_000);
    expect(Math.max(...waits)).toBe(15_000);
  });

  it.each(['collect', 'execute'] as const)('ends at once when it is stopped while %s hangs', async what => {
    const hang = (): Promise<never> => new Promise(() => {});
    const { loop, stop } = make(
      what === 'collect' ? { collect: hang } : { collect: async () => stubborn(), execute: hang },
      99,
    );
    const running = loop.run(stop.signal);
    setTimeout(() => stop.abort(), 50);
    await running;
  });

  it('stops a rest at once, and leaves no listener on the signal that stops it', async () => {
    const stop = new AbortController();
    const listeners = new Set<unknown>();
    const { signal } = stop;
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = (type: string, listener: never, options?: never) => {
      listeners.add(listener);
      add(type, listener, options);
    };
    signal.removeEventListener = (type: string, listener: never) => {
      listeners.delete(listener);
      remove(type, listener);
    };
    const clock = new SystemClock({ stateDir: '/nowhere' });
    const calm = async (): Promise<Facts> => facts({ peers: [peer('pi2', { swarm: leader('pi2') })], tag: undefined });
    const { loop } = make({ clock, collect: calm }, 99);
    const running = loop.run(signal);
    setTimeout(() => stop.abort(), 50);
    await running;
    expect(listeners.size).toBe(0);
  });
});
