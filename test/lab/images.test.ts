/** Everyday services on real engines, with a real registry on the LAN of the lab. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { killInside } from '../../src/lab/enter.ts';
import { oneCluster, snapshotOf } from './cluster.ts';
import { docker, dockerOf, loadBusybox, useLab, waitFor } from './harness.ts';

const lab = useLab(oneCluster({ pis: 2 }));
/** What the registry keeps. */
let shelf = '';
let registry: ChildProcess;
let server = '';

/** The same image, saying that it is for ARMv7. (`docker import --platform` of this engine sets the OS only.) */
const forOtherBoards = (from: string, to: string): string => `
  mkdir /tmp/image && cd /tmp/image && docker save ${from} | tar -x
  config=$(sed 's/.*"Config":"\\([^"]*\\)".*/\\1/' manifest.json)
  sed -i 's/"architecture":"[^"]*"/"architecture":"arm","variant":"v7"/' "$config"
  sed -i 's#${from}#${to}#' manifest.json && rm -f repositories
  tar -c . | docker load && rm -r /tmp/image`;

const piSwarm = (pi: string, ...words: string[]) => lab().exec(pi, ['pi-swarm', ...words], { timeoutMs: 120_000 });

interface Spec {
  TaskTemplate: {
    ContainerSpec: { Image: string; Env?: string[]; Mounts?: object[]; Labels?: Record<string, string> };
    Placement?: { Platforms?: object[]; Constraints?: string[] };
    RestartPolicy?: { Delay?: number };
  };
  Mode: { Replicated?: { Replicas: number }; Global?: object };
}

async function specOf(name: string): Promise<Spec> {
  const service = await dockerOf(lab(), leader).getService(name).inspect();
  return service.Spec as unknown as Spec;
}
let leader = '';

beforeAll(async () => {
  server = `${lab().address('laptop')}:5000`;
  shelf = mkdtempSync(join(tmpdir(), 'pi-swarm-registry-'));
  const config = join(shelf, 'registry.yml');
  const storage = { filesystem: { rootdirectory: join(shelf, 'registry') } };
  writeFileSync(config, JSON.stringify({ version: 0.1, storage, http: { addr: server } }));
  registry = lab().spawn('laptop', ['docker-registry', 'serve', config], { stdio: 'ignore' });
  leader = await waitFor(
    async () => {
      const { cluster } = await snapshotOf(lab(), 'pi1');
      return cluster.state === 'ok' ? cluster.pis.find(({ role }) => role === 'leader')?.name : undefined;
    },
    { what: 'one swarm' },
  ).then(String);
  await loadBusybox(lab(), 'pi1');
  await waitFor(() => lab().run('laptop', ['curl', '-sf', `http://${server}/v2/`]), { what: 'the registry' });
  const name = `${server}/app:1`;
  await docker(lab(), 'pi1', 'tag', 'busybox:latest', name);
  await docker(lab(), 'pi1', 'push', name);
  await lab().run('pi1', ['sh', '-ec', forOtherBoards(name, `${server}/arm:1`)]);
  await docker(lab(), 'pi1', 'push', `${server}/arm:1`);
}, 120_000);

afterAll(async () => {
  const ended = once(registry, 'exit');
  await killInside(registry, 'SIGTERM');
  await ended;
  rmSync(shelf, { recursive: true, force: true });
}, 30_000);

describe('an image from a registry', () => {
  it('is deployed with what everyday services need, on a Pi that never had it, and its platforms are filled in', async () => {
    const words = `deploy ${server}/app:1 --name web --replicas 2 --publish 8080:80 --env COLOUR=blue --constraint node.role==manager`;
    const volume = ['--volume', 'data:/data', '--label', 'team=a'];
    const { code, stderr } = await piSwarm(
      'pi2',
      ...words.split(' '),
      ...volume,
      '--',
      'sh',
      '-c',
      'httpd -f -p 80 -h /bin',
    );
    expect(stderr).not.toContain('!');
    expect(code).toBe(0);
    const spec = await specOf('web');
    expect(spec.TaskTemplate.Placement?.Platforms).toEqual([{ Architecture: 'x86_64', OS: 'linux' }]);
    expect(spec.TaskTemplate.Placement?.Constraints).toEqual(['node.role==manager']);
    expect(spec.TaskTemplate.ContainerSpec.Env).toEqual(['COLOUR=blue']);
    expect(spec.TaskTemplate.ContainerSpec.Mounts).toMatchObject([{ Type: 'volume', Source: 'data', Target: '/data' }]);
    expect(spec.TaskTemplate.RestartPolicy?.Delay).toBe(100_000_000);
    for (const pi of lab().pis()) {
      await lab().run('laptop', [
        'curl',
        '-sf',
        '--max-time',
        '5',
        '-o',
        '/dev/null',
        `http://${lab().address(pi)}:8080/sh`,
      ]);
    }
  });

  it('runs once on every Pi when it is global, and cannot be scaled then', async () => {
    const words = `deploy ${server}/app:1 --name everywhere --global -- sleep 1000000`;
    expect(await piSwarm('pi1', ...words.split(' '))).toMatchObject({ code: 0 });
    expect((await specOf('everywhere')).Mode.Global).toBeDefined();
    const services = JSON.parse((await piSwarm('pi2', 'services', '--json')).stdout) as {
      name: string;
      where: object;
    }[];
    expect(services.find(({ name }) => name === 'everywhere')?.where).toEqual({ pi1: 1, pi2: 1 });
    const scaled = await piSwarm('pi1', 'scale', 'everywhere=3');
    expect(scaled).toMatchObject({ code: 5, stderr: expect.stringContaining('runs once on every Pi') });
  });

  it('is refused when it runs on no Pi, with what it offers and what the Pis are', async () => {
    const { code, stderr } = await piSwarm('pi2', 'deploy', `${server}/arm:1`, '--name', 'old');
    expect(code).toBe(5);
    expect(stderr).toMatch(/runs on none of these Pis/);
    expect(stderr).toContain('linux/arm/v7');
    expect(stderr).toContain('x86_64 (pi1, pi2)');
    expect((await piSwarm('pi1', 'services')).stdout).not.toContain('old');
  });

  it('that nobody knows ends with the reason, and what can be done', async () => {
    const missing = await piSwarm('pi1', 'deploy', `${server}/nothing:1`, '--name', 'missing', '--timeout', '40s');
    expect(missing.code).toBe(8);
    expect(missing.stderr).toMatch(/No such image|not found|manifest unknown/i);
    expect(missing.stderr).toContain('pi-swarm rm missing');
  });

  it('and everything can be removed again', async () => {
    for (const name of ['web', 'everywhere', 'missing']) await piSwarm('pi1', 'rm', name);
    expect((await piSwarm('pi1', 'services', '--json')).stdout.trim()).toBe('[]');
  });
});
