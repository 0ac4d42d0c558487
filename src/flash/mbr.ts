/** The first sector: the partition table (MBR), or the mark that a card is not complete. */
import { RefusedError } from '../errors.ts';
import { SECTOR_BYTES } from './disk.ts';

/**
 * What is written last: the first MiB holds the partition table, and nothing boots without it. Partitions begin later
 * (sector 8192, at 4 MiB), so nothing else is in there.
 */
export const HEAD_BYTES = 1024 * 1024;

export interface Partition {
  /** 1 to 4. */
  number: number;
  /** MBR type: 0x0c is FAT32 (LBA), 0x83 Linux. */
  type: number;
  startBytes: number;
  sizeBytes: number;
}

const TABLE_OFFSET = 446;
const ENTRY_BYTES = 16;
const FAT32_TYPES = [0x0b, 0x0c];

/** The entries that are used; undefined where the sector holds no table (no signature 55 aa). */
export function partitionsIn(sector: Buffer): Partition[] | undefined {
  if (sector.length < SECTOR_BYTES || sector.readUInt16LE(510) !== 0xaa55) return undefined;
  return [0, 1, 2, 3]
    .map(index => {
      const at = TABLE_OFFSET + index * ENTRY_BYTES;
      return {
        number: index + 1,
        type: sector[at + 4] ?? 0,
        startBytes: sector.readUInt32LE(at + 8) * SECTOR_BYTES,
        sizeBytes: sector.readUInt32LE(at + 12) * SECTOR_BYTES,
      };
    })
    .filter(({ type, sizeBytes }) => type !== 0 && sizeBytes > 0);
}

/** The first partition, when it is FAT32: the one that the board's firmware and every laptop read. */
export const bootPartitionOf = (partitions: readonly Partition[]): Partition | undefined =>
  partitions.find(({ number, type }) => number === 1 && FAT32_TYPES.includes(type));

/**
 * The boot partition of an image, checked. `name` is what the image is called, `sizeBytes` how long it is.
 * @throws RefusedError not a disk image, not ours, or cut off
 */
export function checkedBootPartition(name: string, head: Buffer, sizeBytes: number): Partition {
  const partitions = partitionsIn(head);
  if (partitions === undefined || partitions.length === 0) {
    throw new RefusedError(
      `${name} is not the image of a card: it has no partition table`,
      'Give an image of pi-swarm, such as pi-swarm-arm64.img.zst.',
    );
  }
  const end = Math.max(...partitions.map(partition => partition.startBytes + partition.sizeBytes));
  if (end > sizeBytes) {
    throw new RefusedError(
      `${name} is cut off: it holds ${sizeBytes} bytes, and its partitions end at ${end}`,
      'Download it again.',
    );
  }
  const boot = bootPartitionOf(partitions);
  if (boot !== undefined && boot.startBytes >= HEAD_BYTES) return boot;
  throw new RefusedError(
    `${name} is not an image of pi-swarm: its first partition is not the FAT32 one with the settings`,
    'Other images: write them with Raspberry Pi Imager or dd, and install the .deb of pi-swarm on them.',
  );
}

const MARK = 'pi-swarm: this card is not complete. Flashing was interrupted; flash it again.\n';

/** Stands where the table belongs until all the rest is written and checked: such a card never boots. */
export function notCompleteHead(): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.write(MARK, 'ascii');
  return head;
}

export const isNotComplete = (sector: Buffer): boolean =>
  sector.subarray(0, MARK.length).equals(Buffer.from(MARK, 'ascii'));
