/** One lock per lab, held by the kernel for as long as this process lives: nothing stale is left after SIGKILL. */
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { RefusedError } from '../errors.ts';

const WAIT_SECONDS = 60;
/** Says the locked file's inode; lets go when our end of its stdin closes. */
const HOLDER = `exec 9>>"$1"; flock -w ${WAIT_SECONDS} 9 || exit 75; stat -L -c %i /proc/self/fd/9; exec cat >/dev/null`;

/** Runs `work` while holding `file`. `work` may remove the file (then it is the last). */
export async function withLock<T>(file: string, work: () => Promise<T>): Promise<T> {
  let release = await acquire(file);
  // Whoever held it before may have removed the file: then our lock is on a file that nobody else can see.
  while (release === undefined) release = await acquire(file);
  try {
    return await work();
  } finally {
    await release();
  }
}

async function acquire(file: string): Promise<(() => Promise<void>) | undefined> {
  mkdirSync(dirname(file), { recursive: true });
  const holder = spawn('sh', ['-c', HOLDER, 'sh', file], { stdio: ['pipe', 'pipe', 'ignore'], detached: true });
  const ended = new Promise<void>(resolve => holder.on('close', () => resolve()));
  const release = async () => {
    holder.stdin.end();
    await ended;
  };
  const inode = await new Promise<string>(resolve => {
    holder.stdout.once('data', (data: Buffer) => resolve(data.toString().trim()));
    holder.on('error', () => resolve(''));
    holder.on('close', () => resolve(''));
  });
  if (inode === '') {
    throw new RefusedError(
      `Another command is at work on this lab and did not finish within ${WAIT_SECONDS} s.`,
      `Wait for it or end it; the lock is ${file}.`,
    );
  }
  if (inode === inodeOf(file)) return release;
  await release();
  return undefined;
}

function inodeOf(file: string): string {
  return String(statSync(file, { throwIfNoEntry: false })?.ino);
}

/** Only while holding it. */
export function removeLock(file: string): void {
  rmSync(file, { force: true });
}
