/** Images: every packing, what is cut off or damaged, and which board they are for. */
import { readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { expectedSha256, sha256Of } from '../../src/flash/checksum.ts';
import { checkBoard, type Image, inspectImage } from '../../src/flash/image.ts';
import { packingOf, unpacked } from '../../src/flash/unpack.ts';
import { IMAGE_INFO, tool, Workshop } from './card.ts';

// Images of 40 MB, beside other tests.
vi.setConfig({ testTimeout: 60_000 });

let shop: Workshop;
let raw: string;
const packed: Record<string, string> = {};

beforeAll(() => {
  shop = new Workshop();
  raw = shop.image();
  packed['zst'] = `${raw}.zst`;
  packed['xz'] = `${raw}.xz`;
  packed['gz'] = `${raw}.gz`;
  packed['zip'] = shop.path('[new] image.zip');
  tool('zstd', ['-q', raw, '-o', packed['zst']]);
  tool('xz', ['-0', '-k', raw]);
  tool('gzip', ['-1', '-k', raw]);
  shop.write('README.txt', 'read me');
  tool('sh', ['-c', 'cd "$1" && zip -q "$2" README.txt pi-swarm-armhf.img', 'sh', shop.folder, packed['zip']]);
});
afterAll(() => shop.remove());

describe.each(['zst', 'xz', 'gz', 'zip'])('an image as .%s', packing => {
  const path = () => packed[packing] ?? '';

  test('is the same as the plain one', async () => {
    expect(await packingOf(path())).toBe(packing);
    const pieces: Buffer[] = [];
    for await (const piece of unpacked(path(), await packingOf(path()))) pieces.push(piece);
    expect(Buffer.concat(pieces).equals(readFileSync(raw))).toBe(true);
  });

  test('tells its size, its boards and where its boot partition is, before it is written', async () => {
    const image = await inspectImage(path());
    const { builtAt: _, ...about } = IMAGE_INFO;
    expect(image.about).toEqual(about);
    expect([image.sizeBytes, image.boot.startBytes]).toEqual([statSync(raw).size, 4 * 1024 * 1024]);
  });

  test('that is cut off is refused', async () => {
    const whole = readFileSync(path());
    const cut = shop.write(`cut.img.${packing}`, whole.subarray(0, Math.floor(whole.length * 0.8)));
    await expect(inspectImage(cut)).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringMatching(new RegExp(`^cut.img.${packing} is cut off or damaged: it cannot be unpacked`)),
      cure: expect.stringContaining('nothing was written'),
    });
  });
});

describe('an image', () => {
  test('that ends before its partitions do is cut off', async () => {
    const cut = shop.write('cut.img', readFileSync(raw).subarray(0, 30e6 - (30e6 % 512)));
    await expect(inspectImage(cut)).rejects.toThrow(
      /^cut.img is cut off: it holds \d+ bytes, and its partitions end at \d+$/,
    );
  });

  test('that is damaged inside its packing is refused', async () => {
    const bytes = readFileSync(packed['xz'] ?? '');
    bytes.fill(0x55, 2000, 2100);
    await expect(inspectImage(shop.write('bad.img.xz', bytes))).rejects.toThrow(/cut off or damaged/);
  });

  test('of somebody else is refused, with what to do instead', async () => {
    const other = shop.image('raspios.img', { 'config.txt': 'x' });
    await expect(inspectImage(other)).rejects.toMatchObject({ cure: expect.stringContaining('Raspberry Pi Imager') });
    await expect(inspectImage(shop.write('text.img', 'no image at all'))).rejects.toThrow(/no partition table/);
    await expect(inspectImage(shop.path('none.img'))).rejects.toMatchObject({ code: 'notFound' });
    await expect(inspectImage(shop.folder)).rejects.toThrow(/is not a file/);
  });

  test('names the program that is missing, and how to get it', async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = shop.folder;
    try {
      await expect(inspectImage(packed['xz'] ?? '')).rejects.toMatchObject({
        code: 'environment',
        message: expect.stringContaining('missing: xz'),
        cure: 'Debian, Ubuntu: sudo apt install xz-utils; macOS: brew install xz',
      });
    } finally {
      process.env['PATH'] = path;
    }
  });
});

describe('the board', () => {
  const image = (boards: string[], architecture = 'armhf') =>
    ({ name: 'x.img', about: { name: 'x', version: '1', architecture, boards } }) as Image;
  const armhf = image(['Pi 2', 'Pi 3', 'Pi 3+', 'CM3']);
  const arm64 = image(['Pi 3', 'Pi 3+', 'Pi 4', 'Pi 400', 'CM3', 'CM4', 'Zero 2 W'], 'arm64');

  test.each(['pi2', 'Pi 3', 'pi3b+', 'pi3+', 'CM3', 'raspberry pi 3'])('%s runs the armhf image', board => {
    expect(() => checkBoard(armhf, board)).not.toThrow();
  });

  test.each(['pi3', 'pi4', 'Pi 4 B', 'pi400', 'cm4', 'zero2', 'zero2w', 'Pi Zero 2 W'])(
    '%s runs the arm64 image',
    board => {
      expect(() => checkBoard(arm64, board)).not.toThrow();
    },
  );

  test('of another architecture is refused, with the image to take', () => {
    expect(() => checkBoard(armhf, 'pi4')).toThrow(
      'x.img (armhf) does not start on a pi4; it is for Pi 2, Pi 3, Pi 3+, CM3',
    );
    expect(() => checkBoard(arm64, 'pi2')).toThrow(expect.objectContaining({ cure: 'Take pi-swarm-armhf.img.zst.' }));
  });

  test('without any image is told what to do; a misspelt one what was meant', () => {
    expect(() => checkBoard(arm64, 'pi5')).toThrow(expect.objectContaining({ cure: expect.stringContaining('.deb') }));
    expect(() => checkBoard(arm64, 'zero')).toThrow(
      expect.objectContaining({ cure: expect.stringContaining('ARMv7') }),
    );
    expect(() => checkBoard(arm64, 'px4')).toThrow('there is no board px4; did you mean pi4?');
  });
});

describe('the checksum', () => {
  test('stands beside the image, alone or among others, or is given', async () => {
    const sum = await sha256Of(raw);
    expect(`${sum}  ${raw}\n`).toBe(tool('sha256sum', [raw]));
    expect(await expectedSha256(raw, undefined)).toBeUndefined();
    shop.write('pi-swarm-armhf.img.sha256', `${'0'.repeat(64)} *other.img\n${sum} *pi-swarm-armhf.img\n`);
    expect(await expectedSha256(raw, undefined)).toBe(sum);
    expect(await expectedSha256(raw, sum.toUpperCase())).toBe(sum);
    expect(await expectedSha256(raw, shop.write('sum', sum))).toBe(sum);
  });

  test('that is none says what is wrong with it', async () => {
    await expect(expectedSha256(raw, 'abc123')).rejects.toThrow('--sha256 has 6 digits, where 64 belong');
    await expect(expectedSha256(raw, '/no/such/file')).rejects.toThrow('there is no file /no/such/file');
    await expect(expectedSha256(raw, shop.write('odd', 'hello\n'))).rejects.toThrow(
      /holds no SHA-256 checksum of pi-swarm-armhf/,
    );
    const two = shop.write('two', `${'0'.repeat(64)}  a\n${'1'.repeat(64)}  b\n`);
    await expect(expectedSha256(raw, two)).rejects.toThrow(/holds no SHA-256 checksum/);
  });
});
