/** The virtual boards. Kernel, initrd and command line are those of the card, read as the firmware would read them. */
import type { VirtualPi } from './shelf.ts';

/** What the firmware hands to the kernel, taken out of the boot partition. */
export interface Firmware {
  kernel: string;
  initrd: string;
  commandLine: string;
  /** Folder with the device trees. */
  directory: string;
}

export interface Machine {
  architecture: 'armhf' | 'arm64';
  /** How many start in the boot tests: the emulated boards have a network only over emulated USB, and are slow. */
  pis: number;
  /** Size of the card. Emulated SD cards have a power of two. */
  cardBytes: number;
  argv(pi: VirtualPi): string[];
}

const GIB = 1024 ** 3;
/** What a Pi does in seconds takes minutes here; the waits of systemd are made for boards. (`rootdelay` would only sleep.) */
const PATIENCE = 'systemd.default_timeout_start_sec=1800 systemd.default_device_timeout_sec=1800';

const common = (firmware: Firmware, pi: VirtualPi, console: string): string[] => [
  ...['-kernel', firmware.kernel, '-initrd', firmware.initrd],
  // The last console is the one that the system itself writes to: the card's is the screen, which is not there.
  ...['-append', `${firmware.commandLine} console=${console} ${PATIENCE}`],
  ...['-display', 'none', '-monitor', 'none', '-serial', `file:${pi.consoleLog}`, '-no-reboot'],
  ...['-netdev', `tap,id=lan,ifname=${pi.name},script=no,downscript=no`],
];

const drive = (pi: VirtualPi, bus: string): string =>
  `if=${bus},file=${pi.card},format=raw,cache=unsafe,discard=unmap${bus === 'none' ? ',id=card' : ''}`;

const virtual = (firmware: Firmware, pi: VirtualPi): string[] => [
  ...['-object', 'rng-random,filename=/dev/urandom,id=random', '-device', 'virtio-rng-device,rng=random'],
  ...['-drive', drive(pi, 'none'), '-device', 'virtio-blk-device,drive=card'],
  ...['-device', `virtio-net-device,netdev=lan,mac=${pi.mac}`],
  ...common(firmware, pi, 'ttyAMA0'),
];

const board = (firmware: Firmware, pi: VirtualPi, tree: string, console: string): string[] => [
  ...['-dtb', `${firmware.directory}/${tree}`, '-drive', drive(pi, 'sd')],
  ...['-device', 'usb-kbd', '-device', `usb-net,netdev=lan,mac=${pi.mac}`],
  ...common(firmware, pi, console),
];

/** `virt` with a Cortex-A15 is what the armmp kernel also runs on, quickest of all; the boards have their own device tree. */
export function machineOf(name: string, firmware: Firmware): Machine {
  const threads = ['-accel', 'tcg,thread=multi,tb-size=256'];
  switch (name) {
    case 'virt':
      return {
        ...{ architecture: 'armhf', pis: 3, cardBytes: 4 * GIB },
        argv: pi => [
          ...['qemu-system-arm', '-M', 'virt,highmem=off', '-cpu', 'cortex-a15', '-smp', '1', '-m', '1024', ...threads],
          ...virtual(firmware, pi),
        ],
      };
    case 'raspi2b':
      return {
        ...{ architecture: 'armhf', pis: 1, cardBytes: 4 * GIB },
        argv: pi => [
          'qemu-system-arm',
          '-M',
          'raspi2b',
          ...threads,
          ...board(firmware, pi, 'bcm2836-rpi-2-b.dtb', 'ttyAMA0'),
        ],
      };
    case 'raspi3b':
      return {
        ...{ architecture: 'arm64', pis: 1, cardBytes: 4 * GIB },
        argv: pi => [
          ...['qemu-system-aarch64', '-M', 'raspi3b', ...threads],
          ...board(firmware, pi, 'bcm2837-rpi-3-b.dtb', 'ttyS1'),
        ],
      };
    default:
      throw new Error(`there is no machine "${name}"; there are virt, raspi2b, raspi3b`);
  }
}

export const MACHINE = process.env['PI_SWARM_IMAGE_MACHINE'] || 'virt';
export const ARCHITECTURE = MACHINE === 'raspi3b' ? 'arm64' : 'armhf';
