/** Drives as `lsblk` (util-linux 2.37 and newer) and /sys know them. */
import { readFile } from 'node:fs/promises';
import { EnvironmentError } from '../errors.ts';
import { printable } from '../printable.ts';
import type { Drive, DrivePart, FoundDrives } from './drives.ts';

/** NAME makes lsblk nest parts below their disks. */
const COLUMNS = 'NAME,PATH,SIZE,VENDOR,MODEL,TRAN,RM,HOTPLUG,RO,TYPE,MOUNTPOINTS,FSTYPE,LABEL';

interface Block {
  path: string;
  size: number;
  vendor: string | null;
  model: string | null;
  tran: string | null;
  rm: boolean;
  hotplug: boolean;
  ro: boolean;
  type: string;
  mountpoints: (string | null)[];
  fstype: string | null;
  label: string | null;
  children?: Block[];
}

/** Where a running system lives; a card with one of these on it is not just a card. */
const SYSTEM = /^\/$|^\/(boot|usr|var|home|etc|opt|srv|nix|root)(\/|$)/;
/** What desktops and people mount cards to. */
const FOR_CARDS = /^\/(media|mnt|run\/media)(\/|$)/;

export async function linuxDrives(
  output: (program: string, args: readonly string[]) => Promise<string>,
): Promise<FoundDrives> {
  const text = await output('lsblk', ['--json', '--bytes', '--output', COLUMNS]);
  const sdCards = new Set<string>();
  for (const name of text.matchAll(/"\/dev\/(mmcblk\d+)"/g)) {
    // An SD card, not a soldered eMMC.
    const kind = await readFile(`/sys/block/${name[1]}/device/type`, 'utf8').catch(() => '');
    if (kind.trim() === 'SD') sdCards.add(`/dev/${name[1]}`);
  }
  return drivesFromLsblk(text, sdCards);
}

/** Pure. @param sdCards paths of those that sit in a slot for SD cards: the kernel calls them not removable */
export function drivesFromLsblk(text: string, sdCards: ReadonlySet<string>): FoundDrives {
  let blocks: Block[];
  try {
    blocks = (JSON.parse(text) as { blockdevices: Block[] }).blockdevices;
  } catch {
    throw new EnvironmentError('lsblk told nothing that can be read', 'It has to be util-linux 2.37 or newer.');
  }
  const diskOfPart = new Map<string, string>();
  const drives = blocks
    // eMMC has small boot areas that are no disks.
    .filter(
      ({ type, path }) => ['disk', 'loop'].includes(type) && !/\/(zram|ram|mmcblk\d+boot|mmcblk\d+rpmb)\d*$/.test(path),
    )
    .map(block => {
      for (const child of below(block)) diskOfPart.set(child.path, block.path);
      return driveOf(block, sdCards);
    });
  return { drives, diskOfPart };
}

function driveOf(block: Block, sdCards: ReadonlySet<string>): Drive {
  const all = [block, ...below(block)];
  const mounts = [...new Set(all.flatMap(mountsOf))];
  const points = mounts.filter(point => point !== '[SWAP]');
  const isCard = sdCards.has(block.path);
  const systemUses = mounts.filter(point => point === '[SWAP]' || (SYSTEM.test(point) && !FOR_CARDS.test(point)));
  return {
    path: block.path,
    model:
      printable(
        [block.vendor, block.model]
          .map(word => word?.trim() ?? '')
          .join(' ')
          .trim(),
      ) || (isCard ? 'SD card' : ''),
    sizeBytes: block.size,
    removable: block.rm || block.hotplug || block.tran === 'usb' || isCard,
    readOnly: block.ro,
    virtual: block.type === 'loop',
    systemUses: systemUses.map(point => (point === '[SWAP]' ? 'the swap space' : point)),
    mountPoints: points,
    parts: (block.children ?? []).map(partOf),
  };
}

const partOf = (block: Block): DrivePart => ({
  path: block.path,
  sizeBytes: block.size,
  label: printable(block.label ?? ''),
  fileSystem: block.fstype ?? '',
  mountPoints: mountsOf(block),
});

const below = (block: Block): Block[] => (block.children ?? []).flatMap(child => [child, ...below(child)]);

const mountsOf = (block: Block): string[] => block.mountpoints.filter(point => point !== null);
