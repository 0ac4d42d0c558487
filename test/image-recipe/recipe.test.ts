/** The parts of building an image that need no Debian. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { baseKey } from '../../image/base.ts';
import { bootNames, younger } from '../../image/check.ts';
import { usedInodes } from '../../image/disk.ts';
import { cpioNames } from '../../image/initrd.ts';
import { licencesFrom, packagesFrom } from '../../image/manifest.ts';
import { mirrorsFrom } from '../../image/mirror.ts';
import { packagesOf } from '../../image/recipe.ts';
import { notYoungerThan } from '../../image/root.ts';

test('the mirrors are those of this machine’s apt, without the slash at their end', () => {
  const listed = [
    'Docker CE|https://docker.example/debian/',
    'Debian|http://mirror.example/debian/',
    'Debian|http://second.example/debian/',
    'Debian-Security|http://mirror.example/debian-security/',
  ].join('\n');
  expect(mirrorsFrom(listed)).toEqual({
    debian: 'http://mirror.example/debian',
    security: 'http://mirror.example/debian-security',
  });
  expect(mirrorsFrom('')).toEqual({});
});

test('a kept base is used again only for the same architecture and suites', () => {
  const key = baseKey('armhf', ['trixie']);
  expect(baseKey('armhf', ['trixie'])).toBe(key);
  expect(baseKey('arm64', ['trixie'])).not.toBe(key);
  expect(baseKey('armhf', ['trixie', 'trixie-security'])).not.toBe(key);
});

test('each image has the kernel of its boards, and no compiler', () => {
  expect(packagesOf('armhf')).toContain('linux-image-armmp');
  expect(packagesOf('arm64')).toContain('linux-image-arm64');
  for (const name of packagesOf('armhf')) expect(name).not.toMatch(/gcc|build-essential|-dev$|xserver|desktop/);
});

test('the manifest lists what is installed, not what was removed', () => {
  const status = `Package: zlib1g
Status: install ok installed
Architecture: armhf
Source: zlib (1:1.3)
Version: 1:1.3.dfsg-3
Description: library
 with a second line

Package: gone
Status: deinstall ok config-files
Version: 1

Package: adduser
Status: install ok installed
Architecture: all
Version: 3.152
`;
  expect(packagesFrom(status)).toEqual([
    { name: 'adduser', version: '3.152', architecture: 'all', source: 'adduser' },
    { name: 'zlib1g', version: '1:1.3.dfsg-3', architecture: 'armhf', source: 'zlib' },
  ]);
});

test('licences are the names in machine-readable copyright files, each once', () => {
  const text =
    'Format: https://www.debian.org/…\n\nFiles: *\nLicense: MIT\n\nFiles: debian/*\nLicense: GPL-2+\n text\n\nLicense: MIT\n text\n';
  expect(licencesFrom(text)).toEqual(['GPL-2+', 'MIT']);
  expect(licencesFrom('This is free software.\nLicense: whatever')).toEqual([]);
});

test('kernel and initrd are those that config.txt names', () => {
  const config = '# kernel=old\narm_64bit=1\nkernel=vmlinuz-6.12\ninitramfs initrd.img-6.12 followkernel\n';
  expect(bootNames(config)).toEqual({ kernel: 'vmlinuz-6.12', initrd: 'initrd.img-6.12' });
  expect(bootNames('')).toEqual({ kernel: '', initrd: '' });
});

test('the inodes that are used are those that no group lists as free', () => {
  const dump =
    'Inode count:              20\nFree inodes:              9\n  Free inodes: 4-10, 15\n  Free inodes: 20\n';
  expect(usedInodes(dump)).toEqual([1, 2, 3, 11, 12, 13, 14, 16, 17, 18, 19]);
  expect(() => usedInodes('nothing')).toThrow(/how many inodes/);
});

test('an initrd may begin with a plain archive: its names are read, and where it ends', () => {
  const entry = (name: string, data = '') => {
    const hex = (value: number) => value.toString(16).padStart(8, '0');
    const fields = Array.from({ length: 13 }, (_, index) =>
      index === 6 ? data.length : index === 11 ? name.length + 1 : 0,
    );
    const pad = (text: string) => text.padEnd(Math.ceil(text.length / 4) * 4, '\0');
    return pad(`${pad(`070701${fields.map(hex).join('')}${name}\0`)}${data}`);
  };
  const archive = `${entry('kernel')}${entry('kernel/ext4.ko.xz', 'module')}${entry('TRAILER!!!')}`;
  expect(cpioNames(Buffer.from(`${archive}rest`, 'latin1'), 0)).toEqual({
    names: ['kernel', 'kernel/ext4.ko.xz'],
    end: archive.length,
  });
});

test('what has the time of the build is named, until it has the time of the image', async () => {
  const root = mkdtempSync(join(tmpdir(), 'pi-swarm-image-'));
  const epoch = 1_700_000_000;
  try {
    mkdirSync(`${root}/boot/firmware`, { recursive: true });
    const complaints = ['/boot/firmware', '/boot', '/'].map(path => `${path} has the time of the build`);
    expect(await younger(root, epoch)).toEqual(complaints);
    await notYoungerThan(root, epoch);
    expect(await younger(root, epoch)).toEqual([]);
  } finally {
    rmSync(root, { recursive: true });
  }
});
