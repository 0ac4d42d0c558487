/** What goes into the image. Changing any of it makes a new base; what it is made with stands in the other files. */

export const ARCHITECTURES = ['armhf', 'arm64'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

export const SUITE = 'trixie';
/** Wi-Fi and boot firmware of the boards are in the second. */
export const COMPONENTS = ['main', 'non-free-firmware'] as const;

/**
 * Files of the base are no younger than this, whenever it is made: trixie's release (2025-08-09). Two bases of the same
 * package versions are then the same, bit for bit.
 */
export const BASE_EPOCH = 1_754_697_600;

interface Board {
  kernel: string;
  /** As `pi-swarm-image.json` lists them. */
  boards: readonly string[];
  /** binfmt_misc: the interpreter, and the first 20 bytes of its programs (ELF class, type, machine). */
  qemu: { interpreter: string; elfClass: 1 | 2; machine: number };
}

/**
 * Debian's armmp kernel has neither Ethernet nor USB for the Pi 4; its arm64 kernel does not know the Pi 5. An arm64 kernel
 * under an armhf userland is no way out: it reports aarch64, and swarm refuses it images for arm.
 */
export const BOARDS: Record<Architecture, Board> = {
  armhf: {
    kernel: 'linux-image-armmp',
    boards: ['Pi 2', 'Pi 3', 'Pi 3+', 'CM3'],
    qemu: { interpreter: 'qemu-arm-static', elfClass: 1, machine: 40 },
  },
  arm64: {
    kernel: 'linux-image-arm64',
    boards: ['Pi 3', 'Pi 3+', 'Pi 4', 'Pi 400', 'CM3', 'CM4', 'Zero 2 W'],
    qemu: { interpreter: 'qemu-aarch64-static', elfClass: 2, machine: 183 },
  },
};

/** One line for each thing that a Pi does. No compilers, no desktop; recommended packages are left out. */
const PACKAGES = [
  // It boots, on a card and in a virtual machine.
  ...['raspi-firmware', 'initramfs-tools', 'zstd', 'systemd-sysv', 'dbus', 'udev', 'kmod', 'e2fsprogs', 'dosfstools'],
  // It sets itself up from what stands on the boot partition, and fills the card.
  ...['cloud-init', 'cloud-guest-utils', 'fdisk'],
  // It is on the network, by cable or Wi-Fi, under a .local name.
  ...['netplan.io', 'systemd-resolved', 'iproute2', 'iputils-ping', 'avahi-daemon', 'libnss-mdns'],
  ...['wpasupplicant', 'iw', 'wireless-regdb', 'firmware-brcm80211'],
  // It knows the time, and swaps into memory instead of onto the card.
  ...['systemd-timesyncd', 'tzdata', 'systemd-zram-generator'],
  // It runs containers and the agent; busybox is the whoami image.
  ...['docker.io', 'docker-cli', 'iptables', 'nftables', 'nodejs', 'busybox-static', 'ca-certificates'],
  // A person can look at it.
  ...['openssh-server', 'sudo', 'procps', 'less', 'nano', 'curl', 'debian-archive-keyring'],
];

export const packagesOf = (architecture: Architecture): string[] =>
  [BOARDS[architecture].kernel, ...PACKAGES].sort((a, b) => (a < b ? -1 : 1));

/** Read by nobody on a Pi; the licences stay. Also kept on the Pi, so that an upgrade does not bring it all back. */
export const DPKG_OPTIONS = [
  'path-exclude=/usr/share/doc/*',
  'path-include=/usr/share/doc/*/copyright',
  'path-exclude=/usr/share/man/*',
  'path-exclude=/usr/share/info/*',
  'path-exclude=/usr/share/locale/*',
  'path-exclude=/usr/share/lintian/*',
];

export const UPDATE_INITRAMFS = 'etc/initramfs-tools/update-initramfs.conf';

/**
 * Before the packages are set up. raspi-firmware writes config.txt and cmdline.txt itself, now and after each upgrade of the
 * kernel, and in a chroot it would guess both wrong; an initrd for the machine that builds would not boot a Pi.
 */
export const EARLY_FILES: Record<string, string> = {
  'etc/default/raspi-firmware': 'ROOTPART=LABEL=PISWARM-ROOT\nCONSOLES="ttyS1,115200 ttyAMA0,115200 tty0"\n',
  'etc/default/raspi-extra-cmdline': 'panic=10\n',
  // The kernel's own installation makes the initrd; a second time for the other packages would take minutes. root.ts allows it.
  [UPDATE_INITRAMFS]: 'update_initramfs=no\nbackup_initramfs=no\n',
  'etc/initramfs-tools/conf.d/pi-swarm': 'MODULES=most\nCOMPRESS=zstd\nCOMPRESSLEVEL=6\n',
};

/** Modules without which it boots nowhere: card, virtual disk, file system. */
export const INITRD_MODULES = ['sdhci-iproc', 'virtio_blk', 'ext4'] as const;

/** The two partitions: what `pi-swarm flash` and the firmware expect. */
export const DISK = {
  sectorBytes: 512,
  /** 0x5053: «PS»; the same in each build. */
  diskId: '0x50535752',
  boot: { label: 'PISWARM', startSector: 8192, sectors: 524_288, volumeId: '50535742' },
  root: {
    label: 'PISWARM-ROOT',
    uuid: '50535752-6f6f-4000-8000-000000000001',
    hashSeed: '50535752-6f6f-4000-8000-000000000002',
  },
} as const;
