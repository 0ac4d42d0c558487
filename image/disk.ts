/**
 * The disk: a partition table, the boot partition and the root partition, written straight into one file. No loop devices,
 * so it works in a container, too; and every identifier and time is given, so two builds are the same.
 */
import { open, readdir, rm, truncate, utimes } from 'node:fs/promises';
import { PiSwarmError } from '../src/errors.ts';
import { DISK } from './recipe.ts';
import { run } from './tools.ts';

const MINUTES_MS = 60_000;
const MIB = 1024 * 1024;
/** Beside what lies in it: journal, inode tables, and room until the partition is grown at the first boot. */
const ROOT_FACTOR = 1.06;
const ROOT_SPARE_BYTES = 96 * MIB;

const { sectorBytes } = DISK;
const bootOffset = DISK.boot.startSector * sectorBytes;
const rootStartSector = DISK.boot.startSector + DISK.boot.sectors;
export const rootOffset = rootStartSector * sectorBytes;

export interface DiskOptions {
  image: string;
  /** Folders with the content. */
  boot: string;
  root: string;
  /** Seconds since 1970, for everything that a file system notes of its making. */
  epoch: number;
  signal: AbortSignal;
}

/** Writes the whole image. @throws PiSwarmError when a tool fails, or what was written does not read back */
export async function writeDisk(options: DiskOptions): Promise<{ rootBytes: number }> {
  const { image, root, signal } = options;
  await rm(image, { force: true });
  const used = await run(['du', '--summarize', '--block-size=1', root], { limitMs: 5 * MINUTES_MS, signal });
  const wanted = Number.parseInt(used, 10) * ROOT_FACTOR + ROOT_SPARE_BYTES;
  const rootBytes = Math.ceil(wanted / (4 * MIB)) * 4 * MIB;
  await (await open(image, 'w')).close();
  await truncate(image, rootOffset + rootBytes);
  const table = [
    'label: dos',
    `label-id: ${DISK.diskId}`,
    `start=${DISK.boot.startSector}, size=${DISK.boot.sectors}, type=c, bootable`,
    `start=${rootStartSector}, size=${rootBytes / sectorBytes}, type=83`,
    '',
  ].join('\n');
  await run(['sfdisk', '--quiet', '--no-tell-kernel', image], { limitMs: MINUTES_MS, signal, stdin: table });
  await writeBoot(options);
  await writeRoot(options, rootBytes);
  return { rootBytes };
}

async function writeBoot({ image, boot, epoch, signal }: DiskOptions): Promise<void> {
  const kibibytes = String((DISK.boot.sectors * sectorBytes) / 1024);
  // One sector a cluster: with more, 256 MB have too few of them for FAT32, and mtools refuses it.
  const format = ['-F', '32', '-s', '1', '-n', DISK.boot.label, '-i', DISK.boot.volumeId, '--invariant'];
  const place = ['--offset', String(DISK.boot.startSector), '-h', String(DISK.boot.startSector)];
  await run(['mkfs.vfat', ...format, ...place, image, kibibytes], { limitMs: MINUTES_MS, signal });
  const env = { SOURCE_DATE_EPOCH: String(epoch), TZ: 'UTC' };
  // One after the other in the order of their names: a folder's own order is an accident.
  const names = (await readdir(boot)).sort();
  for (const name of names) await utimes(`${boot}/${name}`, epoch, epoch);
  const target = `${image}@@${bootOffset}`;
  const paths = names.map(name => `${boot}/${name}`);
  await run(['mcopy', '-s', '-p', '-m', '-i', target, ...paths, '::'], { limitMs: 5 * MINUTES_MS, signal, env });
  const listed = await run(['mdir', '-b', '-i', target, '::'], { limitMs: MINUTES_MS, signal, env });
  const missing = names.filter(name => !listed.includes(`::/${name}`));
  if (missing.length > 0) throw new PiSwarmError('failure', `the boot partition lacks ${missing.join(', ')}`);
}

async function writeRoot({ image, root, epoch, signal }: DiskOptions, rootBytes: number): Promise<void> {
  const extended = [
    `offset=${rootOffset}`,
    `hash_seed=${DISK.root.hashSeed}`,
    // The file is new and all zeros: nothing of it has to be written.
    ...['assume_storage_prezeroed=1', 'nodiscard', 'lazy_itable_init=0', 'lazy_journal_init=0'],
  ];
  await run(
    [
      'mke2fs',
      ...['-q', '-F', '-t', 'ext4', '-b', '4096', '-m', '1', '-e', 'remount-ro'],
      ...['-L', DISK.root.label, '-U', DISK.root.uuid, '-E', extended.join(','), '-d', root],
      ...[image, String(rootBytes / 4096)],
    ],
    { limitMs: 15 * MINUTES_MS, signal, env: fixedTime(epoch) },
  );
  await setTimes(image, epoch, signal);
}

const fixedTime = (epoch: number): Record<string, string> => ({
  SOURCE_DATE_EPOCH: String(epoch),
  E2FSPROGS_FAKE_TIME: String(epoch),
});

/** mke2fs takes over when each file was last changed in this build (ctime), which nothing can set beforehand. */
async function setTimes(image: string, epoch: number, signal: AbortSignal): Promise<void> {
  const target = `${image}?offset=${rootOffset}`;
  const options = { limitMs: 10 * MINUTES_MS, signal, env: fixedTime(epoch) };
  const inodes = usedInodes(await run(['dumpe2fs', target], { ...options, whole: true }));
  const commands = inodes.flatMap(inode =>
    ['ctime', 'crtime', 'atime'].map(field => `sif <${inode}> ${field} @${epoch}`),
  );
  await run(['debugfs', '-w', '-f', '-', target], { ...options, stdin: `${commands.join('\n')}\n` });
}

/** All inodes but those that dumpe2fs(8) lists as free, group by group. Pure. @throws PiSwarmError */
export function usedInodes(dump: string): number[] {
  const total = Number(/^Inode count:\s+(\d+)$/m.exec(dump)?.[1]);
  if (!Number.isInteger(total)) throw new PiSwarmError('failure', 'dumpe2fs did not say how many inodes there are');
  const free = new Set<number>();
  for (const [, ranges = ''] of dump.matchAll(/^ +Free inodes: ([\d, -]+)$/gm)) {
    for (const range of ranges.split(', ')) {
      const [first = 0, last = first] = range.split('-').map(Number);
      for (let inode = first; inode <= last; inode++) free.add(inode);
    }
  }
  return Array.from({ length: total }, (_, index) => index + 1).filter(inode => !free.has(inode));
}
