/**
 * The names in an initrd: cpio archives one after the other, what is compressed by itself (modules, firmware) in the first, plain
 * one, and the rest compressed (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';

/** «newc»: 6 bytes of magic and 13 fields of 8 hex digits; size is the 7th of them, the length of the name the 12th. */
const HEADER_BYTES = 110;
const MAGIC = '070701';
const ZSTD_MAGIC = 0xfd2fb528;
const UNPACKED_MAX = 1024 ** 3;

const aligned = (offset: number): number => (offset + 3) & ~3;

/** The archive that begins at `offset`: its names, and where it ends. Pure. */
export function cpioNames(bytes: Buffer, offset: number): { names: string[]; end: number } {
  const names: string[] = [];
  let at = offset;
  while (bytes.toString('latin1', at, at + 6) === MAGIC) {
    const field = (index: number) =>
      Number.parseInt(bytes.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16);
    const [size, length] = [field(6), field(11)];
    const name = bytes.toString('utf8', at + HEADER_BYTES, at + HEADER_BYTES + length - 1);
    at = aligned(aligned(at + HEADER_BYTES + length) + size);
    if (name === 'TRAILER!!!') break;
    names.push(name);
  }
  return { names, end: at };
}

/** @throws Error where it is neither cpio nor zstd, or zstd finds it damaged */
export async function initrdNames(path: string): Promise<string[]> {
  const bytes = await readFile(path);
  const names: string[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] === 0) at += 1;
    else if (at + 4 <= bytes.length && bytes.readUInt32LE(at) === ZSTD_MAGIC) {
      const { status, stdout } = spawnSync('zstd', ['-dcq'], { input: bytes.subarray(at), maxBuffer: UNPACKED_MAX });
      if (status !== 0) throw new Error(`${path} is damaged: zstd cannot unpack it`);
      return [...names, ...cpioNames(stdout, 0).names];
    } else {
      const plain = cpioNames(bytes, at);
      if (plain.end === at) throw new Error(`${path} is neither cpio nor zstd at byte ${at}`);
      names.push(...plain.names);
      at = plain.end;
    }
  }
  return names;
}
