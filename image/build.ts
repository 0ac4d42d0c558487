/** `npm run image`: the stages in their order. Each says how long it took; one that fails says which, why, and what to do. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { Show } from '../scripts/show.ts';
import { baseAgeDays, basePath, makeBase, unpackBase } from './base.ts';
import { checkBuilt } from './check.ts';
import { writeDisk } from './disk.ts';
import { allowForeignPrograms, mountWorkplace } from './machine.ts';
import { packagesIn } from './manifest.ts';
import { machineMirrors, type Source, sourcesOf, usableSources } from './mirror.ts';
import { type Architecture, BOARDS, SUITE } from './recipe.ts';
import { finishRoot, notYoungerThan, splitBoot } from './root.ts';
import { run } from './tools.ts';

const WORKPLACE = '/run/pi-swarm-image';
/** The kept base is as old as its packages: from then on a build recommends a new one. */
const OLD_DAYS = 30;
const MIB = 1024 * 1024;

export interface BuildOptions {
  project: string;
  architecture: Architecture;
  out: string;
  cache: string;
  mirror: string | undefined;
  fresh: boolean;
  /** Seconds since 1970: the image's own time. */
  epoch: number;
  version: string;
  /** The agent's package. */
  deb: string;
  signal: AbortSignal;
}

export interface Built {
  image: string;
  compressedBytes: number;
  installedBytes: number;
}

/** Builds in a namespace of its own (`runInside`). @throws PiSwarmError */
export async function buildImage(options: BuildOptions): Promise<Built> {
  const { architecture, out, epoch, signal } = options;
  const show = new Show();
  const work = WORKPLACE;
  const name = `pi-swarm-${architecture}`;
  await mkdir(out, { recursive: true });
  await mountWorkplace(work, signal);
  const deny = await allowForeignPrograms(architecture, signal);
  try {
    const base = await theBase(show, options, work);
    const root = `${work}/root`;
    await show.stage('unpack the base', async () => ({ value: await unpackBase(base, root, signal) }));
    const files = `${options.project}/image`;
    await show.stage('root file system', async () => {
      await finishRoot({ root, project: options.project, deb: options.deb, epoch, signal });
      const builtAt = new Date(epoch * 1000).toISOString();
      const { boards } = BOARDS[architecture];
      await splitBoot(root, `${files}/boot`, `${work}/boot`, {
        ...{ name, version: options.version, architecture, boards, builtAt },
      });
      await notYoungerThan(root, epoch);
      return { value: undefined };
    });
    const image = `${work}/${name}.img`;
    const { rootBytes } = await show.stage('partitions', async () => {
      const value = await writeDisk({ image, boot: `${work}/boot`, root, epoch, signal });
      return { value, note: `${Math.round(value.rootBytes / MIB)} MiB root` };
    });
    const packages = await packagesIn(root);
    await show.stage('check', async () => ({
      value: await checkBuilt({ image, root, boot: `${work}/boot`, epoch, signal }),
    }));
    return await show.stage('compress', async () => {
      const manifest = { name, version: options.version, suite: SUITE, architecture, rootBytes, packages };
      const value = await pack(image, { out, name, manifest, signal });
      return { value, note: `${Math.round(value.compressedBytes / MIB)} MiB` };
    });
  } finally {
    await deny();
  }
}

/** The kept base where there is one of this recipe, and else a new one. */
async function theBase(show: Show, options: BuildOptions, work: string): Promise<string> {
  const { architecture, cache, mirror, fresh, signal } = options;
  const sources = await show.stage('Debian mirror', async progress => {
    progress('which suites it has');
    const all = sourcesOf(await machineMirrors(mirror, signal));
    const { usable, missing } = await usableSources(all, { architecture, directory: `${work}/probe`, signal });
    for (const { source, why } of missing) show.detail(`without ${source.suite}, which the mirror lacks: ${why}`);
    return { value: usable, note: usable.map(({ suite }) => suite).join(', ') };
  });
  const base = (chosen: Source[]) => ({
    architecture,
    sources: chosen,
    workDirectory: work,
    cacheDirectory: cache,
    signal,
  });
  const path = basePath({ ...base(sources), progress: () => {} });
  const days = fresh ? undefined : await baseAgeDays(path);
  if (days !== undefined) {
    if (days >= OLD_DAYS) show.detail(`its packages are ${days} days old; --fresh takes today's`);
    return path;
  }
  return show.stage('base system', async progress => ({ value: await makeBase({ ...base(sources), progress }) }));
}

/** Each file gets its name when it is whole, the image last: whoever sees it finds sum and manifest beside it. */
async function pack(
  image: string,
  options: { out: string; name: string; manifest: object; signal: AbortSignal },
): Promise<Built> {
  const { out, name, manifest, signal } = options;
  const path = `${out}/${name}.img.zst`;
  const unfinished = `${path}.unfinished`;
  try {
    const argv = ['zstd', '--quiet', '--force', '-10', '-T2', image, '-o', unfinished] as const;
    await run(argv, { limitMs: 30 * 60_000, signal });
    const hash = createHash('sha256');
    await pipeline(createReadStream(unfinished), hash);
    await writeFile(`${path}.sha256`, `${hash.digest('hex')}  ${name}.img.zst\n`);
    await writeFile(`${out}/${name}.manifest.json`, `${JSON.stringify(manifest, null, 2)}\n`);
    await rename(unfinished, path);
  } finally {
    await rm(unfinished, { force: true });
  }
  const installedBytes = (manifest as { rootBytes: number }).rootBytes;
  return { image: path, compressedBytes: (await stat(path)).size, installedBytes };
}
