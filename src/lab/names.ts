/** Names and addresses of a lab: all follow from its name, so that a power cycle or a new lab gives the same ones. */
import { createHash } from 'node:crypto';
import { UsageError } from '../errors.ts';

export const DEFAULT_LAB = 'lab';
export const DEFAULT_BASE = '/var/lib/pi-swarm-lab';
export const PIS_MAX = 50;
const LAPTOP_HOST = 254;

export function checkLabName(name: string): string {
  if (/^[a-z0-9](?:[a-z0-9-]{0,10}[a-z0-9])?$/.test(name)) return name;
  throw new UsageError(
    `«${name}» cannot be the name of a lab.`,
    'Use 1 to 12 lower-case letters, digits and dashes, with no dash at either end.',
  );
}

export const piName = (index: number): string => `pi${index}`;

export function piIndex(pi: string): number {
  const index = Number(/^pi([1-9]\d?)$/.exec(pi)?.[1]);
  if (index >= 1 && index <= PIS_MAX) return index;
  throw new UsageError(`«${pi}» is not a Pi of a lab.`, 'Pis of a lab are called pi1, pi2, pi3 …');
}

/** A /24 within 10.64.0.0/10: clear of Docker's own pools (172.17 and up, overlay networks from 10.0.0.0). */
function subnetBytes(lab: string): [number, number] {
  const hash = createHash('sha256').update(lab).digest();
  return [64 + ((hash[0] ?? 0) % 64), hash[1] ?? 0];
}

const prefix = (lab: string) => `10.${subnetBytes(lab).join('.')}`;

export const labSubnet = (lab: string): string => `${prefix(lab)}.0/24`;
export const laptopAddress = (lab: string): string => `${prefix(lab)}.${LAPTOP_HOST}`;
export const piAddress = (lab: string, index: number): string => `${prefix(lab)}.${10 + index}`;

/** Locally administered (second hex digit 2), unicast. */
export function piMac(lab: string, index: number): string {
  const bytes = [0x02, 0x50, 0x69, ...subnetBytes(lab), index];
  return bytes.map(byte => byte.toString(16).padStart(2, '0')).join(':');
}

/** As systemd's machine-id: 32 hex digits, one per board. */
export const machineId = (lab: string, index: number): string =>
  createHash('sha256').update(`${lab}/${index}`).digest('hex').slice(0, 32);

/** One cgroup holds all of a lab's processes; the hash of its directory keeps labs of one name in two places apart. */
export function cgroupName(lab: string, directory: string): string {
  return `piswarm-${lab}-${createHash('sha256').update(directory).digest('hex').slice(0, 8)}`;
}
