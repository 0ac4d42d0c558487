import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerEngine } from '../../src/io/engine.ts';
import { ensureWhoami, WHOAMI_IMAGE, whoamiImage } from '../../src/io/whoami.ts';
import {
  describeWithDockerd,
  ENGINE_ADDRESS,
  type RealEngine,
  startDockerd,
  until,
} from '../contract/engine-dockerd.ts';

/** `uname -m` of the busybox on this machine. */
const HERE = process.arch === 'x64' ? 'x86_64' : process.arch === 'arm64' ? 'aarch64' : 'armv7l';
const OTHER = HERE === 'armv7l' ? 'x86_64' : 'armv7l';

describe('the whoami image', () => {
  it('is the same to the byte for the same busybox', async () => {
    expect((await whoamiImage(HERE)).equals(await whoamiImage(HERE))).toBe(true);
  });

  it('is refused when the busybox is made for another processor, missing, no program, or dynamically linked', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'pisw-whoami-'));
    try {
      const script = join(dir, 'script');
      writeFileSync(script, '#!/bin/sh\n'.repeat(20));
      await expect(whoamiImage(OTHER)).rejects.toMatchObject({
        message: expect.stringContaining(`not built for ${OTHER}`),
      });
      await expect(whoamiImage(HERE, join(dir, 'none'))).rejects.toMatchObject({
        cure: 'apt-get install busybox-static',
      });
      await expect(whoamiImage(HERE, script)).rejects.toMatchObject({
        message: expect.stringContaining('not a program'),
      });
      await expect(whoamiImage(HERE, '/bin/ls')).rejects.toMatchObject({
        message: expect.stringContaining('shared libraries'),
      });
      await expect(whoamiImage('vax')).rejects.toMatchObject({ message: expect.stringContaining('"vax"') });
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  it('says the architecture as Go does, with the variant', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'pisw-whoami-'));
    try {
      const elf = readFileSync('/bin/busybox');
      elf.writeUInt8(1, 4);
      elf.writeUInt16LE(40, 18);
      elf.writeUInt16LE(0, 44);
      writeFileSync(join(dir, 'busybox'), elf);
      const text = (await whoamiImage('armv7l', join(dir, 'busybox'))).toString('latin1');
      expect(text).toContain('"architecture":"arm","variant":"v7","os":"linux","created":"1970-01-01T00:00:00.000Z"');
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

describeWithDockerd('the whoami image on a real engine with a default route into nowhere', () => {
  let dockerd: RealEngine;
  let engine: DockerEngine;
  const docker = (...words: string[]): string =>
    dockerd.exec('docker', '-H', `unix://${dockerd.socketPath}`, ...words).trim();

  beforeAll(async () => {
    dockerd = await startDockerd({ routeIntoNowhere: true });
    engine = new DockerEngine({ socketPath: dockerd.socketPath });
    await ensureWhoami(engine, HERE);
  }, 120_000);
  afterAll(async () => {
    await engine?.stop();
    await dockerd?.stop();
  }, 60_000);

  it('is loaded once', async () => {
    expect(await ensureWhoami(engine, HERE)).toBe(false);
    expect(await engine.imagePlatforms(WHOAMI_IMAGE)).toMatchObject([{ os: 'linux' }]);
  });

  it("answers I'm and the container's id, 500 times in a row and 50 at once, and leaves no zombies", async () => {
    const id = docker('run', '-d', '--rm', WHOAMI_IMAGE);
    const address = docker('inspect', '-f', '{{.NetworkSettings.IPAddress}}', id);
    const curl = (script: string): string[] => dockerd.exec('bash', '-c', script).trim().split('\n');
    await until(() => curl(`curl -s http://${address}:8000/ || true`)[0] !== '', 20_000, 'the first answer');
    const url = `http://${address}:8000/?[1-500]`;
    const expected = `I'm ${id.slice(0, 12)}`;
    const inARow = curl(`curl -s --max-time 60 '${url}'`);
    expect(inARow).toHaveLength(500);
    const atOnce = curl(
      `curl -s --max-time 60 --parallel --parallel-immediate --parallel-max 50 'http://${address}:8000/?[1-50]' 2>/dev/null`,
    );
    expect(atOnce).toHaveLength(50);
    expect([...new Set([...inARow, ...atOnce])]).toEqual([expected]);
    expect(docker('top', id, '-o', 'pid,stat,comm')).not.toMatch(/\bZ/);

    const began = performance.now();
    docker('stop', '-t', '10', id);
    expect(performance.now() - began).toBeLessThan(8_000);
  }, 120_000);

  it('starts as a task in seconds, although no registry can be reached', async () => {
    await engine.swarmInit({
      advertiseAddress: ENGINE_ADDRESS,
      labels: {},
      dispatcherHeartbeatMs: 1_000,
      nodeCertExpiryMs: 1e12,
    });
    const began = performance.now();
    await engine.serviceCreate({
      name: 'whoami',
      image: WHOAMI_IMAGE,
      platforms: [],
      replicas: 1,
      ports: [],
      env: [],
      constraints: [],
      labels: {},
      mounts: [],
      networks: [],
      restartDelayMs: 100,
    });
    await until(async () => (await engine.services())[0]?.running === 1, 60_000, 'a running task');
    expect(performance.now() - began).toBeLessThan(18_000);
  }, 90_000);

  it('finds nothing out about an image that is neither here nor in a registry that answers', async () => {
    expect(await engine.imagePlatforms('127.0.0.1:1/nothing:1')).toBeUndefined();
  }, 30_000);
});
