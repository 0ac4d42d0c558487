/**
 * What happens on a card before anything else starts, at every boot: what must differ from card to card is made where it is
 * missing, the secret leaves the boot partition, and what a person wrote there is checked. Each step stands for itself and may be
 * cut off anywhere: the next boot does what is left.
 */
import { readFile } from 'node:fs/promises';
import type { Notice } from '../core/snapshot.ts';
import { messageOf } from '../errors.ts';
import { readFileIfAny, writeFileAtomic } from '../io/files.ts';
import { loadOrCreateIdentity } from '../io/identity.ts';
import { BOOT_FILES, type BootFile, bootMistakes } from './boot-files.ts';
import { defaultHostname, isUnnamed } from './hostname.ts';
import { moveSecret } from './secret-move.ts';
import { makeHostKeys } from './ssh-keys.ts';

export interface FirstBootPlaces {
  /** The FAT partition that any computer can edit. */
  boot: string;
  etc: string;
  stateDir: string;
}

export const PLACES: FirstBootPlaces = { boot: '/boot/firmware', etc: '/etc', stateDir: '/var/lib/pi-swarm' };

export interface FirstBootPorts {
  /** Tells the kernel; the file is written already. */
  setHostname(name: string): Promise<void>;
  /** One line for the log. */
  say(text: string): void;
}

/** @returns what a person should know; never throws, for a Pi that starts can be asked what is wrong */
export async function firstBoot(places: FirstBootPlaces, ports: FirstBootPorts): Promise<Notice[]> {
  const { boot, etc, stateDir } = places;
  const notices: Notice[] = [];
  const step = async (what: string, work: () => Promise<Notice[] | undefined>): Promise<void> => {
    try {
      notices.push(...((await work()) ?? []));
    } catch (error) {
      const cure = 'Is the SD card whole? `dmesg` says more; the next start tries it again.';
      notices.push({ severity: 'error', kind: 'first-boot', text: `${what}: ${messageOf(error)}`, cure });
    }
  };
  await step('the node key could not be made', async () => {
    const { id } = await loadOrCreateIdentity(stateDir);
    await nameIt(etc, id, ports);
    return undefined;
  });
  await step('the ssh host keys could not be made', async () => {
    for (const path of await makeHostKeys(`${etc}/ssh`)) ports.say(`made ${path}`);
    return undefined;
  });
  await step('the cluster secret could not be moved off the boot partition', () =>
    moveSecret(`${boot}/pi-swarm.secret`, `${etc}/pi-swarm/secret`, ports.say),
  );
  await step('the boot partition could not be read', () => checkFiles(boot));
  return notices;
}

/** A card has no name yet: then that of its key, which no other card has. cloud-init gives it the one in user-data, if any. */
async function nameIt(etc: string, id: string, ports: FirstBootPorts): Promise<void> {
  const present = (await readFileIfAny(`${etc}/hostname`))?.toString('utf8');
  if (!isUnnamed(present)) return;
  const name = defaultHostname(id);
  await writeFileAtomic(`${etc}/hostname`, `${name}\n`, 0o644);
  await ports.setHostname(name);
  ports.say(`this Pi is called ${name}, unless user-data says otherwise`);
}

async function checkFiles(boot: string): Promise<Notice[]> {
  const texts: Partial<Record<BootFile, string>> = {};
  for (const name of BOOT_FILES) {
    const text = await readFile(`${boot}/${name}`, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text !== undefined) texts[name] = text;
  }
  return bootMistakes(texts, boot).map(({ path, line, column, text }) => ({
    severity: 'error',
    kind: 'boot-file',
    text: `${path}:${line}:${column}: ${text}`,
    cure: cureFor(path),
  }));
}

/** cloud-init reads its files once; the agent reads its own at each start. */
const cureFor = (path: string): string =>
  path.endsWith('/pi-swarm.yaml')
    ? 'Correct it here or, with the card in another computer, there; then: sudo systemctl restart pi-swarm'
    : 'Correct it here or, with the card in another computer, there, then start once more: sudo cloud-init clean --reboot';
