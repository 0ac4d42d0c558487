/** From the words of the command line to settings of a card; everything is checked before anything is written. */
import { readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseConfig } from '../config.ts';
import { NotFoundError, RefusedError, UsageError } from '../errors.ts';
import { errnoOf, fileError, readFileIfAny } from '../io/files.ts';
import type { Person } from './clusters.ts';
import { checkName } from './fat-names.ts';
import type { Wifi } from './network-config.ts';
import { BOOT_FILE, type CardSettings } from './settings.ts';
import { checkUserData } from './user-data.ts';

/** As commander gives them. */
export interface SettingWords {
  hostname?: string;
  wifi?: string;
  wifiPasswordFile?: string;
  wifiCountry?: string;
  sshKey?: string[];
  user?: string;
  userdata?: string;
  config?: string;
  file?: string[];
}

export interface WishPorts {
  person: Person;
  /** Asks for a password that is not shown. @throws UsageError without a terminal */
  askPassword(question: string): Promise<string>;
  note(text: string): void;
}

/**
 * @param fresh a card that is flashed gets the person's own SSH keys where none are named
 * @throws UsageError, ConfigError, NotFoundError, RefusedError, EnvironmentError
 */
export async function settingsFrom(words: SettingWords, fresh: boolean, ports: WishPorts): Promise<CardSettings> {
  const userData = words.userdata === undefined ? undefined : await textFile(words.userdata);
  if (userData !== undefined)
    for (const warning of checkUserData(words.userdata ?? '', userData)) ports.note(`! ${warning}`);
  const config = words.config === undefined ? undefined : await textFile(words.config);
  if (config !== undefined) parseConfig([{ path: words.config ?? '', text: config }], 'pi');
  const files = await Promise.all((words.file ?? []).map(extraFile));
  // A file with users of its own says itself who may log in.
  const ownKeys = fresh && userData === undefined;
  return {
    hostname: words.hostname === undefined ? undefined : checkedHostname(words.hostname),
    wifiCountry: words.wifiCountry === undefined ? undefined : checkedCountry(words.wifiCountry),
    userName: words.user === undefined ? undefined : checkedUser(words.user),
    sshKeys: words.sshKey !== undefined ? await keysIn(words.sshKey) : ownKeys ? await keysOf(ports) : undefined,
    wifi: await wifiFrom(words, ports),
    userData,
    config,
    files,
  };
}

async function textFile(path: string): Promise<string> {
  const data = await readFileIfAny(path);
  if (data === undefined) throw new NotFoundError(`there is no file ${path}`, 'Check the path.');
  return data.toString('utf8');
}

/** RFC 1123: also what mDNS and Docker take. */
function checkedHostname(text: string): string {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(text)) return text.toLowerCase();
  throw new UsageError(
    `«${text}» cannot be a hostname`,
    'Letters, digits and dashes, at most 63, without .local: --hostname pi1',
  );
}

function checkedCountry(text: string): string {
  if (/^[a-z]{2}$/i.test(text)) return text.toUpperCase();
  throw new UsageError(`«${text}» is no country`, 'Two letters as in ISO 3166, such as --wifi-country DE.');
}

function checkedUser(text: string): string {
  if (text !== 'root' && /^[a-z_][a-z0-9_-]{0,31}$/.test(text)) return text;
  throw new UsageError(
    `«${text}» cannot be the name of a user`,
    'Small letters, digits and dashes, and not root: --user ada',
  );
}

async function wifiFrom({ wifi, wifiPasswordFile }: SettingWords, ports: WishPorts): Promise<Wifi | undefined> {
  if (wifi === undefined) {
    if (wifiPasswordFile !== undefined)
      throw new UsageError('a Wi-Fi password without a network', 'Name it: --wifi SSID.');
    return undefined;
  }
  if (wifiPasswordFile !== undefined) {
    return checkedWifi(wifi, (await textFile(wifiPasswordFile)).replace(/\r?\n$/, ''));
  }
  const colon = wifi.indexOf(':');
  if (colon < 0) return checkedWifi(wifi, await ports.askPassword(`Password of the Wi-Fi ${wifi} (none: Enter): `));
  if (colon < wifi.length - 1) {
    ports.note(
      '! Others on this computer can read a password on the command line. `--wifi SSID` without one asks for it.',
    );
  }
  return checkedWifi(wifi.slice(0, colon), wifi.slice(colon + 1));
}

/** IEEE 802.11: an SSID has 1 to 32 bytes; WPA: 8 to 63 printable characters, or the key itself as 64 hex digits. */
function checkedWifi(ssid: string, password: string): Wifi {
  const bytes = Buffer.byteLength(ssid);
  if (bytes < 1 || bytes > 32 || /\p{Cc}/u.test(ssid)) {
    throw new UsageError(
      `the name of a Wi-Fi has 1 to 32 bytes, this one ${bytes}`,
      'Give it as --wifi "SSID:password".',
    );
  }
  if (password === '') return { ssid, password: undefined };
  if (/^[0-9a-f]{64}$/i.test(password) || /^[\x20-\x7e]{8,63}$/.test(password)) return { ssid, password };
  throw new UsageError(
    `the password of the Wi-Fi has to have 8 to 63 letters, digits and signs; this one has ${password.length}`,
    'A network without one: --wifi "SSID:". A name with a colon: --wifi "NA:ME" --wifi-password-file FILE.',
  );
}

const KEY =
  /^(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]{40,}={0,3}(?: .*)?$/;

/** Public keys, one on each line as in authorized_keys. @throws RefusedError also for a private key, which stays here */
async function keysIn(paths: readonly string[]): Promise<string[]> {
  const keys: string[] = [];
  for (const path of paths) {
    const text = await textFile(path);
    if (text.includes('PRIVATE KEY'))
      throw new RefusedError(
        `${path} is a private key; it must not leave this computer`,
        `Give its other half: --ssh-key ${path}.pub`,
      );
    const lines = text
      .split(/\r?\n/)
      .map(line => line.trim())
      .filter(line => line !== '' && !line.startsWith('#'));
    const odd = lines.find(line => !KEY.test(line));
    if (lines.length === 0 || odd !== undefined) {
      throw new RefusedError(
        `${path} holds ${lines.length === 0 ? 'no' : 'something else than'} SSH public keys`,
        'Give a file such as ~/.ssh/id_ed25519.pub; `ssh-keygen` makes one.',
      );
    }
    keys.push(...lines);
  }
  return [...new Set(keys)];
}

const USUAL_KEYS = ['id_ed25519', 'id_ed25519_sk', 'id_ecdsa', 'id_ecdsa_sk', 'id_rsa'];

async function keysOf({ person, note }: WishPorts): Promise<string[] | undefined> {
  for (const name of USUAL_KEYS) {
    const path = join(person.home, '.ssh', `${name}.pub`);
    const keys = (await stat(path).catch(() => undefined))?.isFile() ? await keysIn([path]).catch(() => []) : [];
    if (keys.length === 0) continue;
    note(`SSH key: ${path} (others with --ssh-key)`);
    return keys;
  }
  return undefined;
}

const OURS = new Map<string, string>([
  [BOOT_FILE.config, '--config'],
  [BOOT_FILE.secret, '--cluster'],
  [BOOT_FILE.userData, '--userdata'],
]);
const EXTRA_MAX_BYTES = 64 * 1024 * 1024;

/** `SRC:DEST`, or `SRC` for the same name. DEST is on the boot partition, which the Pi has as /boot/firmware. */
async function extraFile(word: string): Promise<{ path: string; data: Buffer }> {
  const colon = word.lastIndexOf(':');
  const source = colon > 0 ? word.slice(0, colon) : word;
  const path = (colon > 0 ? word.slice(colon + 1) : basename(word))
    .replace(/^\/boot\/firmware\//, '')
    .replace(/^\/+/, '');
  for (const name of path.split('/')) checkName(name);
  const option = OURS.get(path.toLowerCase());
  if (option !== undefined)
    throw new UsageError(`${path} has an option of its own`, `Use ${option}, which checks it first.`);
  const found = await stat(source).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT')
      throw new NotFoundError(`there is no file ${source}`, 'Check the path: --file SOURCE:DESTINATION.');
    throw fileError(`cannot read ${source}`, error);
  });
  if (!found.isFile()) throw new RefusedError(`${source} is not a file`, 'Give --file once for each file.');
  if (found.size > EXTRA_MAX_BYTES)
    throw new RefusedError(`${source} is too large for the boot partition`, 'At most 64 MiB.');
  return {
    path,
    data: await readFile(source).catch((error: unknown) => {
      throw fileError(`cannot read ${source}`, error);
    }),
  };
}
