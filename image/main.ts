/** The command line of `npm run image`. Run twice: once outside, where it makes the agent's package, and once in the workplace. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { reportError } from '../src/cli/output.ts';
import { EnvironmentError, PiSwarmError, UsageError } from '../src/errors.ts';
import { buildImage } from './build.ts';
import { isInside, runInside } from './machine.ts';
import { ARCHITECTURES, type Architecture } from './recipe.ts';

interface Options {
  arch: Architecture;
  out: string;
  cache: string;
  mirror?: string;
  fresh?: boolean;
  deb?: string;
}

const project = resolve(dirname(fileURLToPath(import.meta.url)), '..');

const program = new Command('npm run image --')
  .description(
    'Builds the image for SD cards. Needs Linux with apt, and root; everything but the result is removed at the end.',
  )
  .addOption(new Option('--arch <architecture>', 'for which boards').choices(ARCHITECTURES).makeOptionMandatory())
  .option('--out <folder>', 'where the image goes', `${project}/dist`)
  .option('--cache <folder>', 'where the base system is kept for the next build', '/var/cache/pi-swarm')
  .option('--mirror <url>', "a Debian mirror, instead of the one of this machine's apt")
  .option('--fresh', "take today's packages, not the kept base system")
  .option('--deb <file>', "the agent's package, instead of one made now")
  .addHelpText('after', '\nSOURCE_DATE_EPOCH sets the date of the image; without it, it is that of the last commit.')
  .helpOption('-h, --help');

async function main(): Promise<void> {
  const options = program.parse().opts<Options>();
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    throw new EnvironmentError(
      'The image is made with mounts and a chroot, which only root on Linux may do.',
      'sudo npm run image -- --arch armhf',
    );
  }
  if (isInside()) return inside(options);
  const epoch = epochSeconds();
  process.env['SOURCE_DATE_EPOCH'] = String(epoch);
  const deb = options.deb === undefined ? makePackage() : resolve(options.deb);
  if (!existsSync(deb))
    throw new UsageError(`there is no file ${deb}`, 'Give the agent’s package with --deb, or leave it out.');
  process.exitCode = await runInside([...process.argv.slice(1), '--deb', deb]);
  if (process.exitCode !== 0) removeUnfinished(options.out);
}

async function inside(options: Options): Promise<void> {
  const stop = new AbortController();
  const interrupt = (): void =>
    stop.abort(
      new PiSwarmError('failure', 'interrupted; nothing of it is left', 'Run it again: what was kept is used.'),
    );
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  const { version } = JSON.parse(readFileSync(`${project}/package.json`, 'utf8')) as { version: string };
  const built = await buildImage({
    project,
    architecture: options.arch,
    out: resolve(options.out),
    cache: resolve(options.cache),
    mirror: options.mirror,
    fresh: options.fresh === true,
    epoch: epochSeconds(),
    deb: options.deb ?? '',
    version,
    signal: stop.signal,
  });
  const mib = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)} MiB`;
  console.log(`\n${built.image}  ${mib(built.compressedBytes)}, on the card ${mib(built.installedBytes)}`);
  console.log(`Write it to a card: pi-swarm flash --hostname pi1 ${built.image} /dev/sdX`);
}

/** https://reproducible-builds.org/specs/source-date-epoch/, else when the newest change was made. */
function epochSeconds(): number {
  const given = process.env['SOURCE_DATE_EPOCH'];
  const cure = 'Say when the source was last changed: SOURCE_DATE_EPOCH=$(date +%s) npm run image …';
  if (given !== undefined) {
    if (/^\d{1,12}$/.test(given)) return Number(given);
    throw new UsageError(`SOURCE_DATE_EPOCH is "${given}", not seconds since 1970`, cure);
  }
  try {
    return Number(
      execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: project, encoding: 'utf8', stdio: 'pipe' }),
    );
  } catch {
    throw new EnvironmentError(
      'the date of the image is that of the last commit, and there is no git history here',
      cure,
    );
  }
}

/** As everybody else gets it. @returns the path of the .deb */
function makePackage(): string {
  const { status } = spawnSync(process.execPath, [`${project}/scripts/package.mjs`], { stdio: 'inherit' });
  const made = readdirSync(`${project}/dist`)
    .filter(name => /^pi-swarm_.*_all\.deb$/.test(name))
    .sort()
    .at(-1);
  if (status === 0 && made !== undefined) return `${project}/dist/${made}`;
  throw new PiSwarmError('failure', 'the agent’s package could not be made', 'Try it by itself: npm run package');
}

function removeUnfinished(out: string): void {
  for (const name of existsSync(out) ? readdirSync(out) : []) {
    if (/^pi-swarm-.*\.unfinished$/.test(name)) rmSync(`${out}/${name}`, { force: true });
  }
}

await main().catch((error: unknown) => reportError(error, process.env['DEBUG'] !== undefined));
