/** `pi-swarm flash` as people run it: the real bundle, files, a full disk, a real block device, Ctrl-C. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { EXIT } from '../../src/errors.ts';
import { type Outcome, Program } from '../cli/program.ts';
import { bootFile, damageOf, tool, Workshop } from './card.ts';

vi.setConfig({ testTimeout: 90_000 });

const KEY = `ssh-ed25519 ${'A'.repeat(68)} ada@laptop`;
let program: Program;
let shop: Workshop;
let image: string;
let card: string;
let home: string;
const undo: (() => void)[] = [];

beforeAll(async () => {
  program = await Program.build();
  shop = new Workshop();
  image = `${shop.image()}.zst`;
  tool('zstd', ['-q', shop.path('pi-swarm-armhf.img'), '-o', image]);
  writeFileSync(`${image}.sha256`, tool('sha256sum', [image]));
});
beforeEach(async () => {
  await program.fresh();
  home = join(program.directory, 'home');
  card = shop.path(`card-${program.directory.split('-').at(-1)}.img`);
  mkdirSync(join(home, '.ssh'), { recursive: true });
  writeFileSync(join(home, '.ssh', 'id_ed25519.pub'), `${KEY}\n`);
});
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step();
});
afterAll(async () => {
  await program.remove();
  shop.remove();
});

const environment = () => ({ HOME: home, XDG_CONFIG_HOME: '', XDG_CACHE_HOME: '', SUDO_USER: '', PI_SWARM_CONFIG: '' });
const flash = (...words: string[]): Promise<Outcome> => program.run(['flash', ...words], { env: environment() });

describe('flash', () => {
  test('of two cards of a cluster gives both its secret, and warns of equal hostnames', async () => {
    const first = await flash('--hostname', 'pi1', '--cluster', 'shelf', '--board', 'pi3', image, card);
    expect(first.err).toContain('New cluster shelf: its secret is in');
    expect(first.err).toMatch(/Image: pi-swarm-armhf 0\.1\.0 \(armhf\), for pi2, pi3, pi3\+, cm3; \d+ MB on the card/);
    expect(first.err).toMatch(/Written: \d+ MB[\s\S]*Read back and the same: \d+ MB/);
    expect(first).toMatchObject({
      code: EXIT.ok,
      out: `Done: ${card} is a card in a file.\nIt calls itself pi1. A minute or two later: ssh pi@pi1.local pi-swarm status\n`,
    });
    const second = await flash('--hostname', 'pi1', '--cluster', 'shelf', '--no-verify', image, `${card}.2`);
    expect(second.err).toContain('! A card for pi1 was flashed before');
    expect(second.err).toContain('--hostname pi2');
    expect(second.err).not.toContain('Read back');
    expect(bootFile(`${card}.2`, 'pi-swarm.secret')).toBe(bootFile(card, 'pi-swarm.secret'));
    const secret = readFileSync(join(home, '.config/pi-swarm/clusters/shelf'), 'utf8');
    expect(bootFile(card, 'pi-swarm.secret')).toBe(secret);
    expect(first.err + first.out + second.err + second.out).not.toContain(secret.slice(6, 20));
    expect(damageOf(card)).toBe('');
  });

  test('overwrites a file only when that is said', async () => {
    writeFileSync(card, 'precious');
    const refused = await flash(image, card);
    expect(refused.code).toBe(EXIT.refused);
    expect(refused.err).toContain(`${card} exists (0 kB) and will be overwritten.`);
    expect(refused.err).toContain('the same command with --yes');
    expect(readFileSync(card, 'utf8')).toBe('precious');
    const { code, out } = await flash('--yes', image, card);
    expect([code, out]).toEqual([EXIT.ok, expect.stringContaining('It has no cluster secret')]);
  });

  test.each<[string, () => string[], number, RegExp]>([
    [
      'a wrong checksum',
      () => ['--sha256', '0'.repeat(64), image, card],
      EXIT.refused,
      /the checksum is wrong\n {2}expected 0{64}/,
    ],
    ['another board', () => ['--board', 'pi4', image, card], EXIT.refused, /does not start on a pi4/],
    ['no image', () => ['/no/image.img', card], EXIT.notFound, /there is no image \/no\/image.img/],
    ['nothing', () => [], EXIT.usage, /which image\?/],
    ['a device that is gone', () => [image, '/dev/sdnone'], EXIT.notFound, /Is the card inserted\?/],
    ['a pipe or character device', () => [image, '/dev/full'], EXIT.refused, /neither a disk nor a file/],
    ['a folder', () => [image, shop.folder], EXIT.refused, /is a folder/],
    [
      'a folder that is not there',
      () => [image, '/no/folder/card.img'],
      EXIT.notFound,
      /there is no folder \/no\/folder/,
    ],
    ['itself', () => ['--yes', image, image], EXIT.refused, /is the image itself/],
    ['an image with --edit', () => ['--edit', image, card], EXIT.usage, /takes no image/],
    ['something to edit that is not there', () => ['--edit', card], EXIT.notFound, /there is no/],
    [
      'Wi-Fi without terminal or password',
      () => ['--wifi', 'Shelf', image, card],
      EXIT.usage,
      /--wifi-password-file FILE/,
    ],
  ])('of %s is refused before anything is written', async (_what, words, code, message) => {
    const outcome = await flash(...words());
    expect(outcome.err).toMatch(message);
    expect(outcome.code).toBe(code);
    expect(existsSync(card)).toBe(false);
  });

  test('with user-data that is broken says file, line and column', async () => {
    const broken = shop.write('broken.yaml', '#cloud-config\nusers: [ada\n');
    const { code, err } = await flash('--userdata', broken, image, card);
    expect([code, err]).toEqual([EXIT.usage, expect.stringContaining(`${broken}:3:1: not valid YAML`)]);
    const { err: noHeader } = await flash('--userdata', shop.write('plain.yaml', 'hostname: x\n'), image, card);
    expect(noHeader).toContain('plain.yaml:1:1: the first line is not #cloud-config');
    expect(existsSync(card)).toBe(false);
  });

  test('stopped by Ctrl-C in the middle leaves a file that says it is not complete', async () => {
    // A program to unpack it that is slow, so that the middle lasts.
    const slow = shop.path('slow');
    mkdirSync(slow);
    const script = [
      '#!/usr/bin/env node',
      "const { spawn } = require('node:child_process');",
      `const real = spawn('${tool('which', ['xz']).trim()}', process.argv.slice(2), { stdio: ['ignore', 'pipe', 'inherit'] });`,
      '(async () => {',
      '  for await (const piece of real.stdout) {',
      '    process.stdout.write(piece);',
      '    await new Promise(resolve => setTimeout(resolve, 2));',
      '  }',
      '})();',
    ];
    writeFileSync(join(slow, 'xz'), script.join('\n'), { mode: 0o755 });
    tool('xz', ['-0', '-k', shop.path('pi-swarm-armhf.img')]);
    const xz = shop.path('pi-swarm-armhf.img.xz');
    const env = { ...process.env, ...environment(), NO_COLOR: '1', PATH: `${slow}:${process.env['PATH']}` };
    const child = spawn(process.execPath, [program.path, 'flash', xz, card], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    undo.push(() => child.kill('SIGKILL'));
    let err = '';
    let pressed = false;
    const ended = new Promise<number | null>(resolve => child.once('close', resolve));
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
      // Once: a second one ends it at once, as everywhere.
      if (!pressed && /Writing +\d+ %/.test(err)) pressed = child.kill('SIGINT');
    });
    expect([await ended, err]).toEqual([
      130,
      expect.stringContaining(`${card} is not complete and will not start. Flash it again.\nStopped.`),
    ]);
    expect(readFileSync(card).toString('latin1', 0, 40)).toBe('pi-swarm: this card is not complete. Fla');
  });
});

describe.runIf(process.getuid?.() === 0)('on a disk', () => {
  test('that is full the error says after how much, and the file is not complete', async () => {
    const small = shop.path('small');
    mkdirSync(small);
    tool('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', small]);
    undo.push(() => tool('umount', [small]));
    const noisy = shop.image('noisy.img');
    tool('dd', ['if=/dev/urandom', `of=${noisy}`, 'bs=1M', 'seek=30', 'count=8', 'conv=notrunc', 'status=none']);
    const { code, err } = await flash(noisy, join(small, 'card.img'));
    expect([code, err]).toEqual([
      EXIT.environment,
      expect.stringMatching(/writing .*card.img failed after \d+ MB: there is no room left\n.*not complete/),
    ]);
  });

  const loop = (bytes: number, ...more: string[]): string => {
    const backing = shop.path(`disk-${undo.length}-${bytes}`);
    writeFileSync(backing, '');
    truncateSync(backing, bytes);
    const device = tool('losetup', ['--find', '--show', '--partscan', ...more, backing]).trim();
    undo.push(() => tool('losetup', ['--detach', device]));
    return device;
  };

  test.runIf(existsSync('/dev/loop-control'))(
    'of its own a card is written, read back, looked at and edited',
    async () => {
      const device = loop(64e6);
      const { code, err, out } = await flash('--yes', '--hostname', 'pi1', image, device);
      expect([code, err, out]).toEqual([
        EXIT.ok,
        expect.stringContaining(`Everything on ${device} will be lost.`),
        expect.stringContaining(`take ${device} out`),
      ]);
      expect(bootFile(device, 'user-data')).toContain('hostname: pi1');
      const edited = await flash('--edit', '--hostname', 'pi2', device);
      expect([edited.code, edited.out]).toEqual([0, expect.stringContaining('hostname  pi2')]);
      expect(damageOf(device)).toBe('');
      // Its parts are known, and what is mounted is left alone until that is asked for.
      tool('partx', ['--update', device]);
      expect((await flash('--yes', image, `${device}p2`)).err).toContain(`An image covers the whole disk: ${device}.`);
      const mount = shop.path('mount');
      mkdirSync(mount);
      tool('mount', [`${device}p2`, mount]);
      undo.push(() => existsSync(join(mount, 'lost+found')) && tool('umount', [mount]));
      tool('cp', [image, mount]);
      const sameDisk = await flash('--yes', '--unmount', join(mount, 'pi-swarm-armhf.img.zst'), device);
      expect(sameDisk.err).toContain(`the image itself is on ${device} (${mount})`);
      const refused = await flash('--yes', image, device);
      expect([refused.code, refused.err]).toEqual([
        EXIT.refused,
        expect.stringContaining(`${device} is mounted: ${mount}`),
      ]);
      expect((await flash('--yes', '--unmount', image, device)).code).toBe(EXIT.ok);
      expect(existsSync(join(mount, 'lost+found'))).toBe(false);
    },
  );

  test.runIf(existsSync('/dev/loop-control'))('too small or read-only is refused', async () => {
    expect((await flash('--yes', image, loop(20e6))).err).toMatch(
      /is too small: it holds 20 MB, the image needs \d+ MB/,
    );
    expect((await flash('--yes', image, loop(64e6, '--read-only'))).err).toContain('is read-only');
  });

  test('the system’s own is refused, whatever is said', async () => {
    const system = tool('findmnt', ['-n', '-o', 'SOURCE', '/']).trim();
    if (!system.startsWith('/dev/')) return;
    const { code, err } = await flash('--yes', '--unmount', image, system);
    expect([code, err]).toEqual([
      EXIT.refused,
      expect.stringMatching(/is a disk of this computer|is only a part of a disk/),
    ]);
  });
});
