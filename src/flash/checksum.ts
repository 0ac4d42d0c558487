/** SHA-256 of an image, and where the right one stands. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { NotFoundError, RefusedError, UsageError } from '../errors.ts';
import { readFileIfAny } from '../io/files.ts';
import { fetchText } from './download.ts';
import type { Watch } from './image.ts';

const HEX = /^[0-9a-f]{64}$/i;

export const isUrl = (text: string): boolean => /^https?:\/\//i.test(text);

/**
 * The checksum that the image has to have: `given` is the checksum itself, a file or a URL with it; default is the `.sha256` beside the image.
 * @returns undefined for a local image without any
 * @throws UsageError, NotFoundError, RefusedError
 */
export async function expectedSha256(
  image: string,
  given: string | undefined,
  signal?: AbortSignal,
): Promise<string | undefined> {
  if (given !== undefined && HEX.test(given)) return given.toLowerCase();
  const place = given ?? `${image.replace(/[?#].*$/, '')}.sha256`;
  if (isUrl(place)) return sha256In(await fetchText(place, signal), image, place);
  const text = await readFileIfAny(place);
  if (text !== undefined) return sha256In(text.toString('utf8'), image, place);
  if (given === undefined) return undefined;
  if (/^[0-9a-f]+$/i.test(given)) {
    throw new UsageError(`--sha256 has ${given.length} digits, where 64 belong`, 'Copy the whole checksum.');
  }
  throw new NotFoundError(`there is no file ${place}`, 'Give --sha256 a checksum, a file or a URL.');
}

/** The format of sha256sum: `HEX  NAME`, one on each line; or the checksum alone. */
function sha256In(text: string, image: string, place: string): string {
  const name = basename(image.replace(/[?#].*$/, ''));
  const lines = text.split(/\r?\n/).flatMap(line => {
    const match = /^\\?([0-9a-f]{64})(?:\s+[* ]?(.+))?$/i.exec(line.trim());
    return match === null ? [] : [{ hex: (match[1] ?? '').toLowerCase(), name: match[2] }];
  });
  const own = lines.find(line => line.name !== undefined && basename(line.name) === name);
  const found = own ?? (lines.length === 1 ? lines[0] : undefined);
  if (found !== undefined) return found.hex;
  throw new RefusedError(
    `${place} holds no SHA-256 checksum of ${name}`,
    'It needs a line as sha256sum writes it, or give the checksum itself: --sha256 HEX.',
  );
}

export async function sha256Of(path: string, { signal, onBytes }: Watch = {}): Promise<string> {
  const hash = createHash('sha256');
  let done = 0;
  for await (const piece of createReadStream(path, { highWaterMark: 1024 * 1024, signal }) as AsyncIterable<Buffer>) {
    hash.update(piece);
    done += piece.length;
    onBytes?.(done);
  }
  return hash.digest('hex');
}

/** @throws RefusedError */
export function checkSha256(name: string, found: string, expected: string): void {
  if (found === expected) return;
  throw new RefusedError(
    `${name} is not what it should be: the checksum is wrong\n  expected ${expected}\n  found    ${found}`,
    'It is cut off, damaged or another version: download the image and its .sha256 again. Nothing was written.',
  );
}
