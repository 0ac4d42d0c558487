import { beforeEach, describe, expect, test } from 'vitest';
import { nameOf } from '../../src/commands/deploy.ts';
import { type CommandDeps, runCommand } from '../../src/commands.ts';
import { PeerError, PiSwarmError } from '../../src/errors.ts';
import { FakeManager, nodeOf, only, peerOf } from './fakes.ts';

let manager: FakeManager;
beforeEach(() => {
  manager = new FakeManager();
});

const local = (name: string, body: unknown = {}, more: Partial<CommandDeps> = {}) =>
  runCommand(manager.commands(more), name, body, { from: 'local' });

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
    expect(await local('deploy', { image: 'whoami' })).toMatchObject({ unchanged: true });
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

  test.each([22, 2377, 3378])('port %i belongs to the cluster itself and is refused', async published => {
    const ports = [{ protocol: 'tcp', published, target: 80, mode: 'ingress' }];
    await expect(local('deploy', { image: 'nginx', ports })).rejects.toMatchObject({ code: 'refused' });
    expect(manager.wishes).toHaveLength(0);
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
