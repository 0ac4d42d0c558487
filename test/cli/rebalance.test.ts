/** `rebalance`: on the real bundle, against a manager in memory. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { RebalanceReport } from '../../src/commands/types.ts';
import type { CommandDeps } from '../../src/commands.ts';
import { turn } from '../../src/core/turn.ts';
import { EXIT } from '../../src/errors.ts';
import { tasksOf, world } from '../core/loads.ts';
import { FakeManager, only } from './fakes.ts';
import { Program } from './program.ts';

let program: Program;
const run: Program['run'] = (...it) => program.run(...it);

beforeAll(async () => {
  program = await Program.build();
});
beforeEach(() => program.fresh());
afterEach(() => program.stop());
afterAll(() => program.remove());

/** An engine whose swarm is as `now` says. */
const engineOf = (now: () => ReturnType<typeof world>) =>
  only<CommandDeps['engine']>({
    nodes: async () => now().nodes ?? [],
    services: async () => now().services ?? [],
    tasks: async () => now().tasks ?? [],
  });

describe('rebalance', () => {
  /** A leader that has seen `facts` for so long, and carries out one move between two looks. */
  async function lead(facts: ReturnType<typeof world>, lastedMs = 60_000) {
    const scenes = [facts];
    let asked = 0;
    let scene = facts;
    const look = (now: ReturnType<typeof world>) => {
      const before = turn({ ...now, nowMs: now.nowMs - lastedMs }).world;
      return turn(now, before).world;
    };
    await program.serve(new FakeManager(), undefined, {
      isLeader: () => true,
      askRebalance: () => {
        asked++;
      },
      world: () => {
        scene = (asked > 0 && scenes.length > 1 ? scenes.shift() : scenes[0]) ?? facts;
        return look(scene);
      },
      engine: engineOf(() => scene),
    });
    return { scenes, asked: () => asked };
  }

  test('--dry-run shows the plan, and what stays where it is', async () => {
    const db = { localVolumes: true };
    const { asked } = await lead(world({ web: [3, 3, 0], cache: [5, 0, 0], db: [2, 0, 0] }, { db }));
    const { code, out, err } = await run(['rebalance', '--dry-run']);
    expect(out).toBe(
      'cache: 3 tasks from pi1 to pi3×2 pi2\nweb: 1 task from pi1 to pi3\nweb: 1 task from pi2 to pi3\ncache: 1 task from pi1 to pi2\n',
    );
    expect(err).toBe('db stays where it is: its data is on the Pis where it runs\n');
    expect([code, asked()]).toEqual([0, 0]);
  });

  test('--dry-run says why it does not happen by itself yet', async () => {
    await lead(world({ web: [3, 3, 0] }), 12_000);
    expect((await run(['rebalance', '--dry-run'])).out).toMatch(
      /\nby itself in 8 s; `pi-swarm rebalance` does it now\n$/,
    );
    const report = JSON.parse((await run(['rebalance', '--dry-run', '--json'])).out) as RebalanceReport;
    expect(report).toMatchObject({
      plan: [{ service: 'web', count: 1, from: 'pi1', to: ['pi3'] }, { from: 'pi2' }],
      moving: [],
      waits: 'pi1 is not steady yet: 12 of 20 s',
      byItselfInMs: 8_000,
      automatic: true,
      leftAlone: [],
    });
  });

  test('has nothing to do where the load is even', async () => {
    const { asked } = await lead(world({ web: [2, 2, 2] }));
    expect(await run(['rebalance'])).toMatchObject({ code: 0, out: 'nothing to move: the load is even\n' });
    expect(asked()).toBe(1);
  });

  test('goes by the swarm as it is now, not by what the leader saw before a Pi was to work again', async () => {
    const now = world({ web: [3, 3, 0] });
    const nodes = (now.nodes ?? []).map(node =>
      node.hostname === 'pi3' ? { ...node, availability: 'drain' as const } : node,
    );
    await program.serve(new FakeManager(), undefined, {
      isLeader: () => true,
      askRebalance: () => {},
      world: () => turn({ ...now, nodes }).world,
      engine: engineOf(() => now),
    });
    const { out } = await run(['rebalance', '--dry-run']);
    expect(out).toMatch(/^web: 1 task from pi1 to pi3\n/);
  });

  test('asks the leader until it is done', async () => {
    const move = { from: 'node-pi1', count: 1, why: 'rebalance', phase: 'surge' } as const;
    const { scenes } = await lead(world({ web: [3, 3, 0] }), 0);
    scenes.push(world({ web: [3, 3, 1] }, { web: { replicas: 6, desired: 6, running: 6, move } }));
    scenes.push(world({ web: [2, 2, 2] }, { web: { running: 5 } }), world({ web: [2, 2, 2] }));
    const { code, out, err } = await run(['rebalance']);
    expect(out).toBe('web: 1 task from pi1 to pi3\nweb: 1 task from pi2 to pi3\ndone: the load is even\n');
    expect(err).toMatch(/moving 1 task of web away from pi1\n.*waiting: web is not complete: 5 of 6 run\n$/);
    expect(err).not.toContain('even');
    expect(code).toBe(0);
  });

  test('--json says at the end what was moved', async () => {
    const move = { from: 'node-pi1', count: 1, why: 'rebalance', phase: 'surge' } as const;
    const { scenes } = await lead(world({ web: [3, 2, 0] }), 0);
    const moving = world({ web: [3, 2, 1] }, { web: { replicas: 5, desired: 5, running: 5, move } });
    scenes.push(moving, moving, world({ web: [2, 2, 1] }));
    const { out } = await run(['rebalance', '--json']);
    expect(JSON.parse(out)).toMatchObject({ plan: [], moved: [{ service: 'web', count: 1, from: 'pi1' }] });
  });

  test('says at its limit what is in the way', async () => {
    const facts = world({ web: [3, 3, 0] });
    await lead({ ...facts, tasks: tasksOf({ web: [3, 2, 0] }) }, 0);
    const { code, err } = await run(['rebalance', '--timeout', '1s']);
    expect(err).toMatch(/waited 1 s for the load to be even: web is not complete/);
    expect(code).toBe(EXIT.timeout);
  });

  test('only the leader does it: other Pis ask it', async () => {
    const requests: unknown[] = [];
    const peers = only<CommandDeps['peers']>({
      request: async (...request) => {
        requests.push(request.slice(0, 3));
        return { plan: [], moving: [], automatic: true, leftAlone: [] };
      },
    });
    const manager = new FakeManager();
    await program.serve(manager, undefined, { isLeader: () => false, managers: () => ['peer2'], peers });
    expect((await run(['rebalance'])).code).toBe(0);
    expect(requests).toEqual([['peer2', 'rebalance', { dryRun: false }]]);
  });
});
