/**
 * One control group per lab and below it one per Pi. They hold every process of the lab, so that clean-up finds them even
 * when the record was lost, and each Pi sees its own group as the root (cgroup namespace). Version 1 and 2.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { EnvironmentError, messageOf } from '../errors.ts';
import { sendSignal, until } from './process.ts';

export interface Hierarchy {
  /** Where this machine has it mounted. */
  path: string;
  version: 1 | 2;
  /** Options for `mount -t cgroup`: `memory`, `cpu,cpuacct`, `none,name=systemd`. */
  options: string;
}

/** The hierarchies of this machine (mountinfo: proc(5)). On a hybrid machine the empty version 2 tree is left out. */
export function hierarchies(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): Hierarchy[] {
  const found: Hierarchy[] = [];
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const path = before.split(' ')[4];
    const [type, , superOptions = ''] = after.split(' ');
    if (path === undefined || !(type === 'cgroup' || type === 'cgroup2')) continue;
    const controllers = superOptions
      .split(',')
      .filter(word => !/^(rw|ro|xattr|clone_children|release_agent=.*)$/.test(word));
    const named = controllers.some(word => word.startsWith('name='));
    const options = named ? ['none', ...controllers] : controllers;
    found.push({ path, version: type === 'cgroup2' ? 2 : 1, options: type === 'cgroup2' ? '' : options.join(',') });
  }
  const first = found.filter(({ version }) => version === 1);
  return first.length > 0 ? first : found.slice(0, 1);
}

/** The hierarchy by which processes are found again. */
function tracking(all: Hierarchy[]): Hierarchy {
  const found = all.find(({ options }) => options === 'pids') ?? all[0];
  if (found !== undefined) return found;
  throw new EnvironmentError('No control groups are mounted on this machine.', 'Mount cgroup2 on /sys/fs/cgroup.');
}

/** Where systemd expects itself: then it takes the group above for its root. */
const LEAF = 'init.scope';

export class LabCgroup {
  readonly name: string;
  readonly all = hierarchies();
  private readonly tracked = tracking(this.all);

  constructor(name: string) {
    this.name = name;
  }

  exists(): boolean {
    return this.all.some(({ path }) => existsSync(join(path, this.name)));
  }

  /** Makes the group of one Pi (or of the LAN). @throws EnvironmentError where this machine does not allow it. */
  make(member: string): void {
    for (const hierarchy of this.all) {
      const lab = join(hierarchy.path, this.name);
      try {
        for (const path of [lab, join(lab, member)]) makeGroup(hierarchy, path);
        if (hierarchy.version === 2) mkdirSync(join(lab, member, LEAF), { recursive: true });
      } catch (cause) {
        const cure = 'Run the lab as root on the machine itself, or in a privileged container with its own cgroups.';
        throw new EnvironmentError(`Control groups cannot be made: ${messageOf(cause)}`, cure, { cause });
      }
    }
  }

  /** Files into which a process writes its pid to join a member's group. Version 2 allows processes only in leaves. */
  joinFiles(member: string): { root: string[]; leaf: string[]; tracked: string } {
    const root = this.all.map(({ path }) => join(path, this.name, member, 'cgroup.procs'));
    const leaf = this.all.filter(({ version }) => version === 2).map(({ path }) => this.leafOf(path, member));
    const tracked = this.tracked.version === 2 ? this.leafOf(this.tracked.path, member) : undefined;
    return { root, leaf, tracked: tracked ?? join(this.tracked.path, this.name, member, 'cgroup.procs') };
  }

  private leafOf(path: string, member: string): string {
    return join(path, this.name, member, LEAF, 'cgroup.procs');
  }

  /** Pids of all processes in it, or in one member of it. */
  pids(member = ''): number[] {
    const pids: number[] = [];
    for (const group of groupsBelow(join(this.tracked.path, this.name, member))) {
      for (const line of readOr(join(group, 'cgroup.procs'), '').split('\n')) if (line !== '') pids.push(Number(line));
    }
    return pids;
  }

  memoryBytes(member: string): number | undefined {
    const memory = this.all.find(({ version, options }) => version === 2 || options === 'memory');
    if (memory === undefined) return undefined;
    const file = memory.version === 2 ? 'memory.current' : 'memory.usage_in_bytes';
    const text = readOr(join(memory.path, this.name, member, file), '');
    return text === '' ? undefined : Number(text);
  }

  /** Kills what is left in it (or in one member) and removes the groups. Bounded. */
  async remove(member = ''): Promise<void> {
    await until(
      () => `Processes ${this.pids(member).join(', ')} of the lab do not end although they were killed.`,
      () => {
        const pids = this.pids(member).filter(pid => pid > 0);
        for (const pid of pids) sendSignal(pid, 'SIGKILL');
        return pids.length === 0;
      },
      { timeoutMs: 15_000 },
    );
    // The kernel takes a moment to see a group as empty after its last process has gone.
    await until(
      `The control group ${this.name} cannot be removed.`,
      () => this.all.map(({ path }) => removeTree(join(path, this.name, member))).every(gone => gone),
      { timeoutMs: 5_000 },
    );
  }
}

function makeGroup(hierarchy: Hierarchy, path: string): void {
  mkdirSync(path, { recursive: true });
  const parent = join(path, '..');
  if (hierarchy.version === 2) {
    for (const controller of readOr(join(parent, 'cgroup.controllers'), '').trim().split(' ')) {
      writeIfAllowed(join(parent, 'cgroup.subtree_control'), `+${controller}`);
    }
  } else if (hierarchy.options.split(',').includes('cpuset')) {
    // A new cpuset is empty and takes no process until it has processors and memory.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      if (readOr(join(path, file), '').trim() === '') writeFileSync(join(path, file), readOr(join(parent, file), ''));
    }
  }
}

function groupsBelow(path: string): string[] {
  const groups = [path];
  try {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.isDirectory()) groups.push(...groupsBelow(join(path, entry.name)));
    }
  } catch {
    return []; // It vanished: then nothing is in it.
  }
  return groups;
}

/** Deepest first. */
function removeTree(path: string): boolean {
  for (const group of groupsBelow(path).reverse()) {
    try {
      rmdirSync(group);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return false;
    }
  }
  return true;
}

function readOr(file: string, fallback: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return fallback;
  }
}

function writeIfAllowed(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch {
    // That controller is not to be had here; the engine says so when something needs it.
  }
}

/** Lines `name options` for the init script, which mounts them anew inside the Pi. */
export const mountLines = (all: Hierarchy[]): string =>
  all.map(({ path, version, options }) => (version === 2 ? 'v2' : `${basename(path)} ${options}`)).join('\n');
