/** What a person wants to be on the card's boot partition, and the files that say so to the Pi. */
import { randomBytes } from 'node:crypto';
import { type ClusterSecret, formatSecret } from '../io/secret.ts';
import type { Fat32 } from './fat32.ts';
import { editNetworkConfig, networksIn, type Wifi } from './network-config.ts';
import { checkUserData, editUserData, readUserData } from './user-data.ts';

/** Files of the boot partition; the first boot reads them (docs/flash.md). */
export const BOOT_FILE = {
  config: 'pi-swarm.yaml',
  secret: 'pi-swarm.secret',
  userData: 'user-data',
  metaData: 'meta-data',
  network: 'network-config',
  image: 'pi-swarm-image.json',
} as const;

export interface CardSettings {
  hostname?: string;
  wifi?: Wifi;
  /** Two letters, such as DE. */
  wifiCountry?: string;
  /** Instead of the image's own user, `pi`. */
  userName?: string;
  /** Lines as in authorized_keys. */
  sshKeys?: readonly string[];
  secret?: ClusterSecret;
  /** Instead of the card's own; passed `checkUserData`. */
  userData?: string;
  /** Instead of the card's own `pi-swarm.yaml`; checked. */
  config?: string;
  /** More files, by their path on the boot partition. */
  files: readonly { path: string; data: Buffer }[];
}

/** Whether anything of it needs cloud-init, which looks at its files once for each instance-id. */
const needsCloudInit = ({ hostname, wifi, wifiCountry, userName, sshKeys, userData }: CardSettings): boolean =>
  [hostname, wifi, wifiCountry, userName, sshKeys, userData].some(part => part !== undefined);

const changesUserData = ({ hostname, userName, sshKeys, userData }: CardSettings): boolean =>
  [hostname, userName, sshKeys, userData].some(part => part !== undefined);

/**
 * The files to write, by path. `fresh`: the card was just flashed, so it gets an instance-id of its own in any case.
 * @throws ConfigError a file that is on the card already is broken
 */
export async function bootFilesFor(fat: Fat32, wanted: CardSettings, fresh: boolean): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const put = (path: string, text: string) => files.set(path, Buffer.from(text));
  for (const { path, data } of wanted.files) files.set(path, data);
  if (wanted.config !== undefined) put(BOOT_FILE.config, wanted.config);
  if (wanted.secret !== undefined) put(BOOT_FILE.secret, `${formatSecret(wanted.secret)}\n`);
  if (changesUserData(wanted)) {
    const before = wanted.userData ?? (await textOf(fat, BOOT_FILE.userData)) ?? '#cloud-config\n';
    checkUserData(onCard(BOOT_FILE.userData), before);
    put(BOOT_FILE.userData, editUserData(before, wanted));
  }
  if (wanted.wifi !== undefined || wanted.wifiCountry !== undefined) {
    const before = await textOf(fat, BOOT_FILE.network);
    put(BOOT_FILE.network, editNetworkConfig(onCard(BOOT_FILE.network), before, wanted.wifi, wanted.wifiCountry));
  }
  if (fresh || needsCloudInit(wanted)) {
    put(BOOT_FILE.metaData, `instance-id: pi-swarm-${randomBytes(4).toString('hex')}\n`);
  }
  return files;
}

/** What is on a card, for people; never the secret or a password. */
export interface ShownSettings {
  hostname: string | undefined;
  users: string[];
  sshKeys: number;
  networks: string[];
  /** Not yet moved off the card by a first boot. */
  hasSecret: boolean;
}

/** @throws ConfigError a file of the card is broken: file, line and column */
export async function readSettings(fat: Fat32): Promise<ShownSettings> {
  const userData = await textOf(fat, BOOT_FILE.userData);
  const network = await textOf(fat, BOOT_FILE.network);
  if (userData !== undefined) checkUserData(onCard(BOOT_FILE.userData), userData);
  return {
    ...readUserData(onCard(BOOT_FILE.userData), userData ?? ''),
    networks: network === undefined ? [] : networksIn(onCard(BOOT_FILE.network), network),
    hasSecret: (await fat.read(BOOT_FILE.secret)) !== undefined,
  };
}

const onCard = (name: string): string => `${name} on the card`;

const textOf = async (fat: Fat32, name: string): Promise<string | undefined> =>
  (await fat.read(name))?.toString('utf8');
