/** The drives of this computer, and which of them may be written. Linux and macOS say the same in different words. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { EnvironmentError, messageOf, RefusedError } from '../errors.ts';
import { errnoOf } from '../io/files.ts';
import { linuxDrives } from './drives-linux.ts';
import { macDrives } from './drives-macos.ts';

export interface DrivePart {
  path: string;
  sizeBytes: number;
  /** Both may be empty. */
  label: string;
  fileSystem: string;
  mountPoints: string[];
}

/** A whole disk. */
export interface Drive {
  path: string;
  /** Vendor and model, as it calls itself; may be empty. */
  model: string;
  /** 0: an empty card reader. */
  sizeBytes: number;
  /** A card or USB stick; not a disk that is built in. */
  removable: boolean;
  readOnly: boolean;
  /** Made by software from a file or other disks (a loop device). */
  virtual: boolean;
  /** What of the running system is on it: `/`, `swap` …; empty for any other disk. */
  systemUses: string[];
  mountPoints: string[];
  parts: DrivePart[];
}

export interface FoundDrives {
  drives: Drive[];
  /** The disk that a partition belongs to, by the partition's path. */
  diskOfPart: Map<string, string>;
}

const run = promisify(execFile);
const PROGRAM_LIMIT_MS = 30_000;

/** Output of a small program of the system. @throws EnvironmentError */
export async function programOutput(program: string, args: readonly string[]): Promise<string> {
  try {
    const env = { ...process.env, LC_ALL: 'C' };
    return (await run(program, args, { timeout: PROGRAM_LIMIT_MS, maxBuffer: 16 * 1024 * 1024, env })).stdout;
  } catch (error) {
    const missing = errnoOf(error) === 'ENOENT';
    const stderr = String((error as { stderr?: unknown }).stderr ?? '').trim();
    throw new EnvironmentError(
      missing ? `the program ${program} is missing` : `${program} failed: ${stderr || messageOf(error)}`,
      missing ? 'On Debian and Ubuntu it is in util-linux.' : undefined,
      { cause: error },
    );
  }
}

/** @throws EnvironmentError on other systems, or when the system does not tell */
export async function findDrives(): Promise<FoundDrives> {
  if (process.platform === 'linux') return linuxDrives(programOutput);
  if (process.platform === 'darwin') return macDrives(programOutput);
  throw new EnvironmentError(
    `flash cannot find drives on ${process.platform}`,
    'Flash into a file (pi-swarm flash IMAGE card.img), and write that with Raspberry Pi Imager.',
  );
}

/** Cards and sticks only: nobody picks the wrong disk from a list that does not show it. */
export const cardsAmong = ({ drives }: FoundDrives): Drive[] =>
  drives.filter(drive => drive.removable && drive.sizeBytes > 0 && drive.systemUses.length === 0);

/**
 * Whether this drive may be written at all, now.
 * @param neededBytes undefined: nothing new is written, only settings change
 * @throws RefusedError
 */
export function checkDrive(drive: Drive, neededBytes: number | undefined, unmounts: boolean): void {
  const { path, systemUses, mountPoints, sizeBytes } = drive;
  if (systemUses.length > 0) {
    throw new RefusedError(
      `${path} is a disk of this computer: ${listed(systemUses)} ${systemUses.length === 1 ? 'is' : 'are'} on it`,
      'Choose a card: `pi-swarm flash IMAGE` without a device lists them.',
    );
  }
  if (sizeBytes === 0) throw new RefusedError(`there is no card in ${path}`, 'Insert one.');
  if (drive.readOnly) {
    throw new RefusedError(
      `${path} is read-only`,
      'SD cards and adapters have a small slider on their side: move it away from LOCK. Or the card is worn out.',
    );
  }
  if (neededBytes !== undefined && sizeBytes < neededBytes) {
    throw new RefusedError(
      `${path} is too small: it holds ${sizeText(sizeBytes)}, the image needs ${sizeText(neededBytes)}`,
      'Take a larger card.',
    );
  }
  if (mountPoints.length > 0 && !unmounts) {
    throw new RefusedError(
      `${path} is mounted: ${listed(mountPoints)}`,
      `Close what uses it, then add --unmount; or by hand: ${unmountLine(drive)}`,
    );
  }
}

const listed = (items: readonly string[]): string =>
  items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`;

const unmountLine = ({ path, mountPoints }: Drive): string =>
  process.platform === 'darwin'
    ? `diskutil unmountDisk ${path}`
    : mountPoints.map(point => `umount ${quoted(point)}`).join('; ');

const quoted = (text: string): string => (/^[\w./@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** @throws RefusedError when something still uses it */
export async function unmountDrive(drive: Drive): Promise<void> {
  try {
    if (process.platform === 'darwin') await programOutput('diskutil', ['unmountDisk', drive.path]);
    // The innermost first.
    else
      for (const point of [...drive.mountPoints].sort((a, b) => b.length - a.length))
        await programOutput('umount', [point]);
  } catch (error) {
    throw new RefusedError(
      `${drive.path} could not be unmounted: ${messageOf(error)}`,
      'Close the programs that use files on it; on Linux `sudo fuser -vm MOUNTPOINT` names them.',
    );
  }
}

/** Decimal, as on the card's label: `31.9 GB`. */
export function sizeText(bytes: number): string {
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  if (bytes < 1e9) return `${Math.round(bytes / 1e6)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
