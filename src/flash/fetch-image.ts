/** The image as a file of this computer, with the checksum that it has to have. */

import { rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { RefusedError, UsageError } from '../errors.ts';
import { checkSha256, expectedSha256, isUrl, sha256Of } from './checksum.ts';
import { cacheHome, makeFolder, type Person } from './clusters.ts';
import { download } from './download.ts';
import { Progress } from './progress.ts';

interface FetchOptions {
  /** `--sha256`. */
  sha256: string | undefined;
  person: Person;
  signal: AbortSignal;
  note(text: string): void;
}

/** @returns the path of a file whose checksum is right; one without any is only named. @throws as download, expectedSha256 */
export async function imageFile(given: string, options: FetchOptions): Promise<string> {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(given) && !isUrl(given)) {
    throw new UsageError(`${given} cannot be downloaded`, 'Give an https:// URL, or the path of a file.');
  }
  const expected = await expectedSha256(given, options.sha256, options.signal);
  if (isUrl(given)) return downloaded(given, expected, options);
  // An image that is not there has a better message than one about its checksum.
  if ((await stat(given).catch(() => undefined)) === undefined) return given;
  if (expected === undefined) {
    options.note(
      `! There is no ${basename(given)}.sha256 beside the image: whether it is the right one is not checked.`,
    );
    return given;
  }
  await checkFile(given, expected, options.signal);
  return given;
}

async function checkFile(path: string, expected: string, signal: AbortSignal): Promise<void> {
  const progress = new Progress('Checksum', (await stat(path)).size);
  const found = await sha256Of(path, { signal, onBytes: bytes => progress.at(bytes) }).finally(() => progress.clear());
  checkSha256(basename(path), found, expected);
}

/** Kept in the cache, so that the next card needs no download. */
async function downloaded(url: string, expected: string | undefined, options: FetchOptions): Promise<string> {
  // `expectedSha256` throws for a URL without one.
  if (expected === undefined) throw new RefusedError(`${url} has no checksum`, 'Give one: --sha256 HEX.');
  const { person, signal, note } = options;
  const folder = join(cacheHome(person), 'pi-swarm', 'images');
  await makeFolder(person, folder, 0o755);
  const name = basename(new URL(url).pathname).replace(/[^\w.-]/g, '_') || 'image';
  const path = join(folder, `${expected.slice(0, 12)}-${name}`);
  if ((await stat(path).catch(() => undefined)) !== undefined) {
    note(`Downloaded before: ${path}`);
  } else {
    const progress = new Progress('Downloading', undefined);
    let bytes = 0;
    await download(url, path, {
      signal,
      onSize: size => {
        progress.total = size;
      },
      onBytes: done => {
        bytes = done;
        progress.at(done);
      },
      onNote: text => {
        progress.clear();
        note(text);
      },
    }).catch((error: unknown) => {
      progress.clear();
      throw error;
    });
    progress.done(bytes, 'Downloaded');
  }
  try {
    await checkFile(path, expected, signal);
  } catch (error) {
    // The next try must not find it.
    if (!signal.aborted) await rm(path, { force: true });
    throw error;
  }
  return path;
}
