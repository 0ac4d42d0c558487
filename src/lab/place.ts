/** Where a lab is and what is recorded of it: the base for everything that the lab does. */
import { existsSync, readdirSync, realpathSync, rmdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { NotFoundError, RefusedError } from '../errors.ts';
import { LabCgroup } from './cgroup.ts';
import { removeLock, withLock } from './lock.ts';
import { cgroupName, checkLabName, DEFAULT_BASE, DEFAULT_LAB, piIndex } from './names.ts';
import { isAlive, type ProcessMark } from './process.ts';
import { currentBootId, type LabRecord, type PiRecord, readRecord, writeRecord } from './record.ts';

export interface LabOptions {
  /** Default `lab`; 1 to 12 of [a-z0-9-]. */
  name?: string;
  /** Where labs are kept; default $PI_SWARM_LAB_DIR, else /var/lib/pi-swarm-lab. */
  dir?: string;
}

export const baseDirectory = (dir?: string): string => resolve(dir ?? process.env['PI_SWARM_LAB_DIR'] ?? DEFAULT_BASE);

export class LabPlace {
  readonly name: string;
  readonly base: string;
  readonly directory: string;
  readonly cgroup: LabCgroup;
  readonly lockFile: string;
  /** Commands of this process wait here for each other; those of other processes at the lock. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor({ name = DEFAULT_LAB, dir }: LabOptions = {}) {
    this.name = checkLabName(name);
    this.base = baseDirectory(dir);
    this.directory = join(this.base, this.name);
    this.lockFile = join(this.base, `.${this.name}.lock`);
    this.cgroup = new LabCgroup(cgroupName(this.name, this.directory));
  }

  /** For commands that people are told to type. */
  get nameOption(): string {
    return this.name === DEFAULT_LAB ? '' : ` --name ${this.name}`;
  }

  piDirectory(pi: string): string {
    return join(this.directory, pi);
  }

  /** One change to the lab at a time, whoever makes it. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.turn.then(() => withLock(this.lockFile, () => work().finally(() => this.tidy())));
    this.turn = mine.catch(() => {});
    return mine;
  }

  /** Where no lab is, no lock stays either, and no directory of ours. */
  private tidy(): void {
    if (existsSync(join(this.directory, 'lab.json'))) return;
    removeLock(this.lockFile);
    if (this.base !== DEFAULT_BASE) return;
    try {
      rmdirSync(this.base);
    } catch {
      // Another lab uses it.
    }
  }

  /** The record; processes of an earlier boot of this machine count as gone. */
  find(): LabRecord | undefined {
    const record = readRecord(this.directory);
    if (record === undefined || record.bootId === currentBootId()) return record;
    const off = Object.entries(record.pis).map(([pi, { index }]): [string, PiRecord] => [pi, { index }]);
    return { ...record, bootId: currentBootId(), lan: undefined, pis: Object.fromEntries(off) };
  }

  read(): LabRecord {
    const record = this.find();
    if (record !== undefined) return record;
    const names = listLabs(this.base);
    const others = names.length > 0 ? ` There ${names.length === 1 ? 'is' : 'are'}: ${names.join(', ')}.` : '';
    throw new NotFoundError(
      `There is no lab «${this.name}» in ${this.base}.${others}`,
      names.length > 0
        ? `Say which one you mean: --name ${names[0]}`
        : `Make it: pi-swarm lab up${this.nameOption}. The one of npm run demo -- --keep is called demo.`,
    );
  }

  write(record: LabRecord): void {
    writeRecord(this.directory, record);
  }

  /** @throws NotFoundError with the Pis that there are */
  pi(record: LabRecord, pi: string): PiRecord {
    piIndex(pi);
    const found = record.pis[pi];
    if (found !== undefined) return found;
    throw new NotFoundError(
      `Lab «${this.name}» has no ${pi}.`,
      `It has ${Object.keys(record.pis).join(', ') || 'none'}.`,
    );
  }

  /** The first process of a Pi that is on. @throws RefusedError */
  running(record: LabRecord, pi: string): ProcessMark {
    const { init } = this.pi(record, pi);
    if (isAlive(init)) return init;
    throw new RefusedError(`${pi} is off.`, `Power it on: pi-swarm lab power-on${this.nameOption} ${pi}`);
  }

  /** The process that keeps the LAN. @throws RefusedError */
  lan(record: LabRecord): ProcessMark {
    if (isAlive(record.lan)) return record.lan;
    throw new RefusedError(
      `The LAN of lab «${this.name}» is gone: this machine was restarted, or the lab is half made.`,
      `pi-swarm lab down${this.nameOption}, then up again`,
    );
  }
}

/** Names of the labs in a base directory. */
export function listLabs(base: string): string[] {
  try {
    return readdirSync(realpathSync(base))
      .filter(name => !name.startsWith('.') && isLab(join(base, name)))
      .sort();
  } catch {
    return [];
  }
}

function isLab(directory: string): boolean {
  try {
    return readRecord(directory) !== undefined;
  } catch {
    return false;
  }
}
