import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nameOf } from '../../src/commands/deploy.ts';
import { type CommandDeps, runCommand } from '../../src/commands.ts';
import { NotFoundError, PeerError, PiSwarmError, RefusedError } from '../../src/errors.ts';
import { formatSecret, generateSecret } from '../../src/io/secret.ts';
import { FakeManager, nodeOf, only, overWire, peerOf, taskOf } from './fakes.ts';
import { snapshotOf, whoamiService } from './fixtures.ts';

let manager: FakeManager;
beforeEach(() => {
  manager = new FakeManager();
});

const local = (name: string, body: unknown = {}, more: Partial<CommandDeps> = {}) =>
  runCommand(manager.commands(more), name, body, { from: 'local' });

describe('who may ask for what', () => {
  const peers = ['deploy', 'scale', 'rm', 'services', 'service', 'prepare-whoami'];

  test.each(['claim', 'return', 'leave'])('a peer cannot ask for %s', async name => {
    await expect(runCommand(manager.commands(), name, {}, { from: 'peer2' })).rejects.toThrow(RefusedError);
  });

  test('everything else may be asked for by peers: a new command must choose', () => {
    expect(Object.keys(manager.commands()).sort()).toEqual([...peers, 'claim', 'leave', 'return'].sort());
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
    ['in a swarm', /no manager with a majority/, /pi-swarm status/],
  ])('without a manager the error says why: %s', async (state, message, cure) => {
    const snapshot = snapshotOf({ pis: 3 });
    snapshot.self.claimed = state !== 'unclaimed';
    if (state === 'left') snapshot.self.intent = 'left';
    if (state !== 'in a swarm') snapshot.self.swarm = { state: 'none' };
    const deps = { ...worker([], async () => undefined), snapshot: () => snapshot };
    await expect(local('services', {}, deps)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(message),
      cure: expect.stringMatching(cure),
    });
  });
});

describe('deploy', () => {
  test('whoami is put on every Pi, published on 80, and restarted quickly', async () => {
    const asked: string[] = [];
    const peers = only<CommandDeps['peers']>({
      list: () => [peerOf(2), { ...peerOf(3), liveness: 'dead' }],
      request: async (to, command) => {
        asked.push(`${to} ${command}`);
      },
    });
    expect(await local('deploy', { image: 'whoami', replicas: 5 }, { peers })).toMatchObject({
      name: 'whoami',
      unchanged: false,
      warnings: [],
    });
    expect(manager.prepared).toBe(1);
    expect(asked).toEqual(['peer2 prepare-whoami']);
    expect(manager.wishes).toEqual([
      {
        name: 'whoami',
        image: 'pi-swarm/whoami:1',
        platforms: [],
        replicas: 5,
        ports: [{ protocol: 'tcp', published: 80, target: 8000, mode: 'ingress' }],
        env: [],
        constraints: [],
        labels: {},
        mounts: [],
        networks: [],
        restartDelayMs: 100,
      },
    ]);
  });

  test('a Pi that cannot make the image is named, and the others run it', async () => {
    const peers = only<CommandDeps['peers']>({
      list: () => [peerOf(2), peerOf(3)],
      request: async to => {
        if (to === 'peer3') throw new PeerError('the disk is full');
      },
    });
    expect(await local('deploy', { image: 'whoami' }, { peers })).toMatchObject({
      warnings: ['pi3 could not make the whoami image: the disk is full'],
    });
    expect(manager.wishes).toHaveLength(1);
  });

  test('nothing is created when no Pi can make the image', async () => {
    const whoami = { image: 'w', port: 1, ensure: () => Promise.reject(new PiSwarmError('environment', 'no busybox')) };
    await expect(local('deploy', { image: 'whoami' }, { whoami })).rejects.toThrow('no busybox');
    expect(manager.wishes).toEqual([]);
  });

  test('the platforms of the image become the placement', async () => {
    manager.nodes = [nodeOf(1), nodeOf(2, { architecture: 'armv7l' })];
    const report = await local('deploy', { image: 'nginx:1.27', name: 'web' });
    expect(manager.wishes[0]?.platforms).toEqual([{ os: 'linux', architecture: 'aarch64' }]);
    expect(report).toMatchObject({
      warnings: ['nginx:1.27 is not made for the processor of pi2: it does not run there'],
    });
  });

  test('an image that runs on no Pi is refused, with what it offers and what the Pis are', async () => {
    manager.nodes = [nodeOf(1, { architecture: 'armv7l' }), nodeOf(2, { architecture: 'armv6l' })];
    await expect(local('deploy', { image: 'big' })).rejects.toThrow(
      'big runs on none of these Pis: it is made for linux/arm64; the Pis are armv7l (pi1) and armv6l (pi2)',
    );
    expect(manager.wishes).toEqual([]);
  });

  test('an image that nobody knows is tried, with a warning', async () => {
    manager.engine.imagePlatforms = async () => undefined;
    expect(await local('deploy', { image: 'private/thing' })).toMatchObject({
      warnings: [expect.stringContaining('could not find out')],
    });
    expect(manager.wishes[0]?.platforms).toEqual([]);
  });

  test('the same again changes nothing', async () => {
    await local('deploy', { image: 'whoami', replicas: 2 });
    expect(await local('deploy', { image: 'whoami', replicas: 2 })).toMatchObject({ unchanged: true });
    expect(manager.wishes).toHaveLength(1);
  });

  test.each([
    ['other replicas', { image: 'whoami', replicas: 3 }, 'pi-swarm scale whoami=3'],
    ['another image', { image: 'nginx', name: 'whoami' }, 'pi-swarm rm whoami'],
    [
      'another port',
      { image: 'whoami', replicas: 2, ports: [{ protocol: 'tcp', published: 81, target: 8000, mode: 'ingress' }] },
      'pi-swarm rm whoami',
    ],
    ['the port of another service', { image: 'whoami', name: 'second' }, '--publish 8080'],
  ])('a name or port in use is refused with what to do instead: %s', async (_name, body, cure) => {
    await local('deploy', { image: 'whoami', replicas: 2 });
    await expect(local('deploy', body)).rejects.toMatchObject({ code: 'refused', cure: expect.stringContaining(cure) });
    expect(manager.wishes).toHaveLength(1);
  });

  test('global means no number of replicas', async () => {
    await local('deploy', { image: 'nginx', global: true });
    expect(manager.wishes[0]).not.toHaveProperty('replicas');
    await expect(local('deploy', { image: 'nginx', name: 'b', global: true, replicas: 2 })).rejects.toMatchObject({
      code: 'usage',
    });
  });

  test.each([
    [{ image: '' }, 'image'],
    [{ image: 'x', replicas: -1 }, 'replicas'],
    [{ image: 'x', replicas: 1e6 }, 'replicas'],
    [{ image: 'x', name: '-bad-' }, 'name'],
    [{ image: 'x', ports: [{ protocol: 'tcp', published: 0, target: 1, mode: 'ingress' }] }, 'ports.0.published'],
    [{ image: 'x', privileged: true }, 'privileged'],
    ['text', ''],
  ])('a body that is wrong is refused and names the field: %j', async (body, field) => {
    await expect(local('deploy', body)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining(field),
    });
    expect(manager.wishes).toEqual([]);
  });

  test.each([
    ['nginx', 'nginx'],
    ['nginx:1.27', 'nginx'],
    ['registry.example.org:5000/team/web_app:1@sha256:00ff', 'web_app'],
  ])('the name of %s is %s', (image, name) => {
    expect(nameOf(image)).toBe(name);
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
      failures: [{ pi: 'pi3', state: 'rejected', reason: 'No such image: web' }],
    });
  });
});

describe('membership', () => {
  let directory: string;
  let secretFile: string;
  let pickedUp: number;
  const [mine, other] = [formatSecret(generateSecret()), formatSecret(generateSecret())];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'pi-swarm-claim-'));
    secretFile = join(directory, 'etc', 'secret');
    pickedUp = 0;
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const claim = (body: object) =>
    local('claim', body, {
      secretFile,
      pickUpSecret: async () => {
        pickedUp++;
      },
    });

  test('claim keeps the secret for root only and wakes the agent', async () => {
    expect(await claim({ secret: mine })).toEqual({ changed: true });
    expect((await readFile(secretFile, 'utf8')).trim()).toBe(mine);
    expect((await stat(secretFile)).mode & 0o777).toBe(0o600);
    expect([pickedUp, manager.intents]).toEqual([1, ['stay']]);
  });

  test('the same secret again brings a Pi back that had left', async () => {
    await claim({ secret: mine });
    expect(await claim({ secret: mine.toLowerCase() })).toEqual({ changed: false });
    expect([pickedUp, manager.intents]).toEqual([1, ['stay', 'stay']]);
  });

  test('another secret needs force', async () => {
    await claim({ secret: mine });
    await expect(claim({ secret: other })).rejects.toMatchObject({
      code: 'refused',
      cure: expect.stringContaining('--force'),
    });
    expect((await readFile(secretFile, 'utf8')).trim()).toBe(mine);
    expect(await claim({ secret: other, force: true })).toEqual({ changed: true });
    expect((await readFile(secretFile, 'utf8')).trim()).toBe(other);
  });

  test('a misspelt secret changes nothing, and the error does not hold it', async () => {
    const typo = `${mine.slice(0, -1)}${mine.endsWith('0') ? '1' : '0'}`;
    const failure = await claim({ secret: typo }).catch((error: unknown) => error as PiSwarmError);
    expect(failure).toMatchObject({ code: 'usage', message: expect.stringContaining('checksum') });
    expect(JSON.stringify((failure as PiSwarmError).toWire())).not.toContain(typo.slice(6, 20));
    await expect(stat(secretFile)).rejects.toThrow();
    expect([pickedUp, manager.intents]).toEqual([0, []]);
  });

  test('a damaged secret file may be replaced without force', async () => {
    await claim({ secret: mine });
    await writeFile(secretFile, 'torn');
    expect(await claim({ secret: other })).toEqual({ changed: true });
  });

  test('return: only with a secret', async () => {
    expect(await local('return')).toEqual({ intent: 'stay' });
    const snapshot = () => snapshotOf({ change: it => (it.self.claimed = false) });
    await expect(local('return', {}, { snapshot })).rejects.toMatchObject({
      code: 'refused',
      cure: expect.stringContaining('invite'),
    });
  });

  test('leave is refused on the last Pi while services run, unless forced', async () => {
    const snapshot = () => snapshotOf({ pis: 1, services: [whoamiService] });
    await expect(local('leave', {}, { snapshot })).rejects.toMatchObject({
      code: 'refused',
      cure: expect.stringContaining('--force'),
    });
    expect(manager.intents).toEqual([]);
    await local('leave', { force: true }, { snapshot });
    expect(manager.intents).toEqual(['leave']);
  });

  test.each([
    ['others take the work', snapshotOf({ pis: 2, services: [whoamiService] })],
    ['nothing runs', snapshotOf({ pis: 1 })],
  ])('leave goes: %s', async (_name, snapshot) => {
    await local('leave', {}, { snapshot: () => snapshot });
    expect(manager.intents).toEqual(['leave']);
  });

  test('leave is refused when the others are down', async () => {
    const snapshot = snapshotOf({ pis: 2, services: [whoamiService] });
    for (const pi of snapshot.cluster.pis) if (!pi.self) pi.swarmState = 'down';
    await expect(local('leave', {}, { snapshot: () => snapshot })).rejects.toThrow(RefusedError);
  });
});
