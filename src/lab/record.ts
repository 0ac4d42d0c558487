/** `lab.json`: what the lab has made. Written before things are made, so that nothing exists which it does not name. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { RefusedError } from '../errors.ts';
import type { ProcessMark } from './process.ts';

export interface PiRecord {
  index: number;
  /** The Pi's first process, as this machine sees it; of a Pi that is off, the last one. */
  init?: ProcessMark;
}

export interface LabRecord {
  kind: 'pi-swarm-lab';
  version: 1;
  name: string;
  /** Pids mean nothing after a reboot of this machine. */
  bootId: string;
  cgroup: string;
  createdAt: string;
  /** Keeps the LAN's network namespace. */
  lan?: ProcessMark;
  pis: Record<string, PiRecord>;
}

export const currentBootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

const fileIn = (directory: string) => join(directory, 'lab.json');

/** The record in `directory`; undefined when there is no such directory. @throws RefusedError when it is something else */
export function readRecord(directory: string): LabRecord | undefined {
  if (!existsSync(directory)) return undefined;
  let found: Partial<LabRecord> = {};
  try {
    found = JSON.parse(readFileSync(fileIn(directory), 'utf8'));
  } catch {
    // Not there or not JSON: the same to us.
  }
  if (found.kind === 'pi-swarm-lab' && found.version === 1) return found as LabRecord;
  throw new RefusedError(
    `${directory} was not made by a lab (it has no readable lab.json): nothing in it was touched.`,
    'Choose another --name or --dir, or remove that directory yourself.',
  );
}

/** The directory appears together with its record, or not at all. */
export function createRecord(directory: string, record: LabRecord): void {
  const unborn = join(directory, '..', `.${record.name}.new`);
  rmSync(unborn, { recursive: true, force: true });
  mkdirSync(unborn, { recursive: true, mode: 0o711 });
  writeRecord(unborn, record);
  renameSync(unborn, directory);
}

export function writeRecord(directory: string, record: LabRecord): void {
  const file = fileIn(directory);
  const handle = openSync(`${file}.new`, 'w', 0o600);
  writeSync(handle, `${JSON.stringify(record, null, 2)}\n`);
  fsyncSync(handle);
  closeSync(handle);
  renameSync(`${file}.new`, file);
}
