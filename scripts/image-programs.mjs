/** What building the image needs, and what starting it in software emulation needs besides (`boot`). As PROGRAMS of setup.mjs. */
export const IMAGE_PROGRAMS = [
  { program: 'mmdebstrap', packages: ['mmdebstrap'], why: 'makes the base system from Debian packages', image: true },
  { program: 'arch-test', packages: ['arch-test'], why: 'tells whether programs for ARM run here', image: true },
  {
    program: 'qemu-arm-static',
    packages: ['qemu-user-static'],
    why: 'runs programs for ARM while building',
    image: true,
  },
  { program: 'sfdisk', packages: ['fdisk'], why: 'writes the partition table', image: true },
  { program: 'mkfs.vfat', packages: ['dosfstools'], why: 'makes the boot partition', image: true },
  { program: 'mcopy', packages: ['mtools'], why: 'fills the boot partition without mounting it', image: true },
  { program: 'debugfs', packages: ['e2fsprogs'], why: 'makes and reads the root partition', image: true },
  { program: 'zstd', packages: ['zstd'], why: 'compresses the image', image: true },
  { program: 'qemu-system-arm', packages: ['qemu-system-arm'], why: 'boots the image as a virtual Pi', boot: true },
  { program: 'qemu-img', packages: ['qemu-utils'], why: 'gives each virtual Pi a card of its own', boot: true },
  { program: 'dnsmasq', packages: ['dnsmasq-base'], why: 'gives the virtual Pis addresses', boot: true },
  { program: 'ssh', packages: ['openssh-client'], why: 'the tests talk to the virtual Pis', boot: true },
];
