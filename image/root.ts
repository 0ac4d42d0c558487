/** The root file system: the base, our files and the agent over it, and away with all that must differ from card to card. */
import { cp, lutimes, mkdir, readdir, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEBIAN, DEBIAN_SECURITY } from './mirror.ts';
import { COMPONENTS, DPKG_OPTIONS, SUITE, UPDATE_INITRAMFS } from './recipe.ts';
import { run } from './tools.ts';
import { walk } from './tree.ts';

const CHROOT_LIMIT_MS = 15 * 60_000;

const ENABLED = ['systemd-networkd', 'systemd-resolved', 'systemd-timesyncd', 'ssh', 'docker', 'avahi-daemon'];
/** They fetch and write while nobody asked for it. */
const DISABLED = ['apt-daily.timer', 'apt-daily-upgrade.timer', 'e2scrub_all.timer', 'dpkg-db-backup.timer'];

/** Would be the same on every card, or name the machine that built the image. A folder with a slash is emptied only. */
const REMOVED = [
  ...['etc/hostname', 'etc/resolv.conf', 'var/lib/dbus/machine-id', 'var/lib/systemd/random-seed', 'var/lib/cloud/'],
  ...['etc/apt/apt.conf.d/99mmdebstrap', 'etc/apt/sources.list', 'etc/apt/sources.list.d/', 'etc/apt/auth.conf.d/'],
  ...['var/log/', 'var/cache/apt/', 'var/lib/apt/lists/', 'var/cache/ldconfig/', 'var/tmp/'],
  ...['var/cache/debconf/config.dat-old', 'var/cache/debconf/templates.dat-old'],
  ...['tmp/', 'run/', 'root/', 'var/backups/', 'etc/.pwd.lock', 'etc/netplan/', 'var/lib/systemd/timesync/'],
  // Copies that programs make of what they changed.
  ...['etc/passwd-', 'etc/group-', 'etc/shadow-', 'etc/gshadow-', 'etc/subuid-', 'etc/subgid-'],
  ...[
    'var/lib/dpkg/status-old',
    'var/lib/dpkg/available-old',
    'var/lib/dpkg/diversions-old',
    'var/lib/dpkg/statoverride-old',
  ],
];

export interface RootOptions {
  root: string;
  /** The project's folder. */
  project: string;
  /** The agent's package. */
  deb: string;
  /** Seconds since 1970, for what the programs date. */
  epoch: number;
  signal: AbortSignal;
}

/** @throws PiSwarmError where the package does not install */
export async function finishRoot(options: RootOptions): Promise<void> {
  const { root, project, deb, epoch, signal } = options;
  await cp(`${project}/image/files`, root, { recursive: true, force: true });
  const unit = 'pi-swarm-first-boot.service';
  await cp(`${project}/systemd/${unit}`, `${root}/usr/lib/systemd/system/${unit}`);
  await cp(deb, `${root}/tmp/pi-swarm.deb`);
  const env = { SOURCE_DATE_EPOCH: String(epoch), DEBIAN_FRONTEND: 'noninteractive', PATH: '/usr/sbin:/usr/bin' };
  // Nothing may start in the chroot (invoke-rc.d asks this program).
  await writeFile(`${root}/usr/sbin/policy-rc.d`, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  const chroot = (...argv: string[]) => run(['chroot', root, ...argv], { limitMs: CHROOT_LIMIT_MS, signal, env });
  await run(['mount', '-t', 'proc', 'proc', `${root}/proc`], { limitMs: 10_000, signal });
  try {
    await chroot('dpkg', '--install', '/tmp/pi-swarm.deb');
    await chroot('systemctl', 'enable', ...ENABLED, 'pi-swarm', 'pi-swarm-first-boot');
    await chroot('systemctl', 'disable', ...DISABLED);
  } finally {
    await run(['umount', `${root}/proc`], { limitMs: 10_000, signal: new AbortController().signal });
  }
  await rm(`${root}/usr/sbin/policy-rc.d`);
  await forget(root);
  await writeSources(root);
  await writeFile(`${root}/${UPDATE_INITRAMFS}`, 'update_initramfs=yes\nbackup_initramfs=no\n');
  // PID 1 sets a clock that is behind to the time of this file (systemd(1)): the time of the build.
  await writeFile(`${root}/usr/lib/clock-epoch`, '');
}

/** What must be unique is made at the first boot; what belongs to the machine that built stays there. */
async function forget(root: string): Promise<void> {
  for (const path of REMOVED) {
    if (!path.endsWith('/')) await rm(`${root}/${path}`, { force: true });
    else
      for (const name of await namesIn(`${root}/${path}`))
        await rm(join(root, path, name), { recursive: true, force: true });
  }
  for (const name of await namesIn(`${root}/etc/ssh`)) {
    if (/^ssh_host_.*_key(\.pub)?$/.test(name)) await rm(`${root}/etc/ssh/${name}`);
  }
  // Empty, not absent: PID 1 then makes one and keeps it, without the questions of a «first boot» (machine-id(5)).
  await writeFile(`${root}/etc/machine-id`, '');
  await mkdir(`${root}/var/lib/dbus`, { recursive: true });
  await symlink('/etc/machine-id', `${root}/var/lib/dbus/machine-id`);
  await symlink('../run/systemd/resolve/resolv.conf', `${root}/etc/resolv.conf`);
  for (const name of await namesIn(`${root}/boot`)) if (name.endsWith('.dpkg-bak')) await rm(`${root}/boot/${name}`);
  // apt and the journal want their folders, empty.
  for (const path of ['var/cache/apt/archives/partial', 'var/lib/apt/lists/partial', 'var/log/apt']) {
    await mkdir(`${root}/${path}`, { recursive: true });
  }
}

const namesIn = (path: string): Promise<string[]> => readdir(path).catch(() => []);

async function writeSources(root: string): Promise<void> {
  const stanza = (uri: string, suites: string) =>
    [
      'Types: deb',
      `URIs: ${uri}`,
      `Suites: ${suites}`,
      `Components: ${COMPONENTS.join(' ')}`,
      'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg',
      '',
    ].join('\n');
  const text = [stanza(DEBIAN, `${SUITE} ${SUITE}-updates`), stanza(DEBIAN_SECURITY, `${SUITE}-security`)].join('\n');
  await writeFile(`${root}/etc/apt/sources.list.d/debian.sources`, text);
  // An upgrade brings back no manual pages; but it does ask about settings that were changed.
  await rm(`${root}/etc/dpkg/dpkg.cfg.d/99mmdebstrap`, { force: true });
  await writeFile(`${root}/etc/dpkg/dpkg.cfg.d/pi-swarm`, `${DPKG_OPTIONS.join('\n')}\n`);
}

/** The last thing that is done to it: times of the build would make each image another one. */
export async function notYoungerThan(root: string, epoch: number): Promise<void> {
  for await (const { path, found } of walk(root)) {
    if (found.mtimeMs <= epoch * 1000 && found.atimeMs <= epoch * 1000) continue;
    const mtime = Math.min(Math.floor(found.mtimeMs / 1000), epoch);
    await (found.isSymbolicLink() ? lutimes : utimes)(join(root, path), epoch, mtime);
  }
}

/** What the firmware reads goes onto the partition of its own. @returns the folder with it */
export async function splitBoot(root: string, bootFiles: string, boot: string, description: object): Promise<void> {
  await rename(`${root}/boot/firmware`, boot);
  await mkdir(`${root}/boot/firmware`);
  await cp(bootFiles, boot, { recursive: true, force: true });
  await writeFile(`${boot}/pi-swarm-image.json`, `${JSON.stringify(description, null, 2)}\n`);
}
