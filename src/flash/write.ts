/**
 * The image onto the card: in large blocks, the partition table last, then read back. A card that was interrupted anywhere
 * in between says so in its first sector, and does not boot.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { EnvironmentError, RefusedError } from '../errors.ts';
import { errnoOf } from '../io/files.ts';
import { readFully, ShortRead, writeFully } from './disk.ts';
import { type Image, isZero, type Watch } from './image.ts';
import { HEAD_BYTES, notCompleteHead } from './mbr.ts';
import { dropCache, type Target } from './target.ts';
import { unpacked } from './unpack.ts';

/** A multiple of every card's erase block; two of them are all that is held in memory. */
const BLOCK_BYTES = 4 * 1024 * 1024;
/** Written bytes that may wait in this computer's memory: progress stays true, and Ctrl-C does not take minutes. */
const UNSYNCED_MAX_BYTES = 32 * 1024 * 1024;

/** What is left to do with a card that was written: its first MiB, and how the rest has to read. */
export interface Written {
  head: Buffer;
  /** SHA-256 of each block, the first one without its first MiB. */
  digests: Buffer[];
}

/** All but the first MiB, where the mark «not complete» stands now. @throws EnvironmentError, RefusedError */
export async function writeBody(image: Image, target: Target, file: FileHandle, watch: Watch): Promise<Written> {
  try {
    if (target.kind === 'file') await emptyFile(file, Math.max(image.sizeBytes, target.sizeBytes ?? 0));
    await writeFully(file, notCompleteHead(), 0);
    await file.sync();
  } catch (error) {
    throw writeError(target, 0, error);
  }
  const digests: Buffer[] = [];
  let head = Buffer.alloc(0);
  let at = 0;
  let unsynced = 0;
  for await (const block of inBlocks(unpacked(image.path, image.packing, watch.signal))) {
    watch.signal?.throwIfAborted();
    if (at + block.length > image.sizeBytes) throw changed(image);
    const skipped = at === 0 ? HEAD_BYTES : 0;
    if (at === 0) head = Buffer.from(block.subarray(0, HEAD_BYTES));
    const body = block.subarray(skipped);
    digests.push(digestOf(body));
    try {
      if (target.kind === 'drive' || !isZero(body)) await writeFully(file, body, at + skipped);
      unsynced += body.length;
      if (unsynced >= UNSYNCED_MAX_BYTES) await file.datasync();
    } catch (error) {
      throw writeError(target, at, error);
    }
    unsynced %= UNSYNCED_MAX_BYTES;
    at += block.length;
    watch.onBytes?.(at);
  }
  if (at !== image.sizeBytes) throw changed(image);
  await flush(target, file, at);
  return { head, digests };
}

/** Nothing of before shows through, and what is zero takes no room. A larger one stays as large, as a card would. */
async function emptyFile(file: FileHandle, sizeBytes: number): Promise<void> {
  await file.truncate(0);
  await file.truncate(sizeBytes);
}

/** Reads all of it again. Before the settings are written: they change what is there. @throws EnvironmentError */
export async function verifyBody(
  target: Target,
  file: FileHandle,
  image: Image,
  written: Written,
  watch: Watch,
): Promise<void> {
  await dropCache(target.path);
  for (const [index, digest] of written.digests.entries()) {
    watch.signal?.throwIfAborted();
    const at = index * BLOCK_BYTES + (index === 0 ? HEAD_BYTES : 0);
    const end = Math.min((index + 1) * BLOCK_BYTES, image.sizeBytes);
    const block = Buffer.allocUnsafe(end - at);
    await readFully(file, block, at).catch((error: unknown) => {
      throw readError(target, at, error);
    });
    if (!digestOf(block).equals(digest)) throw different(target, at);
    watch.onBytes?.(end);
  }
}

/** The partition table, last of all: from here on it is a card that boots. @throws EnvironmentError */
export async function writeHead(target: Target, file: FileHandle, head: Buffer): Promise<void> {
  try {
    await writeFully(file, head, 0);
  } catch (error) {
    throw writeError(target, 0, error);
  }
  await flush(target, file, 0);
  await dropCache(target.path);
  const back = Buffer.alloc(head.length);
  await readFully(file, back, 0).catch((error: unknown) => {
    throw readError(target, 0, error);
  });
  if (!back.equals(head)) throw different(target, 0);
}

export async function flush(target: Target, file: FileHandle, at: number): Promise<void> {
  await file.sync().catch((error: unknown) => {
    throw writeError(target, at, error);
  });
}

async function* inBlocks(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let block = Buffer.allocUnsafe(BLOCK_BYTES);
  let filled = 0;
  for await (const piece of pieces) {
    for (let from = 0; from < piece.length; ) {
      const copied = piece.copy(block, filled, from);
      filled += copied;
      from += copied;
      if (filled < BLOCK_BYTES) continue;
      yield block;
      block = Buffer.allocUnsafe(BLOCK_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield block.subarray(0, filled);
}

const digestOf = (data: Buffer): Buffer => createHash('sha256').update(data).digest();

const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;

const NOT_COMPLETE = 'The card is not complete and will not start.';

export function writeError({ kind, path }: Target, at: number, error: unknown): Error {
  const errno = errnoOf(error);
  const after = at === 0 ? 'at its beginning' : `after ${megabytes(at)}`;
  if (kind === 'file') {
    const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(errno);
    const cure = full
      ? 'Free some space or take another folder, then flash again. What is there now is not complete and will not boot.'
      : 'What is there now is not complete and will not boot. Flash again.';
    const why = full ? 'there is no room left' : reason(error);
    return new EnvironmentError(`writing ${path} failed ${after}: ${why}`, cure, { cause: error });
  }
  const gone = ['ENXIO', 'ENODEV', 'ENOMEDIUM'].includes(errno);
  const cure = gone
    ? `${NOT_COMPLETE} Insert it again and flash it anew.`
    : `${NOT_COMPLETE} Try another card reader or port, then another card; \`dmesg\` says more. A card that holds less than it says fails here, too.`;
  return new EnvironmentError(`writing ${path} failed ${after}: ${gone ? 'the card is gone' : reason(error)}`, cure, {
    cause: error,
  });
}

function readError({ path }: Target, at: number, error: unknown): Error {
  return new EnvironmentError(
    `${path} cannot be read back at ${megabytes(at)}: ${reason(error)}`,
    `${NOT_COMPLETE} Try another card reader, then another card.`,
    { cause: error },
  );
}

const reason = (error: unknown): string =>
  error instanceof ShortRead
    ? 'it ends there'
    : error instanceof Error
      ? error.message.replace(/, (read|write|fdatasync|fsync)$/, '')
      : String(error);

const different = ({ path }: Target, at: number): Error =>
  new EnvironmentError(
    `${path} does not give back what was written, at ${megabytes(at)}`,
    `${NOT_COMPLETE} The card is worn out, or holds less than its label says. Try another reader, then another card.`,
  );

const changed = ({ name }: Image): Error =>
  new RefusedError(
    `${name} changed while it was written`,
    `${NOT_COMPLETE} Flash it again when nobody changes the image.`,
  );
