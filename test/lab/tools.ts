/** How the lab's own tests look at the machine, and programs that use a lab and can be killed. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { hierarchies } from '../../src/lab/cgroup.ts';
import { labName } from './harness.ts';

/** What a lab must never add to on the machine it runs on, line by line. */
export function machineState(): string[] {
  const run = (program: string, ...words: string[]) => execFileSync(program, words, { encoding: 'utf8' }).split('\n');
  const links = (JSON.parse(run('ip', '-json', 'link').join('')) as { ifname: string }[]).map(({ ifname }) => ifname);
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const rules = run('iptables-save').filter(line => line.startsWith('-A'));
  return [...links, ...mounts, ...run('ip', 'route'), ...run('ip', 'netns'), ...rules];
}

/** Control groups of the labs of one name. */
export const groups = (name: string) =>
  hierarchies().flatMap(({ path }) => readdirSync(path).filter(entry => entry.startsWith(`piswarm-${name}-`)));

/** Pids of processes with that text on their command line. */
export const processesNaming = (text: string) =>
  readdirSync('/proc').filter(entry => {
    try {
      return /^\d+$/.test(entry) && readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(text);
    } catch {
      return false;
    }
  });

/** A program of its own that has `Lab`; arguments begin at process.argv[2]. */
export async function labProgram(directory: string, text: string): Promise<string> {
  const outfile = join(directory, `${labName()}.mjs`);
  const banner = { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" };
  const contents = `import { Lab } from './src/lab/lab.ts';\n${text}`;
  const stdin = { contents, resolveDir: process.cwd(), loader: 'ts' as const };
  await build({ stdin, outfile, bundle: true, platform: 'node', format: 'esm', banner, logLevel: 'warning' });
  return outfile;
}
