/** `drain`: on the real bundle, against a manager in memory. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CommandDeps } from '../../src/commands.ts';
import { turn } from '../../src/core/turn.ts';
import type { SwarmNode } from '../../src/core/world.ts';
import { EXIT } from '../../src/errors.ts';
import { world } from '../core/loads.ts';
import { DrainedSwarm } from './drained-swarm.ts';
import { nodeOf, taskOf } from './fakes.ts';
import { Program } from './program.ts';

let program: Program;
const run: Program['run'] = (...it) => program.run(...it);

beforeAll(async () => {
  program = await Program.build();
});
beforeEach(() => program.fresh());
afterEach(() => program.stop());
afterAll(() => program.remove());

class Drainer extends DrainedSwarm {
  serve(more: Partial<CommandDeps> = {}): Promise<void> {
    return program.serve(this, undefined, { engine: this.drainable(), ...more });
  }
}

const marked = (pi: number, mark: string, more: Partial<SwarmNode> = {}) =>
  nodeOf(pi, { labels: { 'pi-swarm.leaving': mark }, availability: 'drain', ...more });

describe('drain', () => {
  test('shows how the work goes, and ends when nothing runs there', async () => {
    const manager = new Drainer().with('web', 'cache');
    manager.tasks.push(taskOf(2, { id: 'web-2', serviceId: 'svc1', nodeId: 'node3' }));
    await manager.serve();
    const { code, out, err } = await run(['drain', 'pi3']);
    expect(err).toMatch(/0 of 3 tasks moved\n[\s\S]*2 of 3 tasks moved\n[\s\S]*nothing runs there any more\n/);
    expect([code, out]).toEqual([0, 'nothing runs on pi3 any more. To let it work again: pi-swarm drain pi3 --undo\n']);
    // New work is kept away first; draining at once would stop what runs.
    expect(manager.changes).toEqual([['node3', { availability: 'pause', labels: { 'pi-swarm.leaving': 'drain' } }]]);
  });

  test('says what has no place elsewhere, with code 8', async () => {
    const manager = new Drainer().with('db');
    const [db] = manager.services;
    manager.tasks.push(
      taskOf(1, { id: 'waits', serviceId: 'svc1', nodeId: '', state: 'pending', error: 'no suitable node' }),
    );
    const lead = manager.lead.bind(manager);
    manager.lead = () => {
      lead();
      if (db && manager.looks > 0) db.running = 0;
    };
    await manager.serve();
    const { code, err } = await run(['drain', 'pi3']);
    expect(code).toBe(EXIT.unhealthy);
    expect(err).toMatch(/^pi-swarm: db: 0 of 1 run, the swarm says: no suitable node\n.*pi-swarm drain pi3 --undo/m);
  });

  test('blames nobody who was incomplete before', async () => {
    const manager = new Drainer().with('web', 'nginx');
    manager.tasks.pop();
    const nginx = manager.services[1];
    if (nginx) nginx.running = 0;
    await manager.serve();
    const { code, out, err } = await run(['drain', 'pi3']);
    expect(err).toContain('\nincomplete before that already: nginx: 0 of 1 run\n');
    expect(out).toMatch(/^nothing runs on pi3 any more/);
    expect(code).toBe(0);
  });

  test('says first what may run nowhere else, and whose data stays', async () => {
    const manager = new Drainer().with('pinned', 'db');
    const [service, db] = manager.services;
    if (service) service.constraints = ['node.hostname==pi3'];
    if (db) db.localVolumes = true;
    await manager.serve();
    expect((await run(['drain', 'pi3', '-d'])).err).toBe(
      '! pinned runs only on pi3 (node.hostname==pi3): it waits until pi3 works again\n! db has its data on pi3: elsewhere it starts without it\n',
    );
  });

  test('a second time says that it is so', async () => {
    const manager = new Drainer();
    manager.nodes = [nodeOf(1), marked(2, 'drain')];
    await manager.serve();
    expect(await run(['drain', 'pi2'])).toMatchObject({
      code: 0,
      out: 'pi2 is drained already. To let it work again: pi-swarm drain pi2 --undo\n',
    });
    expect(manager.changes).toEqual([]);
  });

  test('waits for what had to stop first until it runs elsewhere', async () => {
    const manager = new Drainer().with('db');
    const [db] = manager.services;
    const lead = manager.lead.bind(manager);
    manager.lead = () => {
      lead();
      if (db) db.running = manager.looks > 5 || manager.looks === 0 ? 1 : 0;
    };
    await manager.serve();
    const { code, err } = await run(['drain', 'pi3']);
    expect(err).toMatch(/nothing runs there any more; db: 0 of 1 run\n[\s\S]*nothing runs there any more\n/);
    expect(code).toBe(0);
  });

  test('says at its limit what still runs there', async () => {
    const manager = new Drainer().with('web', 'cache');
    manager.lead = () => {};
    await manager.serve();
    const { code, err } = await run(['drain', 'pi3', '--timeout', '1s']);
    expect(code).toBe(EXIT.timeout);
    expect(err).toMatch(/waited 1 s for pi3 to give its work away: web, cache run there still/);
  });

  test('--undo lets it work again, also one that somebody else drained', async () => {
    const manager = new Drainer();
    manager.nodes = [nodeOf(1), nodeOf(2), marked(3, 'drain')];
    await manager.serve();
    expect((await run(['drain', 'pi3', '--undo'])).out).toBe(
      'pi3 works again; it gets its share by: pi-swarm rebalance\n',
    );
    expect((await run(['drain', 'pi3', '--undo'])).out).toBe('pi3 is not drained\n');
    expect(manager.changes).toEqual([['node3', { availability: 'active', labels: { 'pi-swarm.leaving': null } }]]);
    manager.change('node2', { availability: 'drain' });
    expect((await run(['drain', 'pi2.local', '--undo'])).out).toMatch(/^pi2 works again/);
  });

  test.each<[string, string[], SwarmNode[], number, RegExp]>([
    ['a name that nobody has', ['pi9'], [1, 2].map(pi => nodeOf(pi)), EXIT.notFound, /There are: pi1, pi2/],
    [
      'a name that two have',
      ['twin'],
      [nodeOf(8, { hostname: 'twin' }), nodeOf(9, { hostname: 'twin', state: 'down' })],
      EXIT.usage,
      /2 Pis are called twin\n.*node8 \(ready\), node9 \(down\)/,
    ],
    ['the last one that works', ['pi2'], [marked(1, 'drain'), nodeOf(2)], EXIT.refused, /no other Pi that could take/],
    ['one that leaves', ['pi2'], [nodeOf(1), marked(2, 'leave')], EXIT.refused, /is leaving the cluster/],
  ])('refuses %s', async (_name, words, nodes, exit, text) => {
    const manager = new Drainer();
    manager.nodes = nodes;
    await manager.serve();
    const { code, err } = await run(['drain', ...words]);
    expect(err).toMatch(text);
    expect(code).toBe(exit);
    expect(manager.changes).toEqual([]);
  });

  test('--undo says how long it takes until it gets its share', async () => {
    const manager = new Drainer();
    manager.nodes = [nodeOf(1), marked(2, 'drain')];
    await manager.serve({ world: () => turn(world({ web: [1, 1, 0] })).world });
    expect((await run(['drain', 'pi2', '--undo'])).out).toBe(
      'pi2 works again; it gets its share in about 20 s, or at once by: pi-swarm rebalance\n',
    );
  });

  test('takes an id where names are not enough', async () => {
    const manager = new Drainer();
    manager.nodes = [nodeOf(1), nodeOf(8, { hostname: 'twin' }), nodeOf(9, { hostname: 'twin' })];
    await manager.serve();
    expect((await run(['drain', 'node9', '-d'])).code).toBe(0);
    expect(manager.changes.map(([node]) => node)).toEqual(['node9']);
  });

  test('of a Pi that is off for a moment is for when it is back', async () => {
    const manager = new Drainer();
    manager.nodes = [nodeOf(1), marked(2, 'shutdown', { state: 'down' })];
    await manager.serve();
    expect(await run(['drain', 'pi2'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^pi2 is off; it will get no work when it is back\. .*drain pi2 --undo\n$/),
    });
    expect((await run(['drain', 'pi2', '--undo'])).out).toBe('pi2 is off; it works again when it is back\n');
    expect(manager.changes).toEqual([
      ['node2', { labels: { 'pi-swarm.return': 'marked' } }],
      ['node2', { labels: { 'pi-swarm.return': null } }],
    ]);
  });
});
