/** `sweep.mjs MARK DIRECTORY PID`: PID runs tests. Waits until standard input closes, and removes what tests with that mark have left. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab } from '../../src/lab/lab.ts';
import { listLabs } from '../../src/lab/place.ts';
import { MARK, namePrefix } from './mark.ts';

const [mark = '', directory = '', runner = ''] = process.argv.slice(2);
const END_MS = 45_000;

/** @returns whether the tests came to their end by themselves: then nothing should be left */
function untilTheyEnd(): Promise<boolean> {
  return new Promise(resolve => {
    let said = '';
    process.stdin
      .on('data', (data: Buffer) => {
        said += data.toString();
      })
      .on('close', () => resolve(said === 'done'));
  });
}

/** Processes that inherited the mark; without the test runner's own, as long as it lives. */
function marked(): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && parentOf(name) !== runner)
    .filter(name => {
      try {
        return readFileSync(`/proc/${name}/environ`, 'latin1').split('\0').includes(`${MARK}=${mark}`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Field 4 of /proc/PID/stat (proc(5)); the name before it is in parentheses. */
function parentOf(pid: string): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
  } catch {
    return undefined;
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').join(' ').trim().slice(0, 80);
  } catch {
    return 'gone';
  }
}

async function endProcesses(): Promise<string[]> {
  const pids = marked();
  const names = pids.map(pid => `process ${pid} (${commandOf(pid)})`);
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended in this very moment.
    }
  }
  for (let tries = 0; tries < 100 && marked().length > 0; tries++) await sleep(50);
  return names;
}

/** Labs' processes do not inherit the mark; each lab knows its own. */
async function removeLabs(): Promise<string[]> {
  const bases = readdirSync(directory, { withFileTypes: true }).filter(entry => entry.isDirectory());
  const found: string[] = [];
  for (const base of bases.map(({ name }) => join(directory, name))) {
    for (const name of listLabs(base)) {
      await new Lab({ name, dir: base }).down();
      found.push(`lab ${name}`);
    }
  }
  return found;
}

function removeNamespaces(): string[] {
  if (!existsSync('/run/netns')) return [];
  const names = readdirSync('/run/netns').filter(name => name.startsWith(namePrefix(mark)));
  for (const name of names) execFileSync('ip', ['netns', 'delete', name]);
  return names.map(name => `namespace ${name}`);
}

/** A Docker Engine without a lab has a control group with the name of its directory. */
function removeCgroups(): string[] {
  const root = '/sys/fs/cgroup';
  const names = readdirSync(directory).filter(name => name.startsWith('pisw-engine-'));
  const parents = existsSync(root) ? [root, ...readdirSync(root).map(name => join(root, name))] : [];
  const groups = parents.flatMap(parent => names.map(name => join(parent, name))).filter(path => existsSync(path));
  for (const group of groups) removeTree(group);
  return groups.map(group => `control group ${group}`);
}

function removeTree(group: string): void {
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(group, entry.name));
  rmdirSync(group);
}

async function sweep(): Promise<string[]> {
  // First who could make more.
  const found = await endProcesses();
  found.push(...(await removeLabs()), ...removeNamespaces(), ...removeCgroups());
  rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  return found;
}

const wellEnded = await untilTheyEnd();
// What was told to end may be about to.
for (let tries = 0; wellEnded && tries < 100 && marked().length > 0; tries++) await sleep(50);
setTimeout(() => {
  console.error(`What the tests left was not removed within ${END_MS / 1000} s; look at ${directory}`);
  process.exit(1);
}, END_MS).unref();
const found = await sweep();
if (found.length > 0) {
  console.error(`${wellEnded ? 'The tests left behind' : 'The tests were interrupted; removed'}: ${found.join(', ')}`);
  process.exitCode = 1;
}
