/** Files on FAT32: what we write, mtools reads and fsck.vfat finds nothing wrong with; and the other way round. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Disk, diskOf } from '../../src/flash/disk.ts';
import { Fat32 } from '../../src/flash/fat32.ts';
import { BOOT_FILES, BOOT_OFFSET, bootFile, damageOf, tool, Workshop } from './card.ts';

// Images of 40 MB, beside other tests.
vi.setConfig({ testTimeout: 60_000 });

let shop: Workshop;
let image: string;
let file: FileHandle;

beforeAll(() => {
  shop = new Workshop();
});
beforeEach(async () => {
  image = shop.image();
  file = await open(image, 'r+');
});
afterEach(() => file.close());
afterAll(() => shop.remove());

const volume = () => Fat32.open(diskOf(file, BOOT_OFFSET));
const now = new Date(2026, 10, 26, 9, 30, 0);

describe('reading', () => {
  test('finds what mtools wrote, by long and short names, in any case', async () => {
    const fat = await volume();
    expect((await fat.list()).sort()).toEqual(Object.keys(BOOT_FILES).sort());
    expect((await fat.read('network-config'))?.toString()).toBe(BOOT_FILES['network-config']);
    expect((await fat.read('CONFIG.TXT'))?.toString()).toBe(BOOT_FILES['config.txt']);
    expect(await fat.read('nothing')).toBeUndefined();
    expect(await fat.read('nothing/here')).toBeUndefined();
  });

  test('finds files in folders', async () => {
    tool('mmd', ['-i', `${image}@@${BOOT_OFFSET}`, '::overlays']);
    tool('mcopy', ['-i', `${image}@@${BOOT_OFFSET}`, shop.write('x', 'a folder’s'), '::overlays/a long name.dtbo']);
    expect((await (await volume()).read('overlays/a long name.dtbo'))?.toString()).toBe('a folder’s');
  });
});

describe('writing', () => {
  test('makes files that other programs read', async () => {
    const fat = await volume();
    const large = randomBytes(300_001).toString('hex');
    await fat.write('pi-swarm.secret', Buffer.from('PISW1-x\n'), now);
    await fat.write('SHORT.TXT', Buffer.from('short'), now);
    await fat.write('large file with spaces.bin', Buffer.from(large), now);
    await fat.write('empty', Buffer.alloc(0), now);
    expect(damageOf(image)).toBe('');
    expect(bootFile(image, 'pi-swarm.secret')).toBe('PISW1-x\n');
    expect(bootFile(image, 'SHORT.TXT')).toBe('short');
    expect(bootFile(image, 'large file with spaces.bin')).toBe(large);
    expect(bootFile(image, 'empty')).toBe('');
    expect(tool('mdir', ['-i', `${image}@@${BOOT_OFFSET}`, '::pi-swarm.secret'])).toContain('2026-11-26   9:30');
  });

  test('replaces files, smaller and larger, and gives their room back', async () => {
    const free = () => /([\d ]+) bytes free/.exec(tool('mdir', ['-i', `${image}@@${BOOT_OFFSET}`, '::']))?.[1];
    const before = free();
    const fat = await volume();
    for (const size of [70_000, 3, 1024, 0, 513]) {
      const content = 'x'.repeat(size);
      await fat.write('User-Data', Buffer.from(content), now);
      expect(bootFile(image, 'user-data')).toBe(content);
      expect(damageOf(image)).toBe('');
    }
    await fat.write('user-data', Buffer.from(BOOT_FILES['user-data'] ?? ''), now);
    expect(free()).toBe(before);
  });

  test('makes folders, and a folder grows with what is in it', async () => {
    const fat = await volume();
    const names = Array.from({ length: 60 }, (_, index) => `overlays/deep/an overlay with a long name ${index}.dtbo`);
    for (const name of names) await fat.write(name, Buffer.from(name), now);
    expect(damageOf(image)).toBe('');
    for (const name of names) expect(bootFile(image, name)).toBe(name);
  });

  test('takes the place of deleted files', async () => {
    for (let index = 0; index < 5; index++) {
      const fat = await volume();
      await fat.write(`a temporary file ${index}`, Buffer.from('x'), now);
      tool('mdel', ['-i', `${image}@@${BOOT_OFFSET}`, `::a temporary file ${index}`]);
    }
    await (await volume()).write('a lasting file', Buffer.from('here'), now);
    expect(bootFile(image, 'a lasting file')).toBe('here');
    expect(damageOf(image)).toBe('');
  });

  test('into a full partition says how much is missing, and harms nothing', async () => {
    const fat = await volume();
    await expect(fat.write('too-much', Buffer.alloc(50 * 1024 * 1024), now)).rejects.toThrow(
      /partition is full: \d+ KiB/,
    );
    expect(damageOf(image)).toBe('');
    expect(await (await volume()).read('too-much')).toBeUndefined();
  });

  test.each(['a:b', 'x?', 'trailing.', '', 'new\nline'])('refuses the name %j', async name => {
    await expect((await volume()).write(name, Buffer.from('x'), now)).rejects.toThrow(/cannot be the name/);
  });

  test('interrupted after any write leaves the old file or the new one, and a file system without damage to it', async () => {
    let writes = Number.POSITIVE_INFINITY;
    const disk = diskOf(file, BOOT_OFFSET);
    const failing: Disk = {
      read: disk.read,
      write: (offset, data) => {
        if (writes-- <= 0) throw new Error('pulled out');
        return disk.write(offset, data);
      },
    };
    const before = BOOT_FILES['user-data'] ?? '';
    for (let allowed = 0; ; allowed++) {
      writes = Number.POSITIVE_INFINITY;
      await (await Fat32.open(failing)).write('user-data', Buffer.from(before), now);
      writes = allowed;
      const done = await (await Fat32.open(failing)).write('user-data', Buffer.from('new'.repeat(500)), now).then(
        () => true,
        () => false,
      );
      writes = Number.POSITIVE_INFINITY;
      const found = (await (await volume()).read('user-data'))?.toString();
      expect([before, 'new'.repeat(500)]).toContain(found);
      if (done) break;
    }
    expect(bootFile(image, 'user-data')).toBe('new'.repeat(500));
  });
});

test('what is no FAT32 is refused', async () => {
  await expect(Fat32.open(diskOf(file, 0))).rejects.toThrow(/no FAT32/);
});
