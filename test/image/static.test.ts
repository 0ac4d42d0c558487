/** What must be true of every image before it is on a card. */
import { readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bootFiles, fileSystems, identities, initrdModules, privileges } from '../../image/check.ts';
import { commandOk } from '../../src/lab/process.ts';
import { ARCHITECTURE } from './machines.ts';
import { bootPartition, compressed, remove, rootPartition, unpack, workDirectory } from './parts.ts';

const { signal } = new AbortController();
const directory = workDirectory();
let image = '';
let boot = '';
let root = '';

beforeAll(async () => {
  image = await unpack(directory);
  boot = await bootPartition(image, directory);
  root = await rootPartition(image, directory);
});
afterAll(() => remove(directory));

const MIB = 1024 * 1024;

test('the download is at most 300 MiB and its sum is right', async () => {
  expect(statSync(compressed).size / MIB).toBeLessThanOrEqual(300);
  const [sum = ''] = (await commandOk(['sha256sum', compressed], { timeoutMs: 300_000 })).split(' ');
  expect(readFileSync(`${compressed}.sha256`, 'utf8')).toBe(`${sum}  pi-swarm-${ARCHITECTURE}.img.zst\n`);
});

test('both file systems are clean', async () => {
  expect(await fileSystems(image, signal)).toEqual([]);
});

test('everything that config.txt names is there, and the kernel is told the right root', async () => {
  expect(await bootFiles(boot)).toEqual([]);
});

test('the initrd can read a card, a virtual disk and the root file system', async () => {
  expect(await initrdModules(boot)).toEqual([]);
});

test('no key, secret, id or password is in it, and no trace of the machine that built it', async () => {
  expect(await identities(root)).toEqual([]);
});

test('no program has more rights than Debian gives it, and nothing may be written by everybody', async () => {
  expect(await privileges(root)).toEqual([]);
});

test('the manifest names every package with its version', () => {
  const manifest = JSON.parse(readFileSync(compressed.replace('.img.zst', '.manifest.json'), 'utf8'));
  const names = manifest.packages.map((line: { name: string }) => line.name);
  expect(names).toEqual(expect.arrayContaining(['docker.io', 'nodejs', 'cloud-init', 'pi-swarm']));
  expect(manifest.packages.filter((line: { version: string }) => line.version === '')).toEqual([]);
});

test('the card says for which boards it is', () => {
  const { architecture, boards } = JSON.parse(readFileSync(`${boot}/pi-swarm-image.json`, 'utf8'));
  expect({ architecture, boards: boards.length > 0 }).toEqual({ architecture: ARCHITECTURE, boards: true });
});
