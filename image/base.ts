/** The base: Debian with its packages set up. It takes most of the time, so it is kept, and used again while the recipe is the same. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { EnvironmentError } from '../src/errors.ts';
import { acquireOptions, KEYRING, type Source, sourceLine } from './mirror.ts';
import { type Architecture, BASE_EPOCH, COMPONENTS, DPKG_OPTIONS, EARLY_FILES, packagesOf, SUITE } from './recipe.ts';
import { run } from './tools.ts';

/** In emulation, on two busy cores. */
const BOOTSTRAP_LIMIT_MS = 90 * 60_000;
const DAY_MS = 86_400_000;
/** Raised when this file changes what comes out. */
const VERSION = 1;

export interface BaseOptions {
  architecture: Architecture;
  sources: readonly Source[];
  /** On a tmpfs: on ext4, initramfs-tools under qemu-user silently leaves out most modules. */
  workDirectory: string;
  cacheDirectory: string;
  signal: AbortSignal;
  progress: (text: string) => void;
}

/** What makes two bases the same: packages, suites, architecture, recipe. Not the mirror. */
export function baseKey(architecture: Architecture, suites: readonly string[]): string {
  const recipe = { VERSION, SUITE, COMPONENTS, suites, architecture, packages: packagesOf(architecture) };
  const rest = { DPKG_OPTIONS, EARLY_FILES, BASE_EPOCH };
  return createHash('sha256')
    .update(JSON.stringify({ ...recipe, ...rest }))
    .digest('hex')
    .slice(0, 16);
}

export const basePath = ({ architecture, sources, cacheDirectory }: BaseOptions): string => {
  const suites = sources.map(({ suite }) => suite);
  return `${cacheDirectory}/base-${architecture}-${baseKey(architecture, suites)}.tar.zst`;
};

/** @returns how many days ago the kept base was made; undefined where there is none */
export async function baseAgeDays(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found === undefined ? undefined : Math.floor((Date.now() - found.mtimeMs) / DAY_MS);
}

/** Makes the base and keeps it. It gets its name only when it is whole and on the disk. @throws PiSwarmError */
export async function makeBase(options: BaseOptions): Promise<string> {
  const { architecture, sources, workDirectory, cacheDirectory, signal, progress } = options;
  const early = `${workDirectory}/early`;
  await mkdir(`${early}/boot/firmware`, { recursive: true });
  for (const [path, text] of Object.entries(EARLY_FILES)) {
    await mkdir(`${early}/${path}`.replace(/\/[^/]+$/, ''), { recursive: true });
    await writeText(`${early}/${path}`, text);
  }
  const tar = `${workDirectory}/base.tar`;
  const aptOptions = [...(await acquireOptions(signal)), 'Acquire::Languages "none"'];
  await run(
    [
      'mmdebstrap',
      ...['--mode=root', '--variant=minbase', '--format=tar', `--keyring=${KEYRING}`],
      `--architectures=${architecture}`,
      `--include=${packagesOf(architecture).join(',')}`,
      ...DPKG_OPTIONS.map(option => `--dpkgopt=${option}`),
      // Settings that are there before their package stay; dpkg would ask, and nobody answers.
      '--dpkgopt=force-confold',
      ...aptOptions.map(option => `--aptopt=${option.replace(/;$/, '')}`),
      `--essential-hook=cp -r ${early}/. "$1/"`,
      ...[SUITE, tar, ...sources.map(sourceLine)],
    ],
    {
      limitMs: BOOTSTRAP_LIMIT_MS,
      signal,
      env: { SOURCE_DATE_EPOCH: String(BASE_EPOCH), TMPDIR: workDirectory },
      onLine: line => progress(line.replace(/^I: /, '').slice(0, 70)),
    },
  );
  progress('keeping it for the next time');
  return keep(tar, basePath(options), cacheDirectory, signal);
}

async function keep(tar: string, path: string, directory: string, signal: AbortSignal): Promise<string> {
  await mkdir(directory, { recursive: true });
  const unfinished = `${path}.unfinished-${process.pid}`;
  try {
    // --check: a base that the disk has damaged is noticed when it is unpacked.
    const argv = ['zstd', '--quiet', '--force', '--check', '-3', '-T2', tar, '-o', unfinished] as const;
    await run(argv, { limitMs: 10 * 60_000, signal });
    const file = await open(unfinished, 'r');
    await file.sync().finally(() => file.close());
    await rename(unfinished, path);
  } finally {
    await rm(unfinished, { force: true });
    await rm(tar, { force: true });
  }
  await removeOthers(path, directory);
  return path;
}

/** Of one architecture one base is enough; a recipe that changes often would fill the disk. */
async function removeOthers(path: string, directory: string): Promise<void> {
  const prefix = path.slice(directory.length + 1).replace(/-[0-9a-f]{16}\.tar\.zst$/, '-');
  for (const name of await readdir(directory)) {
    const other = `${directory}/${name}`;
    if (name.startsWith(prefix) && other !== path) await rm(other, { force: true });
  }
}

/** @throws EnvironmentError where the kept base is damaged; it is then removed, so that the next build makes a new one */
export async function unpackBase(path: string, root: string, signal: AbortSignal): Promise<void> {
  await mkdir(root, { recursive: true });
  const argv = ['tar', '--extract', '--zstd', `--file=${path}`, `--directory=${root}`, '--numeric-owner', '--xattrs'];
  try {
    await run([argv[0] ?? 'tar', ...argv.slice(1), '--xattrs-include=*'], { limitMs: 15 * 60_000, signal });
  } catch (cause) {
    signal.throwIfAborted();
    if (existsSync(path)) await rm(path, { force: true });
    throw new EnvironmentError(
      `the kept base ${path} was damaged and is removed`,
      'Run it again: it makes a new one.',
      {
        cause,
      },
    );
  }
}

async function writeText(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o644);
  await file.writeFile(text).finally(() => file.close());
}
