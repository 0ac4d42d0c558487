/** ssh host keys, of this card alone. Each is made beside its place and moved there whole: an empty one would keep sshd from starting. */
import { execFile } from 'node:child_process';
import { mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { promisify } from 'node:util';

const KINDS = ['ed25519', 'ecdsa'] as const;
const LIMIT_MS = 60_000;
const UNFINISHED = '.unfinished';

/** @returns the paths of those that were missing or empty, and are made now */
export async function makeHostKeys(directory: string): Promise<string[]> {
  await mkdir(directory, { recursive: true });
  for (const name of await readdir(directory)) if (name.includes(UNFINISHED)) await unlink(`${directory}/${name}`);
  const made: string[] = [];
  for (const kind of KINDS) {
    const path = `${directory}/ssh_host_${kind}_key`;
    if ((await sizeOf(path)) > 0 && (await sizeOf(`${path}.pub`)) > 0) continue;
    const unfinished = `${path}${UNFINISHED}`;
    const words = ['-q', '-t', kind, '-N', '', '-C', 'root@pi-swarm', '-f', unfinished];
    await promisify(execFile)('ssh-keygen', words, { timeout: LIMIT_MS });
    // The private one last: with it the pair counts as there.
    for (const suffix of ['.pub', '']) {
      const file = await open(`${unfinished}${suffix}`, 'r');
      await file.sync().finally(() => file.close());
      await rename(`${unfinished}${suffix}`, `${path}${suffix}`);
    }
    made.push(path);
  }
  if (made.length > 0) {
    const folder = await open(directory, 'r');
    await folder.sync().finally(() => folder.close());
  }
  return made;
}

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );
