/** What the first boot found, for those who ask later: the agent, doctor, and whoever logs in on the screen or the serial line. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import type { Notice } from '../core/snapshot.ts';

/** In memory: each start looks anew. */
export const NOTICES_FILE = '/run/pi-swarm/boot-notices.json';
/** agetty(8) shows the files of this folder above its login prompt. */
export const ISSUE_FILE = '/run/issue.d/pi-swarm.issue';

export async function writeNotices(notices: readonly Notice[], path = NOTICES_FILE): Promise<void> {
  await mkdir(path.replace(/\/[^/]*$/, ''), { recursive: true });
  await writeFile(path, JSON.stringify(notices), { mode: 0o644 });
}

/** Empty where there are none, as on a Pi that does not run the image. */
export async function readNotices(path = NOTICES_FILE): Promise<Notice[]> {
  const text = await readFile(path, 'utf8').catch(() => '[]');
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value.filter(isNotice) : [];
  } catch {
    return [];
  }
}

const isNotice = (value: unknown): value is Notice =>
  typeof value === 'object' && value !== null && 'text' in value && typeof value.text === 'string' && 'kind' in value;

/** One line what, the next what to do. */
export const inWords = (notices: readonly Notice[]): string =>
  notices.map(({ text, cure }) => `pi-swarm: ${text}\n${cure === undefined ? '' : `  ${cure}\n`}`).join('');

/** Onto every console that the kernel writes to (screen, serial line), and above the login prompt from then on. */
export async function showOnConsoles(notices: readonly Notice[]): Promise<void> {
  const words = inWords(notices);
  await mkdir('/run/issue.d', { recursive: true });
  // agetty takes \ for the begin of an escape.
  await writeFile(ISSUE_FILE, words === '' ? '' : `${words.replaceAll('\\', '\\\\')}\n`);
  if (words === '') return;
  const active = await readFile('/sys/class/tty/console/active', 'utf8').catch(() => '');
  const present = new Set(await readdir('/dev').catch(() => []));
  for (const name of active.trim().split(/\s+/)) {
    if (!present.has(name)) continue;
    await writeFile(`/dev/${name}`, `\r\n${words.replaceAll('\n', '\r\n')}`).catch(() => undefined);
  }
}
