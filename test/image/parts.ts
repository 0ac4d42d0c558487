/** The finished image, taken apart without mounting anything: what is on the card, and nothing else, is what is tested. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootNames } from '../../image/check.ts';
import { rootOffset } from '../../image/disk.ts';
import { DISK } from '../../image/recipe.ts';
import { commandOk } from '../../src/lab/process.ts';
import { ARCHITECTURE } from './machines.ts';

const project = join(import.meta.dirname, '..', '..');
export const compressed = `${process.env['PI_SWARM_IMAGE_DIR'] || `${project}/dist`}/pi-swarm-${ARCHITECTURE}.img.zst`;
const MINUTES_MS = 60_000;
export const bootOffset = DISK.boot.startSector * DISK.sectorBytes;

/** On a disk with room for some gigabytes. */
export const workDirectory = (): string => mkdtempSync(join(tmpdir(), 'pi-swarm-image-'));
export const remove = (directory: string): void => rmSync(directory, { recursive: true, force: true });

export async function unpack(directory: string): Promise<string> {
  if (!existsSync(compressed)) throw new Error(`there is no ${compressed}: npm run image -- --arch ${ARCHITECTURE}`);
  const image = `${directory}/card.img`;
  await commandOk(['zstd', '-dqf', '--sparse', compressed, '-o', image], { timeoutMs: 20 * MINUTES_MS });
  return image;
}

export async function bootPartition(image: string, directory: string): Promise<string> {
  const boot = `${directory}/boot`;
  mkdirSync(boot, { recursive: true });
  await commandOk(['mcopy', '-sQnm', '-i', `${image}@@${bootOffset}`, '::*', boot], { timeoutMs: 10 * MINUTES_MS });
  return boot;
}

export async function rootPartition(image: string, directory: string): Promise<string> {
  const root = `${directory}/root`;
  mkdirSync(root, { recursive: true });
  const words = ['-R', `rdump / ${root}`, `${image}?offset=${rootOffset}`] as const;
  await commandOk(['debugfs', ...words], { timeoutMs: 20 * MINUTES_MS });
  return root;
}

/** As the firmware does it: config.txt names kernel and initrd, cmdline.txt is one line. */
export function firmwareOf(boot: string) {
  const { kernel, initrd } = bootNames(readFileSync(`${boot}/config.txt`, 'utf8'));
  const commandLine = readFileSync(`${boot}/cmdline.txt`, 'utf8').trim();
  return { kernel: `${boot}/${kernel}`, initrd: `${boot}/${initrd}`, commandLine, directory: boot };
}
