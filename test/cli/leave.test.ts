/** What `leave` refuses, and what it only says: on the real bundle, with a swarm in memory. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { boundTo } from '../../src/commands/bound.ts';
import type { SwarmService } from '../../src/core/world.ts';
import { EXIT, PiSwarmError } from '../../src/errors.ts';
import { FakeManager, nodeOf, taskOf } from './fakes.ts';
import { snapshotOf, whoamiService } from './fixtures.ts';
import { Program } from './program.ts';

let program: Program;

beforeAll(async () => {
  program = await Program.build();
});
beforeEach(() => program.fresh());
afterEach(() => program.stop());
afterAll(() => program.remove());

const nodes = [1, 2, 3].map(number => nodeOf(number));
const pinned = (more: Partial<SwarmService> = {}): SwarmService => ({
  ...whoamiService,
  name: 'pinned',
  constraints: ['node.hostname==pi1'],
  ...more,
});
const onPi1 = [taskOf(1, { nodeId: 'node1' })];
const namesOf = (list: { service: string }[]) => list.map(({ service }) => service);

describe('what a Pi cannot give away', () => {
  const onlyThere = (service: SwarmService, among = nodes, tasks = onPi1) =>
    namesOf(boundTo('node1', among, [service], tasks).only);

  test('is what no other Pi that is up may run', () => {
    expect(onlyThere(pinned())).toEqual(['pinned']);
    expect(onlyThere(pinned({ constraints: ['node.hostname!=pi2'] }))).toEqual([]);
    expect(onlyThere(pinned({ constraints: ['node.role==manager', 'node.labels.ssd==true'] }))).toEqual(['pinned']);
    expect(onlyThere(pinned({ constraints: [], platforms: [{ os: 'linux', architecture: 'x86_64' }] }))).toEqual([
      'pinned',
    ]);
    const downPi3 = [nodeOf(1), nodeOf(2), nodeOf(3, { state: 'down' })];
    expect(onlyThere(pinned({ constraints: ['node.hostname!=pi2'] }), downPi3)).toEqual(['pinned']);
  });

  test('is nothing that runs elsewhere only, once on every Pi, or where we cannot know; nor of the last Pi', () => {
    expect(onlyThere(pinned(), nodes, [taskOf(1, { nodeId: 'node2' })])).toEqual([]);
    const { replicas: _, ...global } = pinned();
    expect(onlyThere(global)).toEqual([]);
    expect(onlyThere(pinned({ constraints: ['engine.labels.ssd==true'] }))).toEqual([]);
    expect(onlyThere(pinned(), [nodeOf(1), nodeOf(2, { state: 'down' })])).toEqual([]);
  });

  test('data of a service that can run elsewhere is told apart', () => {
    const { only, volumes } = boundTo('node1', nodes, [pinned({ constraints: [], localVolumes: true })], onPi1);
    expect([only, namesOf(volumes)]).toEqual([[], ['pinned']]);
  });
});

describe('leave', () => {
  const withService = (service: SwarmService) => {
    const manager = new FakeManager();
    manager.services.push(service);
    manager.tasks.push(...onPi1);
    return manager;
  };

  test('is refused where a service would end, unless forced', async () => {
    const manager = withService(pinned());
    await program.serve(manager);
    const { code, err } = await program.run(['leave', '-d']);
    expect(err).toMatch(/^pi-swarm: pinned runs only on pi1 \(node.hostname==pi1\) and would end\n.*leave --force\n$/);
    expect([code, manager.intents]).toEqual([EXIT.refused, []]);
    expect((await program.run(['leave', '-d', '--force'])).code).toBe(0);
    expect(manager.intents).toEqual(['leave']);
  });

  test('goes where only data stays behind, and says so', async () => {
    const manager = withService(pinned({ constraints: [], localVolumes: true }));
    await program.serve(manager);
    const { code, err } = await program.run(['leave', '-d']);
    expect(err).toBe('! pinned has its data on pi1: elsewhere it starts without it\n');
    expect([code, manager.intents]).toEqual([0, ['leave']]);
  });

  test('goes where no manager answers', async () => {
    const manager = withService(pinned());
    const isManager = () => {
      throw new PiSwarmError('unavailable', 'no manager can be reached');
    };
    await program.serve(manager, () => snapshotOf({ pis: 3 }), { isManager });
    expect((await program.run(['leave', '-d'])).code).toBe(0);
    expect(manager.intents).toEqual(['leave']);
  });
});
