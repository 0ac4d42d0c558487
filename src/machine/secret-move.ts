/** The cluster secret comes on the boot partition, which every computer can read, and must not stay there. */
import { mkdir, open, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Notice } from '../core/snapshot.ts';
import { messageOf } from '../errors.ts';
import { readFileIfAny } from '../io/files.ts';
import { type ClusterSecret, parseSecret, readSecretFile, writeSecretFile } from '../io/secret.ts';

/** One line of 76 characters; more is no secret. */
const SIZE_MAX = 4096;

/**
 * Copies the secret, on the disk for good, and only then overwrites and removes it: a power cut in between leaves at least
 * one of the two. One that is damaged, or of another cluster than this Pi's, is left where it is and named.
 * @throws EnvironmentError or a file error when a file cannot be read or written
 */
export async function moveSecret(from: string, to: string, say: (text: string) => void): Promise<Notice[]> {
  const bytes = await readFileIfAny(from);
  if (bytes === undefined) return [];
  const own = await readSecretFile(to).catch(() => undefined);
  // Half overwritten: the copy was made before.
  if (own !== undefined && bytes.includes(0)) return done(from, say);
  const brought = secretIn(bytes);
  if (typeof brought === 'string') return [damaged(from, brought)];
  if (own !== undefined && !own.equals(brought)) return [foreign(from)];
  if (own === undefined) {
    await mkdir(dirname(to), { recursive: true });
    await writeSecretFile(to, brought);
    say(`the cluster secret is now in ${to}`);
  }
  return done(from, say);
}

/** Or why it is none, without quoting it. */
function secretIn(bytes: Buffer): ClusterSecret | string {
  if (bytes.length > SIZE_MAX) return `it has ${bytes.length} bytes, expected one line`;
  try {
    return parseSecret(bytes.toString('utf8').trim());
  } catch (error) {
    return messageOf(error);
  }
}

async function done(path: string, say: (text: string) => void): Promise<Notice[]> {
  const file = await open(path, 'r+');
  try {
    const { size } = await file.stat();
    await file.write(Buffer.alloc(Math.min(size, SIZE_MAX)), 0, Math.min(size, SIZE_MAX), 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await unlink(path);
  const folder = await open(dirname(path), 'r');
  // FAT has no fsync of folders on some kernels; the file's content is overwritten all the same.
  await folder.sync().catch(() => undefined);
  await folder.close();
  say(`${path} is overwritten and removed`);
  return [];
}

const damaged = (path: string, why: string): Notice => ({
  severity: 'error',
  kind: 'boot-secret',
  text: `The cluster secret in ${path} cannot be used: ${why}.`,
  cure: 'Write it onto the card anew: pi-swarm flash --edit. Or, on this Pi: sudo pi-swarm join TOKEN',
});

const foreign = (path: string): Notice => ({
  severity: 'error',
  kind: 'boot-secret',
  text: `The cluster secret in ${path} is that of another cluster; this Pi stays in its own.`,
  cure: `To move it there: sudo pi-swarm join --force - < ${path} (as root). Then, or to stay: sudo rm ${path}`,
});
