/**
 * Names in a FAT directory: entries of 32 bytes, long names in entries before the short one
 * (Microsoft, «FAT: General Overview of On-Disk Format», sections on directories and long names).
 */
import { RefusedError } from '../errors.ts';

export const ENTRY_BYTES = 32;
export const FREE_ENTRY = 0xe5;
export const LONG_NAME = 0x0f;
const LAST_LONG = 0x40;
const CHARACTERS_PER_ENTRY = 13;
/** Where the 13 characters (UTF-16) of a long-name entry stand. */
const CHARACTER_OFFSETS = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
const NAME_MAX = 255;

/** @throws RefusedError for what FAT cannot hold */
export function checkName(name: string): void {
  const foreign = /[\\/:*?"<>|\p{Cc}]/u.test(name);
  if (name !== '' && name.length <= NAME_MAX && !foreign && !/[. ]$/.test(name)) return;
  throw new RefusedError(
    `«${name}» cannot be the name of a file on a FAT partition`,
    'Take a name without \\ / : * ? " < > | and without a dot or space at its end.',
  );
}

/** The short name (11 bytes, padded) that a name is already, or undefined: then it needs a long one. */
function asShortName(name: string): string | undefined {
  const match = /^([A-Z0-9_~$%'@!(){}^#&-]{1,8})(?:\.([A-Z0-9_~$%'@!(){}^#&-]{1,3}))?$/.exec(name);
  return match === null ? undefined : (match[1] ?? '').padEnd(8) + (match[2] ?? '').padEnd(3);
}

/** A short name that none in the directory has: `pi-swarm.yaml` becomes `PI-SWA~1.YAM`. */
function makeShortName(name: string, taken: ReadonlySet<string>): string {
  const clean = (text: string) => text.toUpperCase().replace(/[^A-Z0-9_-]/g, '');
  const dot = name.lastIndexOf('.');
  const base = clean(dot > 0 ? name.slice(0, dot) : name) || 'FILE';
  const extension = dot > 0 ? clean(name.slice(dot + 1)).slice(0, 3) : '';
  for (let number = 1; ; number++) {
    const tail = `~${number}`;
    const short = (base.slice(0, 8 - tail.length) + tail).padEnd(8) + extension.padEnd(3);
    if (!taken.has(short)) return short;
  }
}

function checksumOf(short: Buffer): number {
  let sum = 0;
  for (const byte of short) sum = (((sum & 1) << 7) + (sum >> 1) + byte) & 0xff;
  return sum;
}

/** The entries for a new name: the long ones, last part first, then the short one with name bytes only. */
export function entriesFor(name: string, taken: ReadonlySet<string>): Buffer {
  const plain = asShortName(name);
  const short = Buffer.from(plain ?? makeShortName(name, taken), 'latin1');
  const parts = plain === undefined ? Math.ceil(name.length / CHARACTERS_PER_ENTRY) : 0;
  const entries = Buffer.alloc((parts + 1) * ENTRY_BYTES);
  for (let part = parts; part > 0; part--) {
    const at = (parts - part) * ENTRY_BYTES;
    entries[at] = part | (part === parts ? LAST_LONG : 0);
    entries[at + 11] = LONG_NAME;
    entries[at + 13] = checksumOf(short);
    CHARACTER_OFFSETS.forEach((offset, index) => {
      const place = (part - 1) * CHARACTERS_PER_ENTRY + index;
      // One zero after the end, then ones.
      const code = place < name.length ? name.charCodeAt(place) : place === name.length ? 0 : 0xffff;
      entries.writeUInt16LE(code, at + offset);
    });
  }
  short.copy(entries, parts * ENTRY_BYTES);
  return entries;
}

export interface DirectoryEntry {
  name: string;
  /** 11 bytes as they stand, latin1. */
  shortName: string;
  /** Of the short entry, from the directory's beginning. */
  offset: number;
  isDirectory: boolean;
  firstCluster: number;
  sizeBytes: number;
}

/** Every file and folder of a directory's bytes; not the label, not what was deleted. */
export function* entriesIn(directory: Buffer): Generator<DirectoryEntry> {
  let long = '';
  for (let offset = 0; offset + ENTRY_BYTES <= directory.length; offset += ENTRY_BYTES) {
    const entry = directory.subarray(offset, offset + ENTRY_BYTES);
    if (entry[0] === 0) return;
    const attributes = entry[11] ?? 0;
    if (entry[0] !== FREE_ENTRY && attributes === LONG_NAME) {
      long = longPart(entry) + ((entry[0] ?? 0) & LAST_LONG ? '' : long);
      continue;
    }
    if (entry[0] !== FREE_ENTRY && (attributes & 0x08) === 0) {
      const shortName = entry.toString('latin1', 0, 11);
      yield {
        name: long || readableShortName(shortName, entry[12] ?? 0),
        shortName,
        offset,
        isDirectory: (attributes & 0x10) !== 0,
        firstCluster: (entry.readUInt16LE(20) << 16) | entry.readUInt16LE(26),
        sizeBytes: entry.readUInt32LE(28),
      };
    }
    long = '';
  }
}

function longPart(entry: Buffer): string {
  let text = '';
  for (const offset of CHARACTER_OFFSETS) {
    const code = entry.readUInt16LE(offset);
    if (code === 0 || code === 0xffff) break;
    text += String.fromCharCode(code);
  }
  return text;
}

/** `flags` (as Windows NT keeps them): the name, the extension is in lower case. */
function readableShortName(short: string, flags: number): string {
  const lower = (text: string, bit: number) => (flags & bit ? text.toLowerCase() : text).trimEnd();
  const [base, extension] = [lower(short.slice(0, 8), 0x08), lower(short.slice(8), 0x10)];
  return extension === '' ? base : `${base}.${extension}`;
}
