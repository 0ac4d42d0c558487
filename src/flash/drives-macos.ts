/** Drives as macOS's `diskutil` knows them, its property lists turned into JSON by `plutil`. */
import { printable } from '../printable.ts';
import type { Drive, FoundDrives } from './drives.ts';

interface MacPart {
  DeviceIdentifier: string;
  Size?: number;
  Content?: string;
  VolumeName?: string;
  MountPoint?: string;
}

interface MacList {
  AllDisksAndPartitions: (MacPart & { Partitions?: MacPart[]; APFSVolumes?: MacPart[] })[];
}

interface MacInfo {
  DeviceIdentifier: string;
  MediaName?: string;
  Size?: number;
  Internal?: boolean;
  RemovableMediaOrExternalDevice?: boolean;
  RemovableMedia?: boolean;
  WritableMedia?: boolean;
  VirtualOrPhysical?: string;
}

type Output = (program: string, args: readonly string[]) => Promise<string>;

/** diskutil writes XML; plutil reads a file, and this one comes from a shell's pipe. */
const asJson = async (output: Output, words: string): Promise<unknown> =>
  JSON.parse(await output('/bin/sh', ['-c', `diskutil ${words} | plutil -convert json -o - -`]));

export async function macDrives(output: Output): Promise<FoundDrives> {
  const list = (await asJson(output, 'list -plist physical')) as MacList;
  const infos: MacInfo[] = [];
  for (const { DeviceIdentifier } of list.AllDisksAndPartitions) {
    if (/^disk\d+$/.test(DeviceIdentifier))
      infos.push((await asJson(output, `info -plist ${DeviceIdentifier}`)) as MacInfo);
  }
  return drivesFromDiskutil(list, infos);
}

/** Pure. What is built in counts as the system's: macOS runs from containers that do not show on the physical disk. */
export function drivesFromDiskutil(list: MacList, infos: readonly MacInfo[]): FoundDrives {
  const diskOfPart = new Map<string, string>();
  const drives = list.AllDisksAndPartitions.map((disk): Drive => {
    const info = infos.find(({ DeviceIdentifier }) => DeviceIdentifier === disk.DeviceIdentifier);
    const path = `/dev/${disk.DeviceIdentifier}`;
    const parts = [...(disk.Partitions ?? []), ...(disk.APFSVolumes ?? [])];
    for (const { DeviceIdentifier } of parts) diskOfPart.set(`/dev/${DeviceIdentifier}`, path);
    const removable = info?.RemovableMediaOrExternalDevice ?? info?.RemovableMedia ?? info?.Internal === false;
    const mountPoints = [disk, ...parts].flatMap(({ MountPoint }) => (MountPoint === undefined ? [] : [MountPoint]));
    return {
      path,
      model: printable(info?.MediaName ?? ''),
      sizeBytes: info?.Size ?? disk.Size ?? 0,
      removable,
      readOnly: info?.WritableMedia === false,
      virtual: info?.VirtualOrPhysical === 'Virtual',
      systemUses: removable ? mountPoints.filter(point => point === '/') : ['the system of this computer'],
      mountPoints,
      parts: parts.map(part => ({
        path: `/dev/${part.DeviceIdentifier}`,
        sizeBytes: part.Size ?? 0,
        label: printable(part.VolumeName ?? ''),
        fileSystem: part.Content ?? '',
        mountPoints: part.MountPoint === undefined ? [] : [part.MountPoint],
      })),
    };
  });
  return { drives, diskOfPart };
}
