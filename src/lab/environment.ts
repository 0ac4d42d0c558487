/** What a lab needs of this machine. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { EnvironmentError } from '../errors.ts';

/** Program → Debian package. */
const PROGRAMS = {
  dockerd: 'docker.io',
  ip: 'iproute2',
  iptables: 'iptables',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  flock: 'util-linux',
  mount: 'mount',
} as const;

/** root's PATH often lacks sbin on Debian (su without -). */
const SBIN = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
export const SEARCH_PATH = [...new Set([...(process.env['PATH'] ?? '').split(delimiter), ...SBIN])].join(delimiter);

/** @throws EnvironmentError with what is missing and the command that brings it */
export function checkEnvironment(path = SEARCH_PATH): void {
  if (process.platform !== 'linux') {
    throw new EnvironmentError(
      `The lab needs Linux: its Pis are Linux namespaces. This is ${process.platform}.`,
      'Run it on a Linux machine or in a Linux virtual machine.',
    );
  }
  if (process.getuid?.() !== 0) {
    throw new EnvironmentError(
      'The lab needs root: it makes network namespaces and starts Docker Engines in them.',
      'Run it with sudo.',
    );
  }
  const missing = Object.entries(PROGRAMS).filter(([program]) => !isInstalled(program, path));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(([, debian]) => debian))].join(' ');
  throw new EnvironmentError(
    `The lab needs ${missing.map(([program]) => program).join(', ')}, which ${missing.length === 1 ? 'is' : 'are'} not installed.`,
    `sudo apt-get install --no-install-recommends ${packages}`,
  );
}

function isInstalled(program: string, path: string): boolean {
  return path.split(delimiter).some(directory => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
