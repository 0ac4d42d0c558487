/** Gives a Pi its cluster secret: by the running agent, or into the file when none runs. */
import { belongsElsewhere } from '../commands/membership.ts';
import { callAgent } from '../control/client.ts';
import { isPiSwarmError } from '../errors.ts';
import { type ClusterSecret, formatSecret, readSecretFile } from '../io/secret.ts';
import { type CommonOptions, configOf, socketOf } from './options.ts';
import { writeOwnSecret } from './own-secret.ts';

export interface Taken {
  /** Whether an agent runs that will act on it. */
  agent: boolean;
  /** It is another secret than before. */
  changed: boolean;
}

/** @throws RefusedError when the Pi has another secret and `force` is not set */
export async function takeSecret(secret: ClusterSecret, options: CommonOptions & { force?: boolean }): Promise<Taken> {
  const force = options.force === true;
  const socket = await socketOf(options);
  try {
    const answer = await callAgent(socket, 'claim', { secret: formatSecret(secret), force });
    return { agent: true, changed: (answer as { changed: boolean }).changed };
  } catch (error) {
    if (!isPiSwarmError(error) || error.code !== 'unavailable') throw error;
    // No permission for a socket that exists: the file would be refused just the same, with less help.
    if (process.getuid?.() !== 0) throw error;
  }
  const { secretFile } = await configOf(options);
  const old = await readSecretFile(secretFile).catch(() => undefined);
  if (old?.equals(secret)) return { agent: false, changed: false };
  if (old !== undefined && !force) throw belongsElsewhere();
  await writeOwnSecret(secretFile, secret);
  return { agent: false, changed: true };
}
