/** All that is in a folder. */
import type { Stats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Each entry by its path from `root` (`''`: itself), a folder after what is in it. Links are not followed. */
export async function* walk(root: string, path = ''): AsyncGenerator<{ path: string; found: Stats }> {
  const found = await lstat(join(root, path));
  if (found.isDirectory()) for (const name of await readdir(join(root, path))) yield* walk(root, join(path, name));
  yield { path, found };
}
