/** A card as a person makes it: with `pi-swarm flash`, into a file. */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../../src/lab/process.ts';

const program = join(import.meta.dirname, '../../dist/pi-swarm.mjs');

export interface CardWishes {
  /** As it was downloaded. */
  image: string;
  card: string;
  cardBytes: number;
  hostname: string;
  /** File with a public ssh key. */
  keyFile: string;
  /** Where the person's own files are: the secrets of their clusters. */
  home: string;
}

/** The three cards of one test are of one cluster, whose secret the first of them makes. @throws with what flash says */
export async function makeCard({ image, card, cardBytes, hostname, keyFile, home }: CardWishes): Promise<void> {
  // Three processors emulated by two: each is silent for seconds, and the swarm would give up one after the other.
  const config = `${home}/pi-swarm.yaml`;
  writeFileSync(config, 'dispatcherHeartbeat: 10s\n');
  const settings = ['--hostname', hostname, '--cluster', 'shelf', '--ssh-key', keyFile, '--config', config];
  const environment = ['env', '-u', 'SUDO_USER', `HOME=${home}`, `XDG_CONFIG_HOME=${home}/.config`] as const;
  const words = [process.execPath, program, 'flash', '--yes', ...settings, image, card];
  const { code, stderr } = await command([...environment, ...words], { timeoutMs: 30 * 60_000 });
  if (code !== 0) throw new Error(`flash ended with ${code}: ${stderr}`);
  truncateSync(card, cardBytes);
}
