/** The geometry of a FAT32 file system and its allocation table, held in memory (2 MB for a partition of 256 MB). */
import { EnvironmentError, RefusedError } from '../errors.ts';
import { type Disk, SECTOR_BYTES } from './disk.ts';

export interface Geometry {
  sectorBytes: number;
  clusterBytes: number;
  fatStartBytes: number;
  fatBytes: number;
  fatCopies: number;
  dataStartBytes: number;
  clusters: number;
  rootCluster: number;
  /** Where the count of free clusters is kept, in bytes; undefined where there is none. */
  infoBytes: number | undefined;
}

/** A boot partition of 256 MB has one of 2 MB; a limit so that a broken one cannot eat the memory. */
const FAT_MAX_BYTES = 64 * 1024 * 1024;

/** Reads the boot sector (BIOS parameter block). @throws RefusedError when it is no FAT32 */
export async function readGeometry(disk: Disk): Promise<Geometry> {
  const sector = await disk.read(0, SECTOR_BYTES);
  const sectorBytes = sector.readUInt16LE(11);
  const clusterBytes = (sector[13] ?? 0) * sectorBytes;
  const fatStartBytes = sector.readUInt16LE(14) * sectorBytes;
  const fatCopies = sector[16] ?? 0;
  const fatBytes = sector.readUInt32LE(36) * sectorBytes;
  const dataStartBytes = fatStartBytes + fatCopies * fatBytes;
  const totalBytes = sector.readUInt32LE(32) * sectorBytes;
  const info = sector.readUInt16LE(48);
  const isFat32 =
    sector.readUInt16LE(510) === 0xaa55 &&
    [512, 1024, 2048, 4096].includes(sectorBytes) &&
    clusterBytes > 0 &&
    // FAT12 and FAT16 have a root directory of fixed size and a short field for the table's.
    sector.readUInt16LE(17) === 0 &&
    sector.readUInt16LE(22) === 0 &&
    fatCopies > 0 &&
    fatBytes > 0 &&
    fatBytes <= FAT_MAX_BYTES &&
    totalBytes > dataStartBytes;
  if (!isFat32) {
    throw new RefusedError('the boot partition holds no FAT32 file system, or a damaged one', 'Flash the card anew.');
  }
  return {
    sectorBytes,
    clusterBytes,
    fatStartBytes,
    fatBytes,
    fatCopies,
    dataStartBytes,
    clusters: Math.min(Math.floor((totalBytes - dataStartBytes) / clusterBytes), fatBytes / 4 - 2),
    rootCluster: sector.readUInt32LE(44),
    infoBytes: info === 0 || info === 0xffff ? undefined : info * sectorBytes,
  };
}

/** The upper 4 bits of an entry are not ours. */
const MASK = 0x0fffffff;
const END_OF_CHAIN = 0x0fffffff;
const FIRST_CLUSTER = 2;

export class FatTable {
  readonly #disk: Disk;
  readonly #geometry: Geometry;
  readonly #table: Buffer;
  readonly #changed = new Set<number>();
  #searchFrom = FIRST_CLUSTER;

  static async read(disk: Disk, geometry: Geometry): Promise<FatTable> {
    return new FatTable(disk, geometry, await disk.read(geometry.fatStartBytes, geometry.fatBytes));
  }

  private constructor(disk: Disk, geometry: Geometry, table: Buffer) {
    this.#disk = disk;
    this.#geometry = geometry;
    this.#table = table;
  }

  /** The clusters of a file or directory, in order. @throws RefusedError when the chain is broken */
  chain(first: number): number[] {
    const clusters: number[] = [];
    const last = this.#geometry.clusters + FIRST_CLUSTER;
    for (let cluster = first; cluster < 0x0ffffff8; cluster = this.#table.readUInt32LE(cluster * 4) & MASK) {
      if (cluster < FIRST_CLUSTER || cluster >= last || clusters.length > this.#geometry.clusters) {
        throw new RefusedError(
          'the file system of the boot partition is damaged: a chain of clusters leads nowhere',
          'Let it be repaired (sudo fsck.vfat -a PARTITION), or flash the card anew.',
        );
      }
      clusters.push(cluster);
    }
    return clusters;
  }

  /** A new chain of `count` free clusters; nothing is on the disk before `flush`. @throws EnvironmentError when full */
  allocate(count: number): number[] {
    const found: number[] = [];
    const last = this.#geometry.clusters + FIRST_CLUSTER;
    for (let cluster = this.#searchFrom; cluster < last && found.length < count; cluster++) {
      if ((this.#table.readUInt32LE(cluster * 4) & MASK) === 0) found.push(cluster);
    }
    if (found.length < count) {
      const missing = (count - found.length) * this.#geometry.clusterBytes;
      throw new EnvironmentError(
        `the boot partition is full: ${Math.ceil(missing / 1024)} KiB are missing`,
        'Put less on it with --file, or remove files from it.',
      );
    }
    found.forEach((cluster, index) => {
      this.#set(cluster, found[index + 1] ?? END_OF_CHAIN);
    });
    this.#searchFrom = (found.at(-1) ?? FIRST_CLUSTER - 1) + 1;
    return found;
  }

  append(last: number, more: number): void {
    this.#set(last, more);
  }

  free(first: number): void {
    for (const cluster of this.chain(first)) {
      this.#set(cluster, 0);
      this.#searchFrom = Math.min(this.#searchFrom, cluster);
    }
  }

  /** Writes the changed sectors to every copy of the table, and the count of free clusters. */
  async flush(): Promise<void> {
    const { sectorBytes, fatStartBytes, fatBytes, fatCopies } = this.#geometry;
    for (let copy = 0; copy < fatCopies; copy++) {
      for (const sector of [...this.#changed].sort((a, b) => a - b)) {
        const at = sector * sectorBytes;
        await this.#disk.write(fatStartBytes + copy * fatBytes + at, this.#table.subarray(at, at + sectorBytes));
      }
    }
    if (this.#changed.size > 0) await this.#writeInfo();
    this.#changed.clear();
  }

  async #writeInfo(): Promise<void> {
    const { infoBytes, sectorBytes } = this.#geometry;
    if (infoBytes === undefined) return;
    const info = await this.#disk.read(infoBytes, sectorBytes);
    // «RRaA» and «rrAa»: only a sector that is what the boot sector says it is.
    if (info.readUInt32LE(0) !== 0x41615252 || info.readUInt32LE(484) !== 0x61417272) return;
    info.writeUInt32LE(this.#countFree(), 488);
    info.writeUInt32LE(this.#searchFrom, 492);
    await this.#disk.write(infoBytes, info);
  }

  #countFree(): number {
    let free = 0;
    for (let cluster = FIRST_CLUSTER; cluster < this.#geometry.clusters + FIRST_CLUSTER; cluster++) {
      if ((this.#table.readUInt32LE(cluster * 4) & MASK) === 0) free++;
    }
    return free;
  }

  #set(cluster: number, next: number): void {
    const before = this.#table.readUInt32LE(cluster * 4);
    this.#table.writeUInt32LE(((before & ~MASK) | next) >>> 0, cluster * 4);
    this.#changed.add(Math.floor((cluster * 4) / this.#geometry.sectorBytes));
  }
}
