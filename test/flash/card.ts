/** Small images of cards with the layout of the real ones, made by Debian's own tools, which also judge ours. */
import { execFileSync } from 'node:child_process';
import { constants, copyFileSync, existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const BOOT_OFFSET = 8192 * 512;
/** FAT32 needs 65525 clusters: with one sector each that is 34 MB with the tables. */
export const BOOT_MEGABYTES = 35;
const ROOT_MEGABYTES = 4;

/** Runs a program; its standard error is part of the message when it fails. */
export const tool = (program: string, args: readonly string[], input?: string): string =>
  execFileSync(program, args, {
    input,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 60_000,
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin`, MTOOLS_SKIP_CHECK: '1' },
  });

export const IMAGE_INFO = {
  name: 'pi-swarm-armhf',
  version: '0.1.0',
  architecture: 'armhf',
  boards: ['pi2', 'pi3', 'pi3+', 'cm3'],
  builtAt: '2026-11-26T08:00:00Z',
};

export const BOOT_FILES: Record<string, string> = {
  'config.txt': 'kernel=vmlinuz\n',
  'user-data': '#cloud-config\n# Settings of cloud-init: hostname, users, keys.\n',
  'meta-data': 'instance-id: pi-swarm-image\n',
  'network-config': 'version: 2\nethernets:\n  wired:\n    match: {name: "e*"}\n    dhcp4: true\n    optional: true\n',
  'pi-swarm.yaml': '# Settings of pi-swarm.\n#managers: auto\n',
  'pi-swarm-image.json': JSON.stringify(IMAGE_INFO),
};

/** Everything a test makes, in one folder that goes away with it; in memory, where a sync to disk costs nothing. */
export class Workshop {
  readonly folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'pi-swarm-flash-'));
  readonly #made = new Map<string, string>();

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, content: string | Uint8Array): string {
    writeFileSync(this.path(name), content);
    return this.path(name);
  }

  /** An image as the recipe makes it: MBR, FAT32 from sector 8192, then ext4. Made once, then copied. */
  image(name = 'pi-swarm-armhf.img', files: Record<string, string> = BOOT_FILES): string {
    const key = JSON.stringify(files);
    const made = this.#made.get(key);
    if (made === undefined) this.#made.set(key, this.#make(`made-${this.#made.size}.img`, files));
    copyFileSync(this.#made.get(key) ?? '', this.path(name), constants.COPYFILE_FICLONE);
    return this.path(name);
  }

  #make(name: string, files: Record<string, string>): string {
    const path = this.path(name);
    const bootBytes = BOOT_MEGABYTES * 1024 * 1024;
    writeFileSync(path, '');
    truncateSync(path, BOOT_OFFSET + bootBytes + ROOT_MEGABYTES * 1024 * 1024);
    const sectors = bootBytes / 512;
    tool(
      'sfdisk',
      ['-q', path],
      `label: dos\nstart=8192, size=${sectors}, type=c, bootable\nstart=${8192 + sectors}, type=83\n`,
    );
    tool('mkfs.vfat', ['-F', '32', '-s', '1', '-n', 'PISWARM', '--offset', '8192', path, `${bootBytes / 1024}`]);
    tool('mke2fs', ['-q', '-F', '-t', 'ext4', '-E', `offset=${BOOT_OFFSET + bootBytes}`, path, `${ROOT_MEGABYTES}m`]);
    for (const [file, content] of Object.entries(files)) {
      tool('mcopy', ['-i', `${path}@@${BOOT_OFFSET}`, this.write('boot-file', content), `::${file}`]);
    }
    return path;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A file on the boot partition, read by mtools. */
export const bootFile = (card: string, file: string): string =>
  tool('mcopy', ['-i', `${card}@@${BOOT_OFFSET}`, `::${file}`, '-']);

/** What fsck.vfat says about the boot partition; empty when it is clean. */
export function damageOf(card: string): string {
  const copy = `${card}.fsck`;
  try {
    const megabytes = String(BOOT_MEGABYTES);
    tool('dd', [`if=${card}`, `of=${copy}`, 'bs=1M', 'skip=4', `count=${megabytes}`, 'status=none']);
    tool('fsck.vfat', ['-n', copy]);
    return '';
  } catch (error) {
    return String((error as { stdout?: string }).stdout ?? error);
  } finally {
    rmSync(copy, { force: true });
  }
}
