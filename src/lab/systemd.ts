/**
 * A Pi whose first process is systemd, as on a real one: the Docker Engine's own units of this machine, our unit, and a
 * network that a shutdown takes down. Nothing else of this machine's services exists in there.
 */
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EnvironmentError } from '../errors.ts';

const UNITS = '/usr/lib/systemd/system';

/** What of this machine's units there is in the Pi. Not its other services, mounts, generators, or anything of udev's. */
const TAKEN = `basic.target sysinit.target multi-user.target local-fs.target local-fs-pre.target remote-fs.target
  remote-fs-pre.target swap.target sockets.target timers.target paths.target slices.target network-pre.target network.target
  network-online.target nss-lookup.target nss-user-lookup.target time-set.target time-sync.target shutdown.target
  umount.target final.target poweroff.target reboot.target halt.target systemd-poweroff.service systemd-reboot.service
  systemd-halt.service systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket docker.service
  docker.socket containerd.service`.split(/\s+/);

/** Must be there; the rest belongs to some versions only. */
const NEEDED = [
  '/usr/lib/systemd/systemd',
  `${UNITS}/docker.service`,
  `${UNITS}/docker.socket`,
  `${UNITS}/containerd.service`,
];

/**
 * Part of the boot script, in the Pi's unfinished root: devices, units and settings of its own. systemd leaves superblocks,
 * clock and console alone when it knows that it is in a container; what is written to /proc/sys would be this machine's.
 */
const ROOT = `mount -t tmpfs -o mode=755 dev dev
for node in null zero full random urandom tty; do : >dev/$node && mount --bind "/dev/$node" "dev/$node"; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for number in 0:stdin 1:stdout 2:stderr; do ln -s "fd/\${number%:*}" "dev/\${number#*:}"; done
mkdir -p run/host
echo pi-swarm-lab >run/host/container-manager
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
for folder in system system-generators system-environment-generators; do
  [ ! -d "/usr/lib/systemd/$folder" ] || mount -t tmpfs -o mode=755 "$folder" "usr/lib/systemd/$folder"
done
for unit in ${TAKEN.join(' ')}; do
  [ ! -e "${UNITS}/$unit" ] || cp "${UNITS}/$unit" ".${UNITS}/"
done
rm -rf etc/fstab etc/init.d etc/rc?.d etc/systemd
mkdir -p etc/systemd
cp -r .lab/systemd/units etc/systemd/system
`;

/** Replaces the boot script's shell. Its stdout is not a terminal: what it says is in the journal, which lab-journal keeps. */
export const SYSTEMD_EXEC = `export container=pi-swarm-lab
# In a container systemd reads its own command line instead of the kernel's. Where this machine has version 1 trees and an
# empty version 2 tree beside them, the Pi has no group in that one, and systemd would work in the machine's own.
set -- --system --log-target=journal --show-status=no --unit=multi-user.target
grep -q '^v2' /.lab/cgroups || set -- "$@" systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1
# As systemd does itself where it is in no container: units with mounts of their own see those that Docker makes later.
mount --make-rshared /
exec /usr/lib/systemd/systemd "$@" </dev/null >>/var/log/init.log 2>&1`;

/** Tests read there in which order units ended: the journal's last lines may be lost when everything is killed. */
const NOTE = "ExecStopPost=/bin/sh -c 'echo %N >>/var/log/ended.log'\n";

const DROP_INS = {
  'docker.service.d/lab.conf': `[Service]
ExecStart=
ExecStart=/bin/sh -c '. /.lab/environment && echo $$$$ >/run/lab/engine.pid && exec dockerd --config-file /.lab/daemon.json --containerd=/run/containerd/containerd.sock $$LAB_ENGINE_ARGS'
StandardOutput=append:/var/log/dockerd.log
StandardError=append:/var/log/dockerd.log
${NOTE}`,
  // This machine has its modules already.
  'containerd.service.d/lab.conf': `[Service]\nExecStartPre=\n${NOTE}`,
  'pi-swarm.service.d/lab.conf': `[Unit]
ConditionPathExists=!/.lab/agent.off
[Service]
ExecStart=
ExecStart=/bin/sh -c '. /.lab/environment && echo $$$$ >/run/lab/agent.pid && exec /.lab/bin/pi-swarm agent'
StandardOutput=append:/var/log/agent.log
StandardError=append:/var/log/agent.log
${NOTE}`,
  // As systemd-networkd, NetworkManager, dhcpcd and ifupdown: up before network.target, and down after it.
  'lab-network.service': `[Unit]
Wants=network.target
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip link set eth0 up
ExecStop=ip link set eth0 down
${NOTE}`,
  // To the very end: nothing stops it but systemd's last SIGTERM to all.
  'lab-journal.service': `[Unit]
DefaultDependencies=no
Requires=systemd-journald.service
After=systemd-journald.service
[Service]
ExecStart=journalctl --follow --lines=all --output=short-precise --no-hostname
StandardOutput=append:/var/log/init.log
`,
};

const WANTED = {
  'docker.service': UNITS,
  'pi-swarm.service': '..',
  'lab-network.service': '..',
  'lab-journal.service': '..',
};

/** Our unit as it is installed on Pis: in this repository, also for the bundle in `dist`. */
function unitFile(): string {
  const here = fileURLToPath(import.meta.url);
  return join(dirname(here), here.endsWith('.mjs') ? '..' : '../..', 'systemd/pi-swarm.service');
}

/** Puts units and boot script where the Pi's boot looks for them, or takes them away. @throws EnvironmentError */
export function prepareSystemd(side: string, wanted: boolean): void {
  const folder = join(side, 'systemd');
  rmSync(folder, { recursive: true, force: true });
  if (!wanted) return;
  const missing = [...NEEDED, unitFile()].filter(path => !existsSync(path));
  if (missing.length > 0) {
    const cure = 'sudo apt-get install --no-install-recommends systemd docker.io';
    throw new EnvironmentError(`A Pi with systemd needs ${missing.join(', ')}, not on this machine.`, cure);
  }
  const units = join(folder, 'units');
  for (const [name, text] of Object.entries(DROP_INS)) {
    mkdirSync(dirname(join(units, name)), { recursive: true });
    writeFileSync(join(units, name), text);
  }
  cpSync(unitFile(), join(units, 'pi-swarm.service'));
  const wants = join(units, 'multi-user.target.wants');
  mkdirSync(wants);
  for (const [name, where] of Object.entries(WANTED)) symlinkSync(join(where, name), join(wants, name));
  writeFileSync(join(folder, 'root'), ROOT);
}

/** Whether that Pi's first process is systemd. */
export const hasSystemd = (directory: string): boolean => existsSync(join(directory, 'lab/systemd'));
