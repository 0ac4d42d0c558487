/**
 * What must be true of every image before it leaves: the build looks, and the tests look again at the finished file. Each
 * check gives its complaints as sentences; none is good.
 */
import { lstat, readdir, readFile } from 'node:fs/promises';
import { PiSwarmError } from '../src/errors.ts';
import { rootOffset } from './disk.ts';
import { initrdNames } from './initrd.ts';
import { DISK, INITRD_MODULES } from './recipe.ts';
import { run } from './tools.ts';
import { walk } from './tree.ts';

const MINUTES_MS = 60_000;

/** The programs that Debian gives the rights of their owner or group, and no others. */
const PRIVILEGED = new Set([
  ...['usr/bin/chfn', 'usr/bin/chsh', 'usr/bin/gpasswd', 'usr/bin/mount', 'usr/bin/newgrp', 'usr/bin/passwd'],
  ...['usr/bin/su', 'usr/bin/sudo', 'usr/bin/umount', 'usr/bin/chage', 'usr/bin/expiry', 'usr/bin/ssh-agent'],
  ...['usr/sbin/unix_chkpwd', 'usr/lib/openssh/ssh-keysign', 'usr/lib/dbus-1.0/dbus-daemon-launch-helper'],
  ...['usr/lib/polkit-1/polkit-agent-helper-1', 'usr/bin/pkexec'],
]);

export interface Parts {
  /** The whole image. */
  image: string;
  /** Its two partitions as folders. */
  root: string;
  boot: string;
  /** Seconds since 1970: the image's own time. */
  epoch: number;
  signal: AbortSignal;
}

/** @throws PiSwarmError with all complaints */
export async function checkBuilt(parts: Parts): Promise<void> {
  const { image, root, boot, epoch, signal } = parts;
  const content = [bootFiles(boot), initrdModules(boot), identities(root), privileges(root), younger(root, epoch)];
  const checks = [fileSystems(image, signal), ...content];
  const complaints = (await Promise.all(checks)).flat();
  if (complaints.length > 0) throw new PiSwarmError('failure', ['the image is not right:', ...complaints].join('\n  '));
}

/** Both file systems as their own checkers see them. */
export async function fileSystems(image: string, signal: AbortSignal): Promise<string[]> {
  const options = { limitMs: 10 * MINUTES_MS, signal };
  const boot = `${image}.boot`;
  const { startSector, sectors } = DISK.boot;
  const copy = [`if=${image}`, `of=${boot}`, 'bs=1M', 'iflag=skip_bytes,count_bytes', 'conv=sparse', 'status=none'];
  const range = [`skip=${startSector * DISK.sectorBytes}`, `count=${sectors * DISK.sectorBytes}`];
  const said = (what: string) => (error: unknown) => [`${what}: ${error instanceof Error ? error.message : error}`];
  const clean = () => [];
  const ext4 = run(['e2fsck', '-fn', `${image}?offset=${rootOffset}`], options).then(clean, said('root partition'));
  await run(['dd', ...copy, ...range], options);
  const fat = run(['fsck.vfat', '-n', boot], options)
    .then(clean, said('boot partition'))
    .finally(() => run(['rm', '-f', boot], options));
  return [...(await ext4), ...(await fat)];
}

/** What config.txt names: kernel and initrd. Pure. */
export function bootNames(config: string): { kernel: string; initrd: string } {
  const kernel = /^kernel=(\S+)$/m.exec(config)?.[1] ?? '';
  const initrd = /^initramfs (\S+)/m.exec(config)?.[1] ?? '';
  return { kernel, initrd };
}

/** Everything that the firmware reads is there, and the kernel is told the right root. */
export async function bootFiles(boot: string): Promise<string[]> {
  const names = new Set(await readdir(boot));
  const { kernel, initrd } = bootNames(await readFile(`${boot}/config.txt`, 'utf8'));
  const commandLine = await readFile(`${boot}/cmdline.txt`, 'utf8');
  const ours = ['pi-swarm.yaml', 'user-data', 'meta-data', 'network-config', 'pi-swarm-image.json'];
  const needed = [kernel, initrd, 'bootcode.bin', 'start.elf', 'fixup.dat', ...ours];
  const missing = needed.filter(name => !names.has(name)).map(name => `the boot partition lacks "${name}"`);
  const trees = [...names].filter(name => /^bcm.*\.dtb$/.test(name));
  if (trees.length === 0) missing.push('the boot partition has no device tree of any board');
  const root = `root=LABEL=${DISK.root.label}`;
  if (!commandLine.split(/\s+/).includes(root)) missing.push(`cmdline.txt has no ${root}: ${commandLine.trim()}`);
  return missing;
}

/** On the wrong file system, initramfs-tools under qemu leaves out most modules and says nothing. */
export async function initrdModules(boot: string): Promise<string[]> {
  const { initrd } = bootNames(await readFile(`${boot}/config.txt`, 'utf8'));
  const files = await initrdNames(`${boot}/${initrd}`);
  const there = (name: string) => new RegExp(`/${name.replace(/[-_]/g, '[-_]')}\\.ko`);
  return INITRD_MODULES.filter(name => !files.some(file => there(name).test(file))).map(
    name => `the initrd lacks the module ${name}`,
  );
}

/** Nothing in it that has to differ from card to card, no key, no password, no trace of the machine that built it. */
export async function identities(root: string): Promise<string[]> {
  const complaints: string[] = [];
  const text = (path: string) => readFile(`${root}/${path}`, 'utf8').catch(() => undefined);
  if ((await text('etc/machine-id')) !== '') complaints.push('/etc/machine-id is not empty');
  const unwanted = [
    ...['etc/pi-swarm/secret', 'var/lib/pi-swarm/node.key', 'var/lib/docker/engine-id', 'var/lib/docker/swarm'],
    ...['var/lib/systemd/random-seed', 'etc/hostname', 'root/.ssh', 'home/pi', 'etc/apt/sources.list'],
    ...['etc/apt/apt.conf.d/99mmdebstrap', 'var/lib/cloud/instance'],
  ];
  for (const path of unwanted) if (await exists(`${root}/${path}`)) complaints.push(`/${path} is there`);
  for (const name of await readdir(`${root}/etc/ssh`)) {
    if (/^ssh_host_.*key/.test(name)) complaints.push(`/etc/ssh/${name} is there`);
  }
  for (const line of ((await text('etc/shadow')) ?? '').split('\n')) {
    const [name, password = ''] = line.split(':');
    if (name !== '' && !/^[!*]/.test(password)) complaints.push(`${name} has a password, or none is asked of it`);
  }
  for (const name of await readdir(`${root}/etc/apt/sources.list.d`)) {
    const sources = (await text(`etc/apt/sources.list.d/${name}`)) ?? '';
    const foreign = [...sources.matchAll(/https?:\/\/([^/\s]+)/g)].filter(([, host]) => host !== 'deb.debian.org');
    if (foreign.length > 0) complaints.push(`/etc/apt/sources.list.d/${name} names ${foreign[0]?.[1]}`);
  }
  return complaints;
}

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

/** No program with more rights than Debian gives it, nothing that everybody may change. */
export async function privileges(root: string): Promise<string[]> {
  const complaints: string[] = [];
  for await (const { path, found } of walk(root)) {
    if (found.isSymbolicLink()) continue;
    const special = found.isFile() && (found.mode & 0o6000) !== 0;
    if (special && !PRIVILEGED.has(path)) complaints.push(`/${path} runs with the rights of its owner or group`);
    const everybody = (found.mode & 0o002) !== 0 && !(found.isDirectory() && (found.mode & 0o1000) !== 0);
    if (everybody && !found.isCharacterDevice()) complaints.push(`everybody may write /${path}`);
  }
  return complaints;
}

/** Nothing has a time of the build: the same inputs would make another image. */
export async function younger(root: string, epoch: number): Promise<string[]> {
  const complaints: string[] = [];
  for await (const { path, found } of walk(root)) {
    if (found.mtimeMs > epoch * 1000) complaints.push(`/${path} has the time of the build`);
  }
  return complaints;
}
