/** Cards from beginning to end, in plain files: written, read back, interrupted, failing, edited. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { editCard, type FlashOptions, flashCard } from '../../src/flash/card.ts';
import { type Image, inspectImage } from '../../src/flash/image.ts';
import { Progress } from '../../src/flash/progress.ts';
import type { CardSettings } from '../../src/flash/settings.ts';
import { targetAt } from '../../src/flash/target.ts';
import { formatSecret, generateSecret } from '../../src/io/secret.ts';
import { BOOT_FILES, bootFile, damageOf, tool, Workshop } from './card.ts';

// Each writes and reads 40 MB several times, beside other tests.
vi.setConfig({ testTimeout: 60_000 });

let shop: Workshop;
let image: Image;

beforeAll(async () => {
  shop = new Workshop();
  image = await inspectImage(shop.image());
});
afterAll(() => shop.remove());

const silent = { write: () => true };
const quiet = (title: string, total: number) => new Progress(title, total, silent);
const nothing: CardSettings = { files: [] };

async function flashed(name: string, options: Partial<FlashOptions> = {}): Promise<string> {
  const path = shop.path(name);
  const target = await targetAt(path);
  const signal = new AbortController().signal;
  await flashCard({ image, target, settings: nothing, verify: true, signal, progress: quiet, ...options });
  return path;
}

const partitionsOf = (card: string) => tool('sfdisk', ['--dump', card]).match(/start=.*type=\w+/g);
const firstLine = (card: string) => readFileSync(card).toString('latin1', 0, 80).split('\n')[0];
const MARK = /^pi-swarm: this card is not complete/;

describe('a card in a file', () => {
  test('holds the image, and its own instance-id; all else is as it was', async () => {
    const card = await flashed('card.img');
    expect(partitionsOf(card)).toEqual(partitionsOf(image.path));
    expect(damageOf(card)).toBe('');
    expect(bootFile(card, 'user-data')).toBe(BOOT_FILES['user-data']);
    expect(bootFile(card, 'meta-data')).toMatch(/^instance-id: pi-swarm-[0-9a-f]{8}\n$/);
    const rootOf = (path: string) =>
      createHash('sha256')
        .update(readFileSync(path).subarray(39 * 1024 * 1024))
        .digest('hex');
    expect(rootOf(card)).toBe(rootOf(image.path));
    expect((statSync(card).mode & 0o777).toString(8)).toBe('600');
  });

  test('two of one image differ in their instance-id', async () => {
    const [a, b] = [await flashed('a.img'), await flashed('b.img')];
    expect(bootFile(a, 'meta-data')).not.toBe(bootFile(b, 'meta-data'));
  });

  test('over an older and larger file keeps that size, and nothing of what was in it', async () => {
    const path = shop.path('old.img');
    writeFileSync(path, 'old secrets '.repeat(1000));
    truncateSync(path, 60e6);
    const handle = openSync(path, 'r+');
    writeSync(handle, 'old secrets', 58e6);
    closeSync(handle);
    await flashed('old.img');
    expect(statSync(path).size).toBe(60e6);
    expect(readFileSync(path).includes('old secrets')).toBe(false);
  });

  test('gets every setting, and mtools and fsck find them in order', async () => {
    const secret = generateSecret();
    const settings: CardSettings = {
      hostname: 'pi1',
      wifi: { ssid: 'Shelf "1"', password: 'pass: word' },
      wifiCountry: 'DE',
      sshKeys: ['ssh-ed25519 AAAA ada@laptop'],
      secret,
      config: 'managers: 3\n',
      files: [{ path: 'overlays/x.dtbo', data: Buffer.from('overlay') }],
    };
    const card = await flashed('set.img', { settings });
    expect(damageOf(card)).toBe('');
    expect(bootFile(card, 'pi-swarm.secret')).toBe(`${formatSecret(secret)}\n`);
    expect(bootFile(card, 'pi-swarm.yaml')).toBe('managers: 3\n');
    expect(bootFile(card, 'overlays/x.dtbo')).toBe('overlay');
    expect(bootFile(card, 'user-data')).toBe(
      `${BOOT_FILES['user-data']}hostname: pi1\nssh_authorized_keys:\n  - ssh-ed25519 AAAA ada@laptop\n`,
    );
    expect(bootFile(card, 'network-config')).toContain(
      'wifis:\n  wlan0:\n    dhcp4: true\n    optional: true\n    access-points:\n      Shelf "1":\n        password: "pass: word"\n    regulatory-domain: DE\n',
    );
  });
});

describe('a card that is not complete says so and has no partition table', () => {
  test.each(['Writing', 'Checking'])('when it is interrupted while %s', async step => {
    const stop = new AbortController();
    const progress = (title: string, total: number) => {
      if (title === step) stop.abort(new Error('interrupted'));
      return quiet(title, total);
    };
    const card = shop.path(`stopped-${step}.img`);
    await expect(flashed(`stopped-${step}.img`, { signal: stop.signal, progress })).rejects.toThrow('interrupted');
    expect(firstLine(card)).toMatch(MARK);
    expect(partitionsOf.bind(undefined, card)).toThrow();
    await expect(editCard(await targetAt(card), nothing)).rejects.toThrow(/is not complete: flashing was interrupted/);
  });

  test('when it gives back something else than was written', async () => {
    const progress = (title: string, total: number) => {
      if (title === 'Checking') {
        const handle = openSync(shop.path('bad.img'), 'r+');
        writeSync(handle, 'worn out', 9e6);
        closeSync(handle);
      }
      return quiet(title, total);
    };
    await expect(flashed('bad.img', { progress })).rejects.toThrow(
      /bad.img does not give back what was written, at 8 MB/,
    );
    expect(firstLine(shop.path('bad.img'))).toMatch(MARK);
  });

  test('when a setting cannot be written, because its partition is full', async () => {
    const settings: CardSettings = { files: [{ path: 'large', data: Buffer.alloc(45e6) }] };
    await expect(flashed('full.img', { settings })).rejects.toThrow(/boot partition is full: \d+ KiB are missing/);
    expect(firstLine(shop.path('full.img'))).toMatch(MARK);
  });

  test('when the image is changed behind our back', async () => {
    const path = shop.image('changing.img');
    const changing = await inspectImage(path);
    truncateSync(path, 30e6);
    await expect(flashed('changed.img', { image: changing })).rejects.toThrow(
      /changing.img changed while it was written/,
    );
    expect(firstLine(shop.path('changed.img'))).toMatch(MARK);
  });
});

describe('editing', () => {
  test('changes what was asked for, keeps the rest, and has cloud-init look again', async () => {
    const card = await flashed('edit.img', { settings: { hostname: 'pi1', config: 'mesh: off\n', files: [] } });
    const instance = bootFile(card, 'meta-data');
    const { changed, shown } = await editCard(await targetAt(card), {
      hostname: 'pi2',
      wifi: { ssid: 'Attic', password: undefined },
      files: [],
    });
    expect(changed).toEqual(['user-data', 'network-config', 'meta-data']);
    expect(shown).toEqual({ hostname: 'pi2', users: [], sshKeys: 0, networks: ['Attic'], hasSecret: false });
    expect(bootFile(card, 'user-data')).toBe(`${BOOT_FILES['user-data']}hostname: pi2\n`);
    expect(bootFile(card, 'pi-swarm.yaml')).toBe('mesh: off\n');
    expect(bootFile(card, 'meta-data')).not.toBe(instance);
    expect(damageOf(card)).toBe('');
  });

  test('of settings that cloud-init does not read leaves its files alone', async () => {
    const card = await flashed('secret.img');
    const instance = bootFile(card, 'meta-data');
    const { changed, shown } = await editCard(await targetAt(card), { secret: generateSecret(), files: [] });
    expect([changed, shown.hasSecret]).toEqual([['pi-swarm.secret'], true]);
    expect(bootFile(card, 'meta-data')).toBe(instance);
  });

  test('without a wish only shows them', async () => {
    const card = await flashed('look.img', { settings: { hostname: 'pi7', files: [] } });
    const before = readFileSync(card);
    const { changed, shown, about } = await editCard(await targetAt(card), undefined);
    expect([changed, shown.hostname, about.architecture]).toEqual([[], 'pi7', 'armhf']);
    expect(readFileSync(card).equals(before)).toBe(true);
  });

  test('says where a file on the card is broken, and changes nothing', async () => {
    const card = await flashed('broken.img');
    const broken = shop.write('broken-user-data', '#cloud-config\nhostname: [pi1\n');
    tool('mcopy', ['-o', '-i', `${card}@@4194304`, broken, '::user-data']);
    const before = readFileSync(card);
    await expect(editCard(await targetAt(card), { hostname: 'pi2', files: [] })).rejects.toThrow(
      /^user-data on the card:3:1: not valid YAML/,
    );
    expect(readFileSync(card).equals(before)).toBe(true);
  });

  test('of what is no card of ours is refused', async () => {
    const other = shop.image('other.img', { 'config.txt': 'x' });
    await expect(editCard(await targetAt(other), nothing)).rejects.toThrow(/other.img is not pi-swarm's/);
    await expect(editCard(await targetAt(shop.write('text', 'x'.repeat(600))), nothing)).rejects.toThrow(
      /no partition table/,
    );
    await expect(editCard(await targetAt(shop.write('tiny', 'x')), nothing)).rejects.toThrow(/no partition table/);
    rmSync(other);
  });
});
