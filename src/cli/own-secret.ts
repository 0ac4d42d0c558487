/** The cluster secret of this Pi, as the command line reads and writes it: as root, straight in its file. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { EnvironmentError, NotFoundError } from '../errors.ts';
import { type ClusterSecret, readSecretFile, writeSecretFile } from '../io/secret.ts';
import { type CommonOptions, configOf } from './options.ts';

/** The secret of this Pi. @throws EnvironmentError without root, NotFoundError when it has none, SecretError */
export async function ownSecret(options: CommonOptions): Promise<ClusterSecret> {
  const { secretFile } = await configOf(options);
  const secret = await readSecretFile(secretFile).catch((error: unknown) => {
    if (process.getuid?.() === 0 || !(error instanceof EnvironmentError)) throw error;
    throw new EnvironmentError('only root may read the cluster secret', 'Run it with sudo.', { cause: error });
  });
  if (secret !== undefined) return secret;
  throw new NotFoundError(
    `this Pi has no cluster secret (there is no ${secretFile})`,
    'To found a cluster: sudo pi-swarm secret new --write\nTo enter one: sudo pi-swarm join TOKEN (TOKEN from `sudo pi-swarm invite` on one of its Pis)',
  );
}

/** For when no agent runs. */
export async function writeOwnSecret(path: string, secret: ClusterSecret): Promise<void> {
  if (process.getuid?.() !== 0) throw new EnvironmentError(`only root may write ${path}`, 'Run it with sudo.');
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await writeSecretFile(path, secret);
}
