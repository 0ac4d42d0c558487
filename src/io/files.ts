/** Files that losing power between any two lines cannot tear. */
import { chmod, mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { EnvironmentError } from '../errors.ts';

/** What to do about the file system's usual complaints (errno names as Node gives them). */
const CURES: Record<string, string> = {
  ENOSPC: 'Free some space (`df -h`, `docker system prune`), then try again. What was there before is untouched.',
  EDQUOT: 'The disk quota is used up: free some space. What was there before is untouched.',
  EROFS: 'The file system is read-only, often the sign of a dying SD card: look at `dmesg`, then replace the card.',
  EIO: 'The disk cannot be read or written, often the sign of a dying SD card: look at `dmesg`, then replace the card.',
  EACCES: 'Run it as root.',
  EPERM: 'Run it as root.',
  ENOTDIR: 'A part of this path is a file where a directory belongs: move it away.',
  EISDIR: 'There is a directory where a file belongs: move it away.',
};

export const errnoOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';

/** Turns an error of the file system into one for people. `doing`: e.g. `cannot write /var/lib/pi-swarm/state.json`. */
export function fileError(doing: string, error: unknown): EnvironmentError {
  const errno = errnoOf(error);
  const why = errno === 'ENOSPC' ? 'the disk is full' : error instanceof Error ? error.message : String(error);
  return new EnvironmentError(`${doing}: ${why}`, CURES[errno], { cause: error });
}

/** What pi-swarm keeps in its state directory; temporary and damaged ones have more after it. */
const OURS = /^(node\.key|state\.json|clock)/;

/**
 * Makes the directory (and its parents) and closes it to everyone but its owner. An open one that others use, too, is
 * left as it is: `stateDir: /` would otherwise lock everybody out of the machine.
 * @throws EnvironmentError
 */
export async function ensurePrivateDirectory(path: string): Promise<void> {
  let shared = false;
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const isOpen = ((await stat(path)).mode & 0o077) !== 0;
    shared = isOpen && (await readdir(path)).some(name => !OURS.test(name));
    if (isOpen && !shared) await chmod(path, 0o700);
  } catch (error) {
    throw fileError(`cannot make the directory ${path}`, error);
  }
  if (shared) {
    throw new EnvironmentError(
      `${path} is open to others and holds files that are not pi-swarm's: secrets cannot be kept there`,
      'Give pi-swarm a directory of its own: stateDir in the configuration.',
    );
  }
}

/** The file's bytes, or undefined where there is none. @throws EnvironmentError when it cannot be read. */
export async function readFileIfAny(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw fileError(`cannot read ${path}`, error);
  }
}

/** Writes to one path wait for each other: they share a temporary name. */
const turns = new Map<string, Promise<void>>();

/**
 * Replaces the file with `data`: whoever reads it sees the old content or the new one, also after a power cut.
 * Write, fsync, rename, fsync of the directory. `mode` is exact, whatever the umask. The directory must exist.
 * @throws EnvironmentError with the old file untouched and no temporary file left.
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o600): Promise<void> {
  const before = turns.get(path) ?? Promise.resolve();
  const mine = before.catch(() => undefined).then(() => replace(path, data, mode));
  turns.set(path, mine);
  try {
    await mine;
  } catch (error) {
    throw fileError(`cannot write ${path}`, error);
  } finally {
    if (turns.get(path) === mine) turns.delete(path);
  }
}

async function replace(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  await removeLeftovers(path);
  const temporary = `${path}.tmp-${process.pid}`;
  // What a process of the same number left; and never through a link that somebody laid there.
  await unlink(temporary).catch(() => undefined);
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.chmod(mode);
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** Without it the rename itself may be lost in a power cut. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Temporary files of processes that lost power half-way; those of living ones are theirs. */
async function removeLeftovers(path: string): Promise<void> {
  const prefix = `${basename(path)}.tmp-`;
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(prefix) || isAlive(Number(name.slice(prefix.length)))) continue;
    await unlink(join(dirname(path), name)).catch(() => undefined);
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}
