/** A card as a whole: flashed anew, or with other settings. */
import type { FileHandle } from 'node:fs/promises';
import { isPiSwarmError, RefusedError } from '../errors.ts';
import { diskOf, readFully, SECTOR_BYTES } from './disk.ts';
import { Fat32 } from './fat32.ts';
import { type Image, type ImageAbout, readAbout } from './image.ts';
import { checkedBootPartition, isNotComplete, type Partition } from './mbr.ts';
import type { Progress } from './progress.ts';
import { bootFilesFor, type CardSettings, readSettings, type ShownSettings } from './settings.ts';
import { dropCache, openTarget, type Target } from './target.ts';
import { flush, verifyBody, writeBody, writeError, writeHead } from './write.ts';

export interface FlashOptions {
  image: Image;
  target: Target;
  settings: CardSettings;
  verify: boolean;
  signal: AbortSignal;
  /** A step begins; its progress. */
  progress(title: string, totalBytes: number): Progress;
}

/** Interrupted at any place it leaves a card that does not boot. @returns what is on the card now */
export async function flashCard(options: FlashOptions): Promise<ShownSettings> {
  const { image, target, settings, signal } = options;
  const file = await openTarget(target);
  try {
    const writing = options.progress('Writing', image.sizeBytes);
    const written = await watched(writing, () =>
      writeBody(image, target, file, { signal, onBytes: bytes => writing.at(bytes) }),
    );
    writing.done(image.sizeBytes, 'Written');
    if (options.verify) {
      const checking = options.progress('Checking', image.sizeBytes);
      await watched(checking, () =>
        verifyBody(target, file, image, written, { signal, onBytes: bytes => checking.at(bytes) }),
      );
      checking.done(image.sizeBytes, 'Read back and the same');
    }
    signal.throwIfAborted();
    const shown = await writeSettings(target, file, image.boot, settings, true);
    signal.throwIfAborted();
    await writeHead(target, file, written.head);
    return shown;
  } finally {
    await file.close();
  }
}

async function watched<T>(progress: Progress, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    progress.clear();
    throw error;
  }
}

export interface EditedCard {
  about: ImageAbout;
  /** Paths on the boot partition; empty when nothing was asked for. */
  changed: string[];
  shown: ShownSettings;
}

/** Changes settings, or only says what they are. @throws RefusedError not a card of pi-swarm, or not complete */
export async function editCard(target: Target, settings: CardSettings | undefined): Promise<EditedCard> {
  const file = await openTarget(target, true);
  try {
    const boot = await bootPartitionOn(target, file);
    const about = await readAbout(target.path, diskOf(file, boot.startBytes));
    const before = await Fat32.open(diskOf(file, boot.startBytes));
    if (settings === undefined) return { about, changed: [], shown: await readSettings(before) };
    const changed = [...(await bootFilesFor(before, settings, false)).keys()];
    return { about, changed, shown: await writeSettings(target, file, boot, settings, false) };
  } finally {
    await file.close();
  }
}

async function bootPartitionOn(target: Target, file: FileHandle): Promise<Partition> {
  const sector = Buffer.alloc(SECTOR_BYTES);
  const sizeBytes = target.kind === 'drive' ? target.drive.sizeBytes : (target.sizeBytes ?? 0);
  if (sizeBytes >= SECTOR_BYTES) await readFully(file, sector, 0);
  if (isNotComplete(sector)) {
    throw new RefusedError(
      `${target.path} is not complete: flashing was interrupted`,
      'Flash it again, with the same words as before.',
    );
  }
  return checkedBootPartition(target.path, sector, sizeBytes);
}

/** Writes the files, and reads them back from the card. */
async function writeSettings(
  target: Target,
  file: FileHandle,
  boot: Partition,
  settings: CardSettings,
  fresh: boolean,
): Promise<ShownSettings> {
  const disk = diskOf(file, boot.startBytes);
  const fat = await Fat32.open(disk);
  const files = await bootFilesFor(fat, settings, fresh);
  try {
    for (const [path, data] of files) await fat.write(path, data, new Date());
  } catch (error) {
    throw isPiSwarmError(error) ? error : writeError(target, boot.startBytes, error);
  }
  await flush(target, file, boot.startBytes);
  await dropCache(target.path);
  const again = await Fat32.open(disk);
  for (const [path, data] of files) {
    const back = await again.read(path);
    if (back === undefined || !back.equals(data))
      throw writeError(target, boot.startBytes, new Error(`${path} reads differently`));
  }
  return readSettings(again);
}
