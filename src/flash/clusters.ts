/**
 * The clusters of the person who flashes: for each a secret, and which hostnames its cards have. In
 * `~/.config/pi-swarm/clusters` (XDG Base Directory Specification), readable by its owner only.
 */
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { EnvironmentError, RefusedError, UsageError } from '../errors.ts';
import { fileError, readFileIfAny, writeFileAtomic } from '../io/files.ts';
import { type ClusterSecret, generateSecret, readSecretFile, writeSecretFile } from '../io/secret.ts';

/** Who runs it, also below sudo: their secrets must not end up in root's folder. */
export interface Person {
  home: string;
  /** Set below sudo: whom new files belong to. */
  owner: { uid: number; gid: number } | undefined;
}

export async function personOf(env: NodeJS.ProcessEnv = process.env): Promise<Person> {
  const name = env['SUDO_USER'] ?? '';
  const [uid, gid] = [Number(env['SUDO_UID']), Number(env['SUDO_GID'])];
  const below = process.getuid?.() === 0 && /^[a-z_][a-z0-9_.-]*$/i.test(name) && uid > 0 && gid > 0;
  if (!below) return { home: env['HOME'] || homedir(), owner: undefined };
  // The shell knows everybody's home, on Linux and macOS; sudo's own $HOME is root's.
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', `echo ~${name}`], { timeout: 10_000 });
  const home = stdout.trim();
  return home.startsWith('/') ? { home, owner: { uid, gid } } : { home: homedir(), owner: undefined };
}

/** `configHome`, `cacheHome`: XDG's folders; below sudo their variables are root's, and do not count. */
export const configHome = ({ home, owner }: Person, env: NodeJS.ProcessEnv = process.env): string =>
  (owner === undefined && env['XDG_CONFIG_HOME']) || join(home, '.config');
export const cacheHome = ({ home, owner }: Person, env: NodeJS.ProcessEnv = process.env): string =>
  (owner === undefined && env['XDG_CACHE_HOME']) || join(home, '.cache');

/** Makes the folders that are missing, as that person's own. */
export async function makeFolder(person: Person, path: string, mode: number): Promise<void> {
  try {
    const first = await mkdir(path, { recursive: true, mode });
    if (first === undefined || person.owner === undefined) return;
    for (let made = path; made.length >= first.length; made = join(made, '..')) {
      await chown(made, person.owner.uid, person.owner.gid);
    }
  } catch (error) {
    throw fileError(`cannot make the folder ${path}`, error);
  }
}

export interface Cluster {
  name: string;
  secret: ClusterSecret;
  /** Made just now: nobody has it yet. */
  isNew: boolean;
  /** The file that holds the secret. */
  path: string;
  /** Hostnames of the cards flashed before, the newest last. */
  cards: readonly FlashedCard[];
  /** Remembers one more. */
  remember(hostname: string, at: Date): Promise<void>;
}

export interface FlashedCard {
  hostname: string;
  /** ISO 8601. */
  at: string;
}

/** More cards than that are another cluster's; the oldest are forgotten. */
const CARDS_MAX = 1000;

/** @throws UsageError a name that is no file name; SecretError, EnvironmentError, RefusedError */
export async function openCluster(name: string, person: Person): Promise<Cluster> {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/i.test(name)) {
    throw new UsageError(
      `«${name}» cannot be the name of a cluster`,
      'Take letters, digits and dashes: --cluster shelf.',
    );
  }
  const folder = join(configHome(person), 'pi-swarm', 'clusters');
  await makeFolder(person, folder, 0o700);
  await chmod(folder, 0o700).catch((error: unknown) => {
    throw fileError(`cannot close ${folder} to others`, error);
  });
  const path = join(folder, name);
  const known = await readSecretFile(path);
  if (known !== undefined && ((await stat(path)).mode & 0o077) !== 0) {
    throw new RefusedError(`${path} can be read by others: it is a cluster secret`, `chmod 600 ${path}`);
  }
  const secret = known ?? generateSecret();
  if (known === undefined) {
    await writeSecretFile(path, secret);
    await own(person, path);
  }
  const listPath = `${path}.json`;
  const cards = await readCards(listPath);
  return {
    name,
    secret,
    isNew: known === undefined,
    path,
    cards,
    async remember(hostname, at) {
      const others = cards.filter(card => card.hostname !== hostname);
      const list = [...others, { hostname, at: at.toISOString() }].slice(-CARDS_MAX);
      await writeFileAtomic(listPath, `${JSON.stringify({ cards: list }, null, 2)}\n`, 0o600);
      await own(person, listPath);
    },
  };
}

async function own({ owner }: Person, path: string): Promise<void> {
  if (owner !== undefined) await chown(path, owner.uid, owner.gid);
}

async function readCards(path: string): Promise<FlashedCard[]> {
  const text = await readFileIfAny(path);
  if (text === undefined) return [];
  try {
    const { cards } = JSON.parse(text.toString('utf8')) as { cards: FlashedCard[] };
    if (cards.every(({ hostname, at }) => typeof hostname === 'string' && typeof at === 'string')) return cards;
  } catch {
    // Said below, as for what is JSON and no list.
  }
  throw new EnvironmentError(
    `${path} is damaged; it holds the hostnames of the cards flashed before`,
    'Move it away: only warnings about equal hostnames are lost.',
  );
}

/** `pi1` → `pi2`, `kitchen` → `kitchen2`: the next one that no card has. */
export function nextHostname(hostname: string, cards: readonly FlashedCard[]): string {
  const taken = new Set(cards.map(card => card.hostname));
  const [, base = hostname, digits = '1'] = /^(.*?)(\d+)?$/.exec(hostname) ?? [];
  for (let number = Number(digits) + 1; ; number++) {
    const candidate = `${base}${String(number).padStart(digits.length, '0')}`;
    if (!taken.has(candidate)) return candidate;
  }
}
