/**
 * An image as the bytes of the card, whatever it is packed in. zstd by Node where Node can (22.15 and newer), gzip by Node, all else by the
 * system's own programs, which also check the packed data's checksums.
 */
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { pipeline, type Readable, type Transform } from 'node:stream';
import * as zlib from 'node:zlib';
import { EnvironmentError, messageOf, RefusedError } from '../errors.ts';
import { errnoOf, fileError } from '../io/files.ts';

export type Packing = 'raw' | 'zst' | 'xz' | 'gz' | 'zip';

/** The first bytes tell more truly than a name does. */
const MAGIC: readonly [Exclude<Packing, 'raw'>, string][] = [
  ['zst', '28b52ffd'],
  ['xz', 'fd377a585a00'],
  ['gz', '1f8b'],
  ['zip', '504b0304'],
];

export async function packingOf(path: string): Promise<Packing> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(8), 0, 8, 0);
    const start = buffer.toString('hex', 0, bytesRead);
    return MAGIC.find(([, magic]) => start.startsWith(magic))?.[0] ?? 'raw';
  } finally {
    await file.close();
  }
}

/**
 * The bytes of the card, in pieces of any size. Whoever stops asking ends the program behind it.
 * @throws RefusedError cut off or damaged; EnvironmentError the program to unpack it is missing
 */
export async function* unpacked(path: string, packing: Packing, signal?: AbortSignal): AsyncGenerator<Buffer> {
  if (packing === 'raw') yield* fromFile(path, signal);
  else if (packing === 'zip') yield* fromProgram(path, 'unzip', ['-p', '--', path, await onlyImageIn(path)], signal);
  else if (packing === 'xz') yield* fromProgram(path, 'xz', ['-dc', '--', path], signal);
  else if (packing === 'gz') yield* fromNode(path, zlib.createGunzip(), signal);
  else {
    // Not in the types of Node 20.
    const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };
    if (createZstdDecompress !== undefined) yield* fromNode(path, createZstdDecompress(), signal);
    else yield* fromProgram(path, 'zstd', ['-dcq', '--', path], signal);
  }
}

async function* fromFile(path: string, signal?: AbortSignal): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(path, { highWaterMark: 1024 * 1024, signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw fileError(`cannot read ${path}`, error);
  }
}

async function* fromNode(path: string, unpacker: Transform, signal?: AbortSignal): AsyncGenerator<Buffer> {
  const source = createReadStream(path, { highWaterMark: 256 * 1024, signal });
  const stream = pipeline(source, unpacker, () => undefined) as Readable;
  try {
    yield* stream as AsyncIterable<Buffer>;
  } catch (error) {
    signal?.throwIfAborted();
    throw damaged(path, messageOf(error));
  } finally {
    source.destroy();
  }
}

async function* fromProgram(
  path: string,
  program: string,
  args: string[],
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' } });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2000);
  });
  const ended = new Promise<number | Error>(resolve => {
    child.once('error', resolve).once('close', code => resolve(code ?? -1));
  });
  const stop = () => {
    child.kill();
    child.stdout.destroy();
  };
  signal?.addEventListener('abort', stop, { once: true });
  let whole = false;
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    whole = true;
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    if (!whole) child.kill();
  }
  signal?.throwIfAborted();
  const end = await ended;
  if (end instanceof Error) throw programError(program, end);
  if (end !== 0) throw damaged(path, complaint.trim().split('\n').at(-1) ?? '');
}

/** What a zip holds beside the image (a README, a licence) is not asked for. @throws RefusedError */
async function onlyImageIn(path: string): Promise<string> {
  let names = '';
  for await (const chunk of fromProgram(path, 'unzip', ['-Z1', '--', path])) names += chunk.toString();
  const images = names.split('\n').filter(name => /\.img$/i.test(name) && !/^__MACOSX\//.test(name));
  const [image] = images;
  if (image === undefined || images.length > 1) {
    throw new RefusedError(
      `${basename(path)} holds ${images.length === 0 ? 'no file' : 'more than one file'} that ends with .img`,
      'Unpack it, and give the image itself.',
    );
  }
  // unzip takes the name for a pattern.
  return image.replace(/[[\]*?\\]/g, '\\$&');
}

const PACKAGE_OF: Record<string, string> = { zstd: 'zstd', xz: 'xz-utils', unzip: 'unzip' };

function programError(program: string, error: Error): EnvironmentError {
  if (errnoOf(error) !== 'ENOENT') return new EnvironmentError(`${program} cannot be run: ${error.message}`);
  const more = program === 'zstd' ? '\nOr run it with Node 22.15 or newer, which can unpack .zst itself.' : '';
  return new EnvironmentError(
    `this image is packed, and the program to unpack it is missing: ${program}`,
    `Debian, Ubuntu: sudo apt install ${PACKAGE_OF[program] ?? program}; macOS: brew install ${program}${more}`,
  );
}

const damaged = (path: string, why: string): RefusedError =>
  new RefusedError(
    `${basename(path)} is cut off or damaged: it cannot be unpacked to its end${why === '' ? '' : ` (${why.replace(/^.*?: /, '')})`}`,
    'Download it again; nothing was written.',
  );
