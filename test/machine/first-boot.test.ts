/** A card's first start, in folders of its own; cut off anywhere, the next one does the rest. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { formatSecret, generateSecret } from '../../src/io/secret.ts';
import { type FirstBootPlaces, firstBoot } from '../../src/machine/first-boot.ts';

let directory = '';
let places: FirstBootPlaces;
let names: string[] = [];
let log: string[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pi-swarm-first-boot-'));
  places = { boot: `${directory}/boot`, etc: `${directory}/etc`, stateDir: `${directory}/state` };
  mkdirSync(places.boot);
  mkdirSync(places.etc);
  writeFileSync(`${places.boot}/user-data`, '#cloud-config\n');
  writeFileSync(`${places.boot}/meta-data`, 'instance-id: a\n');
  names = [];
  log = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const start = () =>
  firstBoot(places, { setHostname: async name => void names.push(name), say: text => void log.push(text) });
const onCard = () => `${places.boot}/pi-swarm.secret`;
const own = () => `${places.etc}/pi-swarm/secret`;
const newSecret = () => `${formatSecret(generateSecret())}\n`;

test('makes key, name and host keys that no other card has', async () => {
  expect(await start()).toEqual([]);
  const first = readFileSync(`${places.stateDir}/node.key`, 'utf8');
  expect(names).toEqual([expect.stringMatching(/^pi-[0-9a-f]{4}$/)]);
  expect(readFileSync(`${places.etc}/hostname`, 'utf8')).toBe(`${names[0]}\n`);
  expect(statSync(`${places.etc}/ssh/ssh_host_ed25519_key`).mode & 0o777).toBe(0o600);
  const other = mkdtempSync(join(tmpdir(), 'pi-swarm-first-boot-'));
  places = { ...places, etc: `${other}/etc`, stateDir: `${other}/state` };
  mkdirSync(places.etc);
  await start();
  expect(readFileSync(`${places.stateDir}/node.key`, 'utf8')).not.toBe(first);
  rmSync(other, { recursive: true });
});

test('changes nothing at the second start', async () => {
  await start();
  const before = execFileSync('sh', ['-c', `find ${directory} -type f | sort | xargs sha256sum`], { encoding: 'utf8' });
  log = [];
  expect(await start()).toEqual([]);
  expect(execFileSync('sh', ['-c', `find ${directory} -type f | sort | xargs sha256sum`], { encoding: 'utf8' })).toBe(
    before,
  );
  expect({ names: names.length, log }).toEqual({ names: 1, log: [] });
});

test('leaves a name that somebody chose', async () => {
  writeFileSync(`${places.etc}/hostname`, 'kitchen\n');
  await start();
  expect(names).toEqual([]);
});

test('replaces host keys that a power cut left empty or half made', async () => {
  mkdirSync(`${places.etc}/ssh`);
  writeFileSync(`${places.etc}/ssh/ssh_host_ed25519_key`, '');
  writeFileSync(`${places.etc}/ssh/ssh_host_ecdsa_key.unfinished`, 'half');
  expect(await start()).toEqual([]);
  for (const kind of ['ed25519', 'ecdsa']) {
    expect(readFileSync(`${places.etc}/ssh/ssh_host_${kind}_key`, 'utf8')).toMatch(/PRIVATE KEY/);
  }
  expect(existsSync(`${places.etc}/ssh/ssh_host_ecdsa_key.unfinished`)).toBe(false);
});

test('moves the secret off the boot partition, for root only', async () => {
  const secret = newSecret();
  writeFileSync(onCard(), secret);
  expect(await start()).toEqual([]);
  expect(existsSync(onCard())).toBe(false);
  expect(readFileSync(own(), 'utf8')).toBe(secret);
  expect(statSync(own()).mode & 0o777).toBe(0o600);
  expect(log.join()).not.toContain('PISW1');
});

test('finishes what a power cut interrupted: copied but not removed, or half overwritten', async () => {
  const secret = newSecret();
  mkdirSync(`${places.etc}/pi-swarm`);
  writeFileSync(own(), secret);
  for (const left of [secret, `${'\0'.repeat(40)}${secret.slice(40)}`]) {
    writeFileSync(onCard(), left);
    expect(await start()).toEqual([]);
    expect(existsSync(onCard())).toBe(false);
  }
  expect(readFileSync(own(), 'utf8')).toBe(secret);
});

test('leaves a damaged secret where it is and names it, without showing it', async () => {
  const damaged = newSecret().replace(/.{4}\n$/, '\n');
  writeFileSync(onCard(), damaged);
  const [notice] = await start();
  expect(notice).toMatchObject({ kind: 'boot-secret', severity: 'error' });
  expect(JSON.stringify(notice)).not.toContain(damaged.slice(6, 20));
  expect([existsSync(onCard()), existsSync(own())]).toEqual([true, false]);
});

test('does not take a Pi out of its cluster for the secret of another', async () => {
  const secret = newSecret();
  mkdirSync(`${places.etc}/pi-swarm`);
  writeFileSync(own(), secret);
  writeFileSync(onCard(), newSecret());
  expect(await start()).toEqual([
    expect.objectContaining({ kind: 'boot-secret', text: expect.stringMatching(/another cluster/) }),
  ]);
  expect(readFileSync(own(), 'utf8')).toBe(secret);
});

test('goes on with the rest when one thing fails, and says which', async () => {
  writeFileSync(`${places.etc}/ssh`, 'a file where a folder belongs');
  writeFileSync(onCard(), newSecret());
  expect(await start()).toEqual([
    expect.objectContaining({ kind: 'first-boot', text: expect.stringMatching(/ssh host keys/) }),
  ]);
  expect(existsSync(own())).toBe(true);
});

test('names each mistake in the files on the card', async () => {
  writeFileSync(`${places.boot}/user-data`, 'hostname: pi1\n');
  writeFileSync(`${places.boot}/pi-swarm.yaml`, 'managers: 4\n');
  const notices = await start();
  expect(notices.map(({ kind, text }) => `${kind} ${text.replace(directory, '').split(': ')[0]}`)).toEqual([
    'boot-file /boot/pi-swarm.yaml:1:11',
    'boot-file /boot/user-data:1:1',
  ]);
});
