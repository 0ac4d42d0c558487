/**
 * Where the packages come from: the mirrors that this machine's apt uses. They are read when the image is built, and stand
 * neither in this project nor in the image, whose own sources name deb.debian.org.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { EnvironmentError, messageOf, PiSwarmError } from '../src/errors.ts';
import { type Architecture, COMPONENTS, SUITE } from './recipe.ts';
import { run } from './tools.ts';

export const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
export const DEBIAN = 'http://deb.debian.org/debian';
export const DEBIAN_SECURITY = 'http://deb.debian.org/debian-security';

export interface Mirrors {
  debian: string;
  security: string;
}

export interface Source {
  uri: string;
  suite: string;
  /** Without it there is no image; the others are taken where the mirror has them whole. */
  needed: boolean;
}

/** `apt-get indextargets`: label and address of each repository, separated by `|`. Pure. */
export function mirrorsFrom(indexTargets: string): Partial<Mirrors> {
  const found: Partial<Mirrors> = {};
  for (const line of indexTargets.split('\n')) {
    const [label, uri = ''] = line.split('|');
    const plain = uri.replace(/\/$/, '');
    if (label === 'Debian') found.debian ??= plain;
    if (label === 'Debian-Security') found.security ??= plain;
  }
  return found;
}

/** @throws PiSwarmError where apt itself does not run */
export async function machineMirrors(given: string | undefined, signal: AbortSignal): Promise<Mirrors> {
  if (given !== undefined) {
    const debian = given.replace(/\/$/, '');
    return { debian, security: debian.replace(/\/debian$/, '/debian-security') };
  }
  const format = ['--format', '$(LABEL)|$(REPO_URI)', 'Created-By: Packages'] as const;
  const listed = mirrorsFrom(await run(['apt-get', 'indextargets', ...format], { limitMs: 60_000, signal }));
  const debian = listed.debian ?? DEBIAN;
  const beside = debian.replace(/\/debian$/, '/debian-security');
  return { debian, security: listed.security ?? (beside === debian ? DEBIAN_SECURITY : beside) };
}

export const sourcesOf = ({ debian, security }: Mirrors): Source[] => [
  { uri: debian, suite: SUITE, needed: true },
  { uri: debian, suite: `${SUITE}-updates`, needed: false },
  { uri: security, suite: `${SUITE}-security`, needed: false },
];

export const sourceLine = ({ uri, suite }: Source): string => `deb ${uri} ${suite} ${COMPONENTS.join(' ')}`;

/** The machine's way to the mirror (proxies, dates that a mirror's copy may have); never a choice of packages. */
export async function acquireOptions(signal: AbortSignal): Promise<string[]> {
  const dump = await run(['apt-config', 'dump', 'Acquire'], { limitMs: 30_000, signal });
  return dump.split('\n').filter(line => /^Acquire::(https?::|Check-Valid-Until|Check-Date|Retries)/i.test(line));
}

/**
 * Which of the suites the mirror really has for this architecture, signed by Debian's keys: some serve updates and security
 * of armhf half, and that would end a build in its middle.
 * @throws EnvironmentError where the suite itself cannot be had
 */
export async function usableSources(
  sources: readonly Source[],
  options: { architecture: Architecture; directory: string; signal: AbortSignal },
): Promise<{ usable: Source[]; missing: { source: Source; why: string }[] }> {
  const usable: Source[] = [];
  const missing: { source: Source; why: string }[] = [];
  for (const source of sources) {
    const why = await complaint(source, options);
    if (why === undefined) usable.push(source);
    else if (!source.needed) missing.push({ source, why });
    else {
      throw new EnvironmentError(
        `${source.suite} for ${options.architecture} cannot be had from this machine's Debian mirror: ${why}`,
        'Is it online? Another mirror: npm run image -- --mirror http://deb.debian.org/debian',
      );
    }
  }
  return { usable, missing };
}

/** `apt-get update` with folders of its own: signatures are checked, and the machine's apt is left alone. */
async function complaint(
  source: Source,
  { architecture, directory, signal }: { architecture: Architecture; directory: string; signal: AbortSignal },
): Promise<string | undefined> {
  const here = `${directory}/${source.suite}`;
  await mkdir(`${here}/lists/partial`, { recursive: true });
  await writeFile(`${here}/sources.list`, `${sourceLine(source).replace('deb ', `deb [signed-by=${KEYRING}] `)}\n`);
  const settings = [
    `Dir::Etc::SourceList=${here}/sources.list`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::Lists=${here}/lists`,
    `Dir::Cache=${here}`,
    `APT::Architecture=${architecture}`,
    `APT::Architectures::=${architecture}`,
    'APT::Update::Error-Mode=any',
  ];
  try {
    const words = settings.flatMap(setting => ['-o', setting]);
    await run(['apt-get', ...words, 'update'], { limitMs: 5 * 60_000, signal });
    return undefined;
  } catch (error) {
    if (!(error instanceof PiSwarmError)) throw error;
    const said = messageOf(error).split('\n');
    const reason = said.find(line => /^ {2}\| (E:|W:|Err)/.test(line)) ?? said.at(-1) ?? '';
    return reason
      .replace(/^ {2}\| /, '')
      .replace(/https?:\/\/\S+/g, 'the mirror')
      .trim();
  }
}
