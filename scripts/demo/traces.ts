/** What a lab could leave behind on this machine: looked for before and after, so that "removed" is a fact. */
import { existsSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { Lab } from '../../src/lab/lab.ts';

/** @returns one sentence for each thing that is there */
export function tracesOf(lab: Lab): string[] {
  const { directory, cgroup } = lab.place;
  const found: string[] = [];
  if (existsSync(directory)) found.push(`the folder ${directory}`);
  if (readFileSync('/proc/self/mounts', 'utf8').includes(`${directory}/`)) found.push(`mounts below ${directory}`);
  const pids = cgroup.pids();
  if (pids.length > 0) found.push(`the processes ${pids.join(', ')}`);
  if (cgroup.exists()) found.push(`the control group ${cgroup.name}`);
  return found;
}

/** Names of this machine's own network interfaces: a lab must not change them. */
export const interfaceNames = (): string => Object.keys(networkInterfaces()).sort().join(' ');
