/**
 * Files on a FAT32 partition, read and written straight on the disk: no mount, no root, no program of the system.
 * Only what flash needs: read, list, write whole files, make folders
 * (Microsoft, «FAT: General Overview of On-Disk Format», version 1.03).
 */
import { RefusedError } from '../errors.ts';
import type { Disk } from './disk.ts';
import { checkName, type DirectoryEntry, ENTRY_BYTES, entriesFor, entriesIn, FREE_ENTRY } from './fat-names.ts';
import { FatTable, type Geometry, readGeometry } from './fat-table.ts';

/** What is read whole is a file of settings, or one that a person puts on the card. */
const READ_MAX_BYTES = 64 * 1024 * 1024;
const ATTRIBUTE_DIRECTORY = 0x10;
const ATTRIBUTE_ARCHIVE = 0x20;

interface Directory {
  clusters: number[];
  bytes: Buffer;
}

export class Fat32 {
  readonly #disk: Disk;
  readonly #geometry: Geometry;
  readonly #table: FatTable;

  /** @param disk begins where the partition does. @throws RefusedError when it holds no FAT32 */
  static async open(disk: Disk): Promise<Fat32> {
    const geometry = await readGeometry(disk);
    return new Fat32(disk, geometry, await FatTable.read(disk, geometry));
  }

  private constructor(disk: Disk, geometry: Geometry, table: FatTable) {
    this.#disk = disk;
    this.#geometry = geometry;
    this.#table = table;
  }

  /** The names in the top folder. */
  async list(): Promise<string[]> {
    const root = await this.#directory(this.#geometry.rootCluster);
    return [...entriesIn(root.bytes)].map(({ name }) => name);
  }

  /** A whole file, or undefined where there is none. `path`: `config.txt`, `overlays/x.dtbo`; case does not count. */
  async read(path: string): Promise<Buffer | undefined> {
    const names = path.split('/');
    const fileName = names.pop() ?? '';
    let directory = await this.#directory(this.#geometry.rootCluster);
    for (const name of names) {
      const entry = entryNamed(directory, name);
      if (entry === undefined || !entry.isDirectory) return undefined;
      directory = await this.#directory(entry.firstCluster);
    }
    const entry = entryNamed(directory, fileName);
    if (entry === undefined || entry.isDirectory) return undefined;
    if (entry.sizeBytes > READ_MAX_BYTES) throw new RefusedError(`${path} is too large to be read`);
    if (entry.sizeBytes === 0) return Buffer.alloc(0);
    return (await this.#readChain(this.#table.chain(entry.firstCluster))).subarray(0, entry.sizeBytes);
  }

  /**
   * Writes a file, new or instead of the one that is there, and makes the folders above it. Losing power at any place
   * leaves the old file or the new one: the data and its chain come first, then one sector of the directory.
   * @throws RefusedError for a name FAT cannot hold; EnvironmentError when the partition is full
   */
  async write(path: string, data: Uint8Array, now: Date): Promise<void> {
    const names = path.split('/');
    for (const name of names) checkName(name);
    const fileName = names.pop() ?? '';
    let folder = this.#geometry.rootCluster;
    for (const name of names) folder = await this.#folderIn(folder, name, now);
    const directory = await this.#directory(folder);
    const old = entryNamed(directory, fileName);
    if (old?.isDirectory) throw new RefusedError(`${path} is a folder on the card`, 'Give the name of a file.');
    const first = await this.#store(data);
    const change = { firstCluster: first, sizeBytes: data.length, attributes: ATTRIBUTE_ARCHIVE };
    if (old === undefined) await this.#addEntry(directory, fileName, change, now);
    else await this.#changeEntry(directory, old.offset, change, now);
    if (old !== undefined && old.firstCluster !== 0) this.#table.free(old.firstCluster);
    await this.#table.flush();
  }

  /** Puts data into new clusters. @returns the first one; 0, as FAT wants it, for an empty file */
  async #store(data: Uint8Array): Promise<number> {
    const { clusterBytes } = this.#geometry;
    if (data.length === 0) return 0;
    const clusters = this.#table.allocate(Math.ceil(data.length / clusterBytes));
    const padded = Buffer.alloc(clusters.length * clusterBytes);
    padded.set(data);
    await this.#writeChain(clusters, padded);
    await this.#table.flush();
    return clusters[0] ?? 0;
  }

  async #folderIn(parent: number, name: string, now: Date): Promise<number> {
    const directory = await this.#directory(parent);
    const entry = entryNamed(directory, name);
    if (entry?.isDirectory) return entry.firstCluster;
    if (entry !== undefined) throw new RefusedError(`${name} is a file on the card`, 'Give another folder.');
    const content = Buffer.alloc(this.#geometry.clusterBytes);
    const [cluster = 0] = this.#table.allocate(1);
    // The root is cluster 0 when it is a parent.
    const above = parent === this.#geometry.rootCluster ? 0 : parent;
    content.write('.'.padEnd(11), 0, 'latin1');
    fillEntry(content, 0, { firstCluster: cluster, sizeBytes: 0, attributes: ATTRIBUTE_DIRECTORY }, now);
    content.write('..'.padEnd(11), ENTRY_BYTES, 'latin1');
    fillEntry(content, ENTRY_BYTES, { firstCluster: above, sizeBytes: 0, attributes: ATTRIBUTE_DIRECTORY }, now);
    await this.#writeChain([cluster], content);
    await this.#table.flush();
    const change = { firstCluster: cluster, sizeBytes: 0, attributes: ATTRIBUTE_DIRECTORY };
    await this.#addEntry(directory, name, change, now);
    return cluster;
  }

  async #addEntry(directory: Directory, name: string, change: Change, now: Date): Promise<void> {
    const taken = new Set([...entriesIn(directory.bytes)].map(({ shortName }) => shortName));
    const entries = entriesFor(name, taken);
    fillEntry(entries, entries.length - ENTRY_BYTES, change, now);
    const at = roomFor(directory.bytes, entries.length);
    const { clusterBytes } = this.#geometry;
    while (at + entries.length > directory.bytes.length) {
      const [more = 0] = this.#table.allocate(1);
      // Empty before it belongs to the directory: what was there before is not entries.
      await this.#writeChain([more], Buffer.alloc(clusterBytes));
      this.#table.append(directory.clusters.at(-1) ?? 0, more);
      await this.#table.flush();
      directory.clusters.push(more);
      directory.bytes = Buffer.concat([directory.bytes, Buffer.alloc(clusterBytes)]);
    }
    entries.copy(directory.bytes, at);
    await this.#writeSectors(directory, at, entries.length);
  }

  async #changeEntry(directory: Directory, offset: number, change: Change, now: Date): Promise<void> {
    fillEntry(directory.bytes, offset, change, now);
    await this.#writeSectors(directory, offset, ENTRY_BYTES);
  }

  /** In order: the short entry, which counts, stands last, and long ones without it are nothing. */
  async #writeSectors({ clusters, bytes }: Directory, offset: number, length: number): Promise<void> {
    const { sectorBytes, clusterBytes } = this.#geometry;
    const first = Math.floor(offset / sectorBytes);
    const last = Math.floor((offset + length - 1) / sectorBytes);
    for (let sector = first; sector <= last; sector++) {
      const at = sector * sectorBytes;
      const cluster = clusters[Math.floor(at / clusterBytes)] ?? 0;
      const place = this.#placeOf(cluster) + (at % clusterBytes);
      await this.#disk.write(place, bytes.subarray(at, at + sectorBytes));
    }
  }

  async #directory(first: number): Promise<Directory> {
    const clusters = this.#table.chain(first);
    return { clusters, bytes: await this.#readChain(clusters) };
  }

  async #readChain(clusters: readonly number[]): Promise<Buffer> {
    const { clusterBytes } = this.#geometry;
    const parts: Buffer[] = [];
    for (const run of runsOf(clusters)) {
      parts.push(await this.#disk.read(this.#placeOf(run.first), run.count * clusterBytes));
    }
    return Buffer.concat(parts);
  }

  async #writeChain(clusters: readonly number[], data: Buffer): Promise<void> {
    const { clusterBytes } = this.#geometry;
    let done = 0;
    for (const { first, count } of runsOf(clusters)) {
      await this.#disk.write(this.#placeOf(first), data.subarray(done, done + count * clusterBytes));
      done += count * clusterBytes;
    }
  }

  #placeOf(cluster: number): number {
    return this.#geometry.dataStartBytes + (cluster - 2) * this.#geometry.clusterBytes;
  }
}

interface Change {
  firstCluster: number;
  sizeBytes: number;
  attributes: number;
}

/** Everything of a short entry but its name. */
function fillEntry(bytes: Buffer, at: number, { firstCluster, sizeBytes, attributes }: Change, now: Date): void {
  const time = (now.getHours() << 11) | (now.getMinutes() << 5) | (now.getSeconds() >> 1);
  const date = (Math.max(0, now.getFullYear() - 1980) << 9) | ((now.getMonth() + 1) << 5) | now.getDate();
  bytes[at + 11] = attributes;
  bytes.fill(0, at + 12, at + ENTRY_BYTES);
  bytes.writeUInt16LE(time, at + 14);
  bytes.writeUInt16LE(date, at + 16);
  bytes.writeUInt16LE(date, at + 18);
  bytes.writeUInt16LE(firstCluster >>> 16, at + 20);
  bytes.writeUInt16LE(time, at + 22);
  bytes.writeUInt16LE(date, at + 24);
  bytes.writeUInt16LE(firstCluster & 0xffff, at + 26);
  bytes.writeUInt32LE(sizeBytes, at + 28);
}

const entryNamed = (directory: Directory, name: string): DirectoryEntry | undefined =>
  [...entriesIn(directory.bytes)].find(entry => entry.name.toLowerCase() === name.toLowerCase());

/** Where so many bytes of entries fit: deleted ones in a row, or the end, which may lie behind the directory's last byte. */
function roomFor(directory: Buffer, length: number): number {
  let free = 0;
  for (let offset = 0; offset < directory.length; offset += ENTRY_BYTES) {
    if (directory[offset] === 0) return offset - free;
    free = directory[offset] === FREE_ENTRY ? free + ENTRY_BYTES : 0;
    if (free === length) return offset + ENTRY_BYTES - free;
  }
  return directory.length - free;
}

/** Clusters that follow each other are read and written at once. */
function runsOf(clusters: readonly number[]): { first: number; count: number }[] {
  const runs: { first: number; count: number }[] = [];
  for (const cluster of clusters) {
    const run = runs.at(-1);
    if (run !== undefined && run.first + run.count === cluster) run.count++;
    else runs.push({ first: cluster, count: 1 });
  }
  return runs;
}
