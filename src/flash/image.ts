/** Which image is it, for which boards, and is it whole? Asked before a single byte is written. */
import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { nearest } from '../config-yaml.ts';
import { NotFoundError, RefusedError } from '../errors.ts';
import { errnoOf, fileError } from '../io/files.ts';
import { type Disk, diskOf, readFully, SECTOR_BYTES, writeFully } from './disk.ts';
import { Fat32 } from './fat32.ts';
import { checkedBootPartition, HEAD_BYTES, type Partition } from './mbr.ts';
import { BOOT_FILE } from './settings.ts';
import { type Packing, packingOf, unpacked } from './unpack.ts';

/** `pi-swarm-image.json` on the boot partition. */
export interface ImageAbout {
  name: string;
  version: string;
  /** `armhf` or `arm64`. */
  architecture: string;
  /** Such as `pi2`, `pi3`, `pi4`, `zero2`. */
  boards: string[];
}

export interface Image {
  path: string;
  /** What the file is called. */
  name: string;
  packing: Packing;
  /** Unpacked: what the card has to hold. */
  sizeBytes: number;
  boot: Partition;
  about: ImageAbout;
}

export interface Watch {
  signal?: AbortSignal;
  /** Bytes done so far. */
  onBytes?: (bytes: number) => void;
}

/**
 * Reads the whole image once (a packed one only says its size, and whether it is whole, at its end).
 * @throws NotFoundError, RefusedError not ours, cut off, damaged; EnvironmentError
 */
export async function inspectImage(path: string, watch: Watch = {}): Promise<Image> {
  const found = await stat(path).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT')
      throw new NotFoundError(`there is no image ${path}`, 'Give the path of a file, or a URL.');
    throw fileError(`cannot read ${path}`, error);
  });
  if (!found.isFile()) throw new RefusedError(`${path} is not a file`, 'Give the path of an image, or a URL.');
  const packing = await packingOf(path);
  const name = basename(path);
  const looked = packing === 'raw' ? await lookInto(path, found.size) : await lookThrough(path, packing, watch);
  if (looked.sizeBytes % SECTOR_BYTES !== 0) {
    throw new RefusedError(
      `${name} is cut off: its size is no multiple of ${SECTOR_BYTES} bytes`,
      'Download it again.',
    );
  }
  return { path, name, packing, ...looked };
}

type Looked = Pick<Image, 'sizeBytes' | 'boot' | 'about'>;

async function lookInto(path: string, sizeBytes: number): Promise<Looked> {
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(SECTOR_BYTES);
    if (sizeBytes >= SECTOR_BYTES) await readFully(file, head, 0);
    const boot = checkedBootPartition(basename(path), head, sizeBytes);
    return { sizeBytes, boot, about: await readAbout(basename(path), diskOf(file, boot.startBytes)) };
  } finally {
    await file.close();
  }
}

/** Unpacks all of it, and keeps only the boot partition, in a temporary file (most of it is holes). */
async function lookThrough(path: string, packing: Packing, { signal, onBytes }: Watch): Promise<Looked> {
  const folder = await mkdtemp(join(tmpdir(), 'pi-swarm-flash-'));
  const file = await open(join(folder, 'boot'), 'w+', 0o600);
  try {
    const name = basename(path);
    let head = Buffer.alloc(0);
    let boot: Partition | undefined;
    let at = 0;
    for await (const piece of unpacked(path, packing, signal)) {
      if (head.length < HEAD_BYTES) head = Buffer.concat([head, piece.subarray(0, HEAD_BYTES - head.length)]);
      // How long it is, is not known yet.
      boot ??= head.length < HEAD_BYTES ? undefined : checkedBootPartition(name, head, Number.POSITIVE_INFINITY);
      if (boot !== undefined) await keep(piece, at, boot, file);
      at += piece.length;
      onBytes?.(at);
    }
    boot = checkedBootPartition(name, head, at);
    await file.truncate(boot.sizeBytes);
    return { sizeBytes: at, boot, about: await readAbout(name, diskOf(file)) };
  } finally {
    await file.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function keep(piece: Buffer, at: number, boot: Partition, file: Awaited<ReturnType<typeof open>>): Promise<void> {
  const from = Math.max(at, boot.startBytes);
  const to = Math.min(at + piece.length, boot.startBytes + boot.sizeBytes);
  if (from >= to) return;
  const part = piece.subarray(from - at, to - at);
  if (isZero(part)) return;
  await writeFully(file, part, from - boot.startBytes).catch((error: unknown) => {
    throw fileError(`cannot look into the image in ${tmpdir()}`, error);
  });
}

const ZEROS = Buffer.alloc(64 * 1024);

/** Whether it may be a hole of a file. */
export function isZero(data: Uint8Array): boolean {
  for (let at = 0; at < data.length; at += ZEROS.length) {
    const length = Math.min(ZEROS.length, data.length - at);
    if (ZEROS.compare(data, at, at + length, 0, length) !== 0) return false;
  }
  return true;
}

/** What the image says of itself. @throws RefusedError when it says nothing: it is not ours */
export async function readAbout(name: string, boot: Disk): Promise<ImageAbout> {
  const text = await (await Fat32.open(boot)).read(BOOT_FILE.image);
  const about = text === undefined ? undefined : parseAbout(text.toString('utf8'));
  if (about !== undefined) return about;
  throw new RefusedError(
    `${name} is not pi-swarm's: its boot partition has no ${BOOT_FILE.image}${text === undefined ? '' : ' that can be read'}`,
    'Other images: write them with Raspberry Pi Imager or dd, and install the .deb of pi-swarm on them.',
  );
}

function parseAbout(text: string): ImageAbout | undefined {
  try {
    const { name, version, architecture, boards } = JSON.parse(text) as Record<string, unknown>;
    const known = [name, version, architecture].every(value => typeof value === 'string');
    if (!known || !Array.isArray(boards) || !boards.every(board => typeof board === 'string')) return undefined;
    return { name, version, architecture, boards } as ImageAbout;
  } catch {
    return undefined;
  }
}

/** The boards there are an image for, so that «does not run on» and «no such board» are told apart. */
const BOARDS: Record<string, string> = {
  pi2: 'pi-swarm-armhf.img.zst',
  pi3: 'pi-swarm-armhf.img.zst or pi-swarm-arm64.img.zst',
  cm3: 'pi-swarm-armhf.img.zst or pi-swarm-arm64.img.zst',
  pi4: 'pi-swarm-arm64.img.zst',
  pi400: 'pi-swarm-arm64.img.zst',
  cm4: 'pi-swarm-arm64.img.zst',
  zero2: 'pi-swarm-arm64.img.zst',
};

const NO_IMAGE: Record<string, string> = {
  pi5: 'Put Raspberry Pi OS Lite on its card, and install the .deb of pi-swarm there.',
  cm5: 'Put Raspberry Pi OS Lite on its card, and install the .deb of pi-swarm there.',
  pi1: 'Docker and pi-swarm need an ARMv7 processor: a Pi 2 or newer.',
  zero: 'Docker and pi-swarm need an ARMv7 processor: a Zero 2 or a Pi 2 or newer.',
};

/** `Pi 3+`, `pi3b+` and `pi3` are one board to us, as `Zero 2 W` and `zero2` are. */
const plainBoard = (text: string): string =>
  text
    .toLowerCase()
    .replace(/^raspberry/, '')
    .replace(/[^a-z0-9]/g, '')
    .replace(/^pi(?=zero|cm)/, '')
    .replace(/^(pi[1-5]|zero2?|cm[345])(?:[abw]|plus)+$/, '$1');

/** @throws RefusedError when the image does not start on this board, or there is no such board */
export function checkBoard({ name, about }: Image, wanted: string): void {
  const board = plainBoard(wanted);
  if (about.boards.map(plainBoard).includes(board)) return;
  const cure = BOARDS[board] !== undefined ? `Take ${BOARDS[board]}.` : NO_IMAGE[board];
  if (cure !== undefined) {
    throw new RefusedError(
      `${name} (${about.architecture}) does not start on a ${board}; it is for ${about.boards.join(', ')}`,
      cure,
    );
  }
  const names = [...Object.keys(BOARDS), ...Object.keys(NO_IMAGE)];
  const hint = nearest(board, names);
  throw new RefusedError(
    `there is no board ${wanted}${hint === undefined ? '' : `; did you mean ${hint}?`}`,
    `Boards: ${names.join(', ')}.`,
  );
}
