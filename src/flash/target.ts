/** What is written to: a card, or a plain file that stands for one. */
import { constants, type Stats } from 'node:fs';
import { access, type FileHandle, open, realpath, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { EnvironmentError, NotFoundError, RefusedError } from '../errors.ts';
import { errnoOf, fileError } from '../io/files.ts';
import { checkDrive, type Drive, findDrives, programOutput } from './drives.ts';

export type Target =
  | { kind: 'drive'; path: string; drive: Drive }
  /** `sizeBytes` undefined: it will be made. */
  | { kind: 'file'; path: string; sizeBytes: number | undefined };

/** @throws NotFoundError, RefusedError a partition, a folder, a pipe, no such thing; EnvironmentError */
export async function targetAt(given: string): Promise<Target> {
  const path = await realpath(given).catch(() => resolve(given));
  const found = await stat(path).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw fileError(`cannot use ${given}`, error);
  });
  if (found === undefined) return newFile(given, path);
  if (found.isFile()) return { kind: 'file', path, sizeBytes: found.size };
  // macOS has every disk twice; /dev/rdisk is a character device.
  if (found.isBlockDevice() || /^\/dev\/r?disk\d/.test(path))
    return driveAt(path.replace(/^\/dev\/rdisk/, '/dev/disk'));
  const what = found.isDirectory() ? 'a folder' : found.isFIFO() ? 'a pipe' : 'neither a disk nor a file';
  throw new RefusedError(
    `${given} is ${what}: nothing can be flashed there`,
    'Give the device of a card, such as /dev/sdX, or the name of a file.',
  );
}

async function newFile(given: string, path: string): Promise<Target> {
  // A card that is gone must not become a file in memory that nobody finds.
  if (path.startsWith('/dev/') && !path.startsWith('/dev/shm/')) {
    throw new NotFoundError(`there is no ${given}`, 'Is the card inserted? `pi-swarm flash IMAGE` lists the cards.');
  }
  const folder = dirname(path);
  await access(folder).catch(() => {
    throw new NotFoundError(`there is no folder ${folder}`, 'Make it first.');
  });
  return { kind: 'file', path, sizeBytes: undefined };
}

async function driveAt(path: string): Promise<Target> {
  const { drives, diskOfPart } = await findDrives();
  const drive = drives.find(candidate => candidate.path === path);
  if (drive !== undefined) return { kind: 'drive', path, drive };
  const disk = diskOfPart.get(path);
  if (disk !== undefined) {
    throw new RefusedError(`${path} is only a part of a disk`, `An image covers the whole disk: ${disk}.`);
  }
  throw new RefusedError(`${path} is not a disk that an image can be written to`, 'Give a card, such as /dev/sdX.');
}

/** What `checkDrive` asks, and that the image is not overwritten, with itself or on its own disk. @throws RefusedError */
export async function checkTarget(
  target: Target,
  wanted: { neededBytes?: number; imagePath?: string; unmounts: boolean },
): Promise<void> {
  const { imagePath } = wanted;
  const image: Stats | undefined = imagePath === undefined ? undefined : await stat(imagePath);
  if (target.kind === 'drive') {
    for (const point of image === undefined ? [] : target.drive.mountPoints) {
      if ((await stat(point).catch(() => undefined))?.dev !== image?.dev) continue;
      throw new RefusedError(`the image itself is on ${target.path} (${point})`, 'Copy it to another disk first.');
    }
    return checkDrive(target.drive, wanted.neededBytes, wanted.unmounts);
  }
  if (image === undefined || target.sizeBytes === undefined) return;
  const there = await stat(target.path);
  if (image.ino === there.ino && image.dev === there.dev) {
    throw new RefusedError(`${target.path} is the image itself`, 'Give another file, or a card.');
  }
}

/** The device to write to: the raw one on macOS, which is many times faster and bypasses the cache. */
const deviceOf = (path: string): string =>
  process.platform === 'darwin' ? path.replace(/^\/dev\/disk/, '/dev/rdisk') : path;

/** For reading and writing; a drive exclusively, so that nothing mounts it meanwhile. @throws RefusedError, EnvironmentError */
export async function openTarget(target: Target, changesOnly = false): Promise<FileHandle> {
  try {
    if (target.kind === 'file') {
      // The cluster secret and the Wi-Fi password are in it.
      const flags = constants.O_RDWR | (changesOnly ? 0 : constants.O_CREAT);
      return await open(target.path, flags, 0o600);
    }
    return await open(deviceOf(target.path), constants.O_RDWR | (process.platform === 'linux' ? constants.O_EXCL : 0));
  } catch (error) {
    throw openError(target.path, error);
  }
}

function openError(path: string, error: unknown): Error {
  const errno = errnoOf(error);
  if (errno === 'EACCES' || errno === 'EPERM') {
    const cure = process.getuid?.() === 0 ? 'Look at its permissions.' : 'Run the same command with sudo.';
    return new EnvironmentError(`you may not write ${path}`, cure, { cause: error });
  }
  if (errno === 'EBUSY') {
    return new RefusedError(
      `${path} is in use by another program`,
      'Close that first: a file manager, a virtual machine, RAID.',
    );
  }
  if (errno === 'ENOMEDIUM') return new RefusedError(`there is no card in ${path}`, 'Insert one.');
  if (errno === 'EROFS') return new RefusedError(`${path} is read-only`, 'Move the slider on the card away from LOCK.');
  return fileError(`cannot open ${path}`, error);
}

/** So that reading back asks the card, not this computer's memory. Best effort: without it the check is only weaker. */
export async function dropCache(path: string): Promise<void> {
  // The raw device of macOS has no cache.
  if (process.platform !== 'linux') return;
  await programOutput('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']).catch(() => undefined);
}
