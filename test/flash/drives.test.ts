/** Which drives are listed, and which are refused: from what lsblk and diskutil say. */
import { describe, expect, test } from 'vitest';
import { cardsAmong, checkDrive, type Drive, type FoundDrives, sizeText } from '../../src/flash/drives.ts';
import { drivesFromLsblk } from '../../src/flash/drives-linux.ts';
import { drivesFromDiskutil } from '../../src/flash/drives-macos.ts';
import { choiceLines, lossLines } from '../../src/flash/words.ts';

const block = (path: string, more: object = {}) => ({
  ...{
    name: path.slice(5),
    path,
    size: 32e9,
    vendor: null,
    model: null,
    tran: null,
    rm: false,
    hotplug: false,
    ro: false,
  },
  ...{ type: 'disk', mountpoints: [null], fstype: null, label: null },
  ...more,
});

/** A laptop: NVMe with the system in LUKS and LVM, a card reader with a card and an empty slot, a stick, eMMC, a loop device. */
const LAPTOP = JSON.stringify({
  blockdevices: [
    block('/dev/nvme0n1', {
      size: 512e9,
      model: 'Samsung SSD',
      tran: 'nvme',
      children: [
        block('/dev/nvme0n1p1', { type: 'part', mountpoints: ['/boot/efi'], fstype: 'vfat' }),
        block('/dev/nvme0n1p2', {
          type: 'part',
          children: [
            block('/dev/mapper/crypt', {
              type: 'crypt',
              children: [
                block('/dev/mapper/vg-root', { type: 'lvm', mountpoints: ['/'] }),
                block('/dev/mapper/vg-swap', { type: 'lvm', mountpoints: ['[SWAP]'] }),
              ],
            }),
          ],
        }),
      ],
    }),
    block('/dev/sda', {
      ...{ vendor: 'Generic ', model: 'STORAGE DEVICE', tran: 'usb', rm: true, hotplug: true, size: 31914983424 },
      children: [
        block('/dev/sda1', {
          type: 'part',
          size: 268435456,
          fstype: 'vfat',
          label: 'PISWARM',
          mountpoints: ['/media/ada/PISWARM'],
        }),
        block('/dev/sda2', { type: 'part', size: 31e9, fstype: 'ext4', label: 'odd\u001b[2Jname' }),
      ],
    }),
    block('/dev/sdb', { model: 'Reader', tran: 'usb', rm: true, size: 0 }),
    block('/dev/sdc', { model: 'SanDisk SSD', tran: 'usb', hotplug: true }),
    block('/dev/sdd', { model: 'Old disk', tran: 'sata' }),
    block('/dev/mmcblk0', { size: 64e9 }),
    block('/dev/mmcblk1', { size: 16e9 }),
    block('/dev/mmcblk1boot0', { size: 4e6, ro: true }),
    block('/dev/loop0', { type: 'loop' }),
    block('/dev/zram0', { mountpoints: ['[SWAP]'] }),
    block('/dev/sr0', { type: 'rom', rm: true }),
  ],
});

const laptop = drivesFromLsblk(LAPTOP, new Set(['/dev/mmcblk0']));
const drive = (path: string, found: FoundDrives = laptop): Drive => {
  const one = found.drives.find(candidate => candidate.path === path);
  if (one === undefined) throw new Error(`no ${path}`);
  return one;
};

describe('on Linux', () => {
  test('only cards and sticks are offered, with what is on them', () => {
    expect(cardsAmong(laptop).map(({ path }) => path)).toEqual(['/dev/sda', '/dev/sdc', '/dev/mmcblk0']);
    expect(choiceLines(cardsAmong(laptop))).toEqual([
      ' 1  /dev/sda  Generic STORAGE DEVICE  31.9 GB',
      '        /dev/sda1  PISWARM  vfat  268 MB  mounted on /media/ada/PISWARM',
      '        /dev/sda2  odd\ufffd[2Jname  ext4  31.0 GB',
      ' 2  /dev/sdc  SanDisk SSD  32.0 GB',
      '        (no partitions)',
      ' 3  /dev/mmcblk0  SD card  64.0 GB',
      '        (no partitions)',
    ]);
  });

  test('the disk of the system is known through LUKS and LVM, and is never written', () => {
    expect(() => checkDrive(drive('/dev/nvme0n1'), 1e9, true)).toThrow(
      '/dev/nvme0n1 is a disk of this computer: /boot/efi, / and the swap space are on it',
    );
  });

  test('a mounted card is refused with the line that unmounts it, unless that is asked for', () => {
    expect(() => checkDrive(drive('/dev/sda'), 1e9, false)).toThrow(
      expect.objectContaining({
        message: '/dev/sda is mounted: /media/ada/PISWARM',
        cure: expect.stringContaining('--unmount; or by hand: umount /media/ada/PISWARM'),
      }),
    );
    expect(() => checkDrive(drive('/dev/sda'), 1e9, true)).not.toThrow();
  });

  test('too small, read-only and empty are refused', () => {
    expect(() => checkDrive(drive('/dev/mmcblk0'), 65e9, false)).toThrow(
      '/dev/mmcblk0 is too small: it holds 64.0 GB, the image needs 65.0 GB',
    );
    expect(() => checkDrive({ ...drive('/dev/mmcblk0'), readOnly: true }, 1e9, false)).toThrow(
      '/dev/mmcblk0 is read-only',
    );
    expect(() => checkDrive(drive('/dev/sdb'), 1e9, false)).toThrow('there is no card in /dev/sdb');
    expect(() => checkDrive(drive('/dev/mmcblk0'), undefined, false)).not.toThrow();
  });

  test('parts are told from disks, at any depth', () => {
    expect(laptop.diskOfPart.get('/dev/sda1')).toBe('/dev/sda');
    expect(laptop.diskOfPart.get('/dev/mapper/vg-root')).toBe('/dev/nvme0n1');
    expect(laptop.drives.map(({ path }) => path)).not.toContain('/dev/zram0');
    expect(laptop.drives.map(({ path }) => path)).not.toContain('/dev/mmcblk1boot0');
  });

  test('a disk that is built in is neither a card nor virtual', () => {
    const { removable, virtual } = drive('/dev/sdd');
    expect([removable, virtual, drive('/dev/loop0').virtual]).toEqual([false, false, true]);
  });

  test('what an old lsblk says is no reason to guess', () => {
    expect(() => drivesFromLsblk('NAME SIZE', new Set())).toThrow(/lsblk told nothing that can be read/);
  });
});

test('on macOS only external disks are offered', () => {
  const found = drivesFromDiskutil(
    {
      AllDisksAndPartitions: [
        { DeviceIdentifier: 'disk0', Size: 500e9, Partitions: [{ DeviceIdentifier: 'disk0s1', Content: 'EFI' }] },
        {
          DeviceIdentifier: 'disk4',
          Size: 31914983424,
          Partitions: [
            {
              DeviceIdentifier: 'disk4s1',
              Content: 'Windows_FAT_32',
              Size: 268435456,
              VolumeName: 'PISWARM',
              MountPoint: '/Volumes/PISWARM',
            },
            { DeviceIdentifier: 'disk4s2', Content: 'Linux', Size: 31e9 },
          ],
        },
      ],
    },
    [
      { DeviceIdentifier: 'disk0', MediaName: 'APPLE SSD', Internal: true, RemovableMediaOrExternalDevice: false },
      {
        DeviceIdentifier: 'disk4',
        MediaName: 'SD Card Reader',
        Size: 31914983424,
        Internal: true,
        RemovableMediaOrExternalDevice: true,
      },
    ],
  );
  expect(cardsAmong(found).map(({ path, model }) => [path, model])).toEqual([['/dev/disk4', 'SD Card Reader']]);
  expect(found.diskOfPart.get('/dev/disk4s1')).toBe('/dev/disk4');
  expect(() => checkDrive(drive('/dev/disk0', found), 1e9, true)).toThrow(/is a disk of this computer/);
  expect(() => checkDrive(drive('/dev/disk4', found), 1e9, false)).toThrow('/dev/disk4 is mounted: /Volumes/PISWARM');
});

test('what is lost is shown before it is', () => {
  expect(lossLines({ kind: 'drive', path: '/dev/sdc', drive: drive('/dev/sdc') })).toEqual([
    '/dev/sdc  SanDisk SSD  32.0 GB',
    '    (no partitions)',
    'Everything on /dev/sdc will be lost.',
  ]);
  expect(lossLines({ kind: 'file', path: 'card.img', sizeBytes: undefined })).toEqual([]);
  expect(lossLines({ kind: 'file', path: 'card.img', sizeBytes: 55e6 })).toEqual([
    'card.img exists (55 MB) and will be overwritten.',
  ]);
  expect([sizeText(900), sizeText(268435456), sizeText(31914983424)]).toEqual(['1 kB', '268 MB', '31.9 GB']);
});
