/** Who may ask for what, what a worker passes on, and what runs. */
import { beforeEach, describe, expect, test } from 'vitest';
import { type CommandDeps, runCommand } from '../../src/commands.ts';
import { EngineError, NotFoundError, PeerError, RefusedError } from '../../src/errors.ts';
import { FakeManager, only, overWire, taskOf } from './fakes.ts';
import { snapshotOf } from './fixtures.ts';

let manager: FakeManager;
beforeEach(() => {
  manager = new FakeManager();
});

const local = (name: string, body: unknown = {}, more: Partial<CommandDeps> = {}) =>
  runCommand(manager.commands(more), name, body, { from: 'local' });

describe('who may ask for what', () => {
  const peers = [
    'deploy',
    'scale',
    'rm',
    'services',
    'service',
    'prepare-whoami',
    'drain',
    'drained',
    'bound',
    'rebalance',
  ];
  const own = ['claim', 'return', 'leave', 'events'];

  test.each(own)('a peer cannot ask for %s', async name => {
    await expect(runCommand(manager.commands(), name, {}, { from: 'peer2' })).rejects.toThrow(RefusedError);
  });

  test('everything else may be asked for by peers: a new command must choose', () => {
    expect(Object.keys(manager.commands()).sort()).toEqual([...peers, ...own].sort());
  });

  test.each(['nothing', 'constructor', '__proto__'])('%s is no command', async name => {
    await expect(local(name)).rejects.toThrow(NotFoundError);
  });
});

describe('on a worker', () => {
  const worker = (managers: string[], request: CommandDeps['peers']['request']) => ({
    isManager: () => false,
    managers: () => managers,
    peers: only<CommandDeps['peers']>({ request }),
  });

  test('a command is carried out by the first manager, with its body', async () => {
    const asked: unknown[] = [];
    const deps = worker(['m1', 'm2'], async (...call) => {
      asked.push(call.slice(0, 3));
      return 'done';
    });
    expect(await local('scale', { name: 'web', replicas: 2 }, deps)).toBe('done');
    expect(asked).toEqual([['m1', 'scale', { name: 'web', replicas: 2 }]]);
  });

  test('a manager that cannot be reached is passed over', async () => {
    const deps = worker(['m1', 'm2'], async to => {
      if (to === 'm1') throw new PeerError('m1 does not answer');
      return to;
    });
    expect(await local('services', {}, deps)).toBe('m2');
  });

  test('a manager whose own engine has no leader yet asks another one', async () => {
    const deps = { ...worker(['m2'], async to => to), isManager: () => true };
    manager.engine.services = async () => {
      throw new EngineError('this node is being prepared as a manager');
    };
    expect(await local('services', {}, deps)).toBe('m2');
    await expect(runCommand(manager.commands(deps), 'services', {}, { from: 'peer9' })).rejects.toThrow();
  });

  test('what a manager refuses stays refused: no other one is asked', async () => {
    const deps = worker(['m1', 'm2'], async to => {
      if (to === 'm1') throw overWire(new NotFoundError('there is no service web'));
      throw new Error('asked again');
    });
    await expect(local('rm', { name: 'web' }, deps)).rejects.toMatchObject({ code: 'notFound' });
  });

  test('at most three managers are asked', async () => {
    let asked = 0;
    const deps = worker(['m1', 'm2', 'm3', 'm4', 'm5'], async () => {
      asked++;
      throw new PeerError('silence');
    });
    await expect(local('services', {}, deps)).rejects.toThrow('silence');
    expect(asked).toBe(3);
  });

  test('a command from a peer is never passed on', async () => {
    const deps = worker(['m1'], async () => {
      throw new Error('passed on');
    });
    const answer = runCommand(manager.commands(deps), 'services', {}, { from: 'peer9' });
    await expect(answer).rejects.toMatchObject({ code: 'unavailable', message: 'pi1 is not a manager any more' });
  });

  test.each([
    ['unclaimed', /belongs to no cluster/, /pi-swarm join TOKEN/],
    ['left', /has left/, /sudo pi-swarm join/],
    ['forming', /still forming/, /pi-swarm status/],
    ['silent', /has lost touch with its swarm/, /pi-swarm status/],
    ['slow', /is slow to answer/, /pi-swarm status/],
    ['absent', /does not answer/, /pi-swarm status/],
    ['in a swarm', /no manager with a majority/, /pi-swarm status/],
  ])('without a manager the error says why: %s', async (state, message, cure) => {
    const snapshot = snapshotOf({ pis: 3 });
    snapshot.self.claimed = state !== 'unclaimed';
    if (state === 'left') snapshot.self.intent = 'left';
    if (state === 'absent') snapshot.self.engine = { state };
    if (state === 'slow' || state === 'silent') snapshot.self.engine = { state: 'slow' };
    if (state === 'silent') snapshot.notices = [{ severity: 'warning', kind: 'swarm-silent', text: 'Silence.' }];
    if (state !== 'in a swarm') snapshot.self.swarm = { state: 'none' };
    const deps = { ...worker([], async () => undefined), snapshot: () => snapshot };
    await expect(local('services', {}, deps)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(message),
      cure: expect.stringMatching(cure),
    });
  });
});

describe('scale, rm, services', () => {
  beforeEach(async () => {
    await local('deploy', { image: 'whoami', replicas: 5 });
  });

  test('scale says what it was', async () => {
    expect(await local('scale', { name: 'whoami', replicas: 2 })).toEqual({ name: 'whoami', before: 5, replicas: 2 });
    expect(manager.services[0]?.replicas).toBe(2);
  });

  test.each(['scale', 'rm', 'service'])('%s of a service that is not there names those that are', async name => {
    const body = name === 'scale' ? { name: 'web', replicas: 1 } : { name: 'web' };
    await expect(local(name, body)).rejects.toMatchObject({ code: 'notFound', cure: 'There are: whoami' });
  });

  test('a service with one on every Pi cannot be scaled', async () => {
    await local('deploy', { image: 'nginx', global: true });
    await expect(local('scale', { name: 'nginx', replicas: 2 })).rejects.toThrow(RefusedError);
  });

  test('rm removes', async () => {
    await local('rm', { name: 'whoami' });
    expect(manager.services).toEqual([]);
  });

  test('services says where how many run', async () => {
    manager.tasks.push(taskOf(9, { state: 'running', desired: 'shutdown' }), taskOf(8, { serviceId: 'other' }));
    expect(await local('services')).toMatchObject([
      { name: 'whoami', running: 5, desired: 5, where: { pi1: 2, pi2: 2, pi3: 1 } },
    ]);
  });

  test('service says on how many Pis its published ports answer by now', async () => {
    const meshApplied = () => [...manager.applied().slice(1), 'an older version', undefined];
    expect(await local('service', { name: 'whoami' }, { meshApplied })).toMatchObject({ open: { pis: 2, of: 4 } });
    await local('deploy', { image: 'nginx' });
    expect(await local('service', { name: 'nginx' })).not.toHaveProperty('open');
  });

  test('service says why tasks do not run', async () => {
    manager.tasks.push(taskOf(6, { state: 'rejected', desired: 'shutdown', error: 'No such image: web' }));
    expect(await local('service', { name: 'whoami' })).toMatchObject({
      failed: 1,
      failures: [{ task: expect.any(String), pi: 'pi3', state: 'rejected', reason: 'No such image: web' }],
    });
  });
});
