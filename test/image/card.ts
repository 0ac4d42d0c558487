/** A card as a person makes it: the image, larger, with settings on its boot partition. */
import { truncateSync, writeFileSync } from 'node:fs';
import { commandOk } from '../../src/lab/process.ts';
import { bootOffset } from './parts.ts';

export interface CardWishes {
  image: string;
  card: string;
  cardBytes: number;
  hostname: string;
  /** Public ssh key. */
  key: string;
  /** `PISW1-…` */
  secret: string;
  /** More lines of user-data. */
  more?: string;
}

export async function makeCard({
  image,
  card,
  cardBytes,
  hostname,
  key,
  secret,
  more = '',
}: CardWishes): Promise<void> {
  await commandOk(['cp', '--sparse=always', image, card], { timeoutMs: 600_000 });
  truncateSync(card, cardBytes);
  const files = {
    'user-data': `#cloud-config\nhostname: ${hostname}\nssh_authorized_keys:\n  - ${key}\n${more}`,
    'meta-data': `instance-id: pi-swarm-${hostname}\n`,
    'pi-swarm.secret': `${secret}\n`,
  };
  for (const [name, text] of Object.entries(files)) {
    const path = `${card}.${name}`;
    writeFileSync(path, text);
    await commandOk(['mcopy', '-o', '-i', `${card}@@${bootOffset}`, path, `::${name}`], { timeoutMs: 60_000 });
  }
}
