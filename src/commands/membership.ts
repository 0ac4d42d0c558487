/** `claim`, `return`, `leave`: whether this Pi belongs to the cluster. Only for the command line of this Pi. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as z from 'zod';
import type { Snapshot } from '../core/snapshot.ts';
import { RefusedError } from '../errors.ts';
import { parseSecret, readSecretFile, writeSecretFile } from '../io/secret.ts';
import { readBody } from './body.ts';
import type { CommandDeps } from './types.ts';

const claimBody = z.strictObject({ secret: z.string().max(200), force: z.boolean().default(false) });
const leaveBody = z.strictObject({ force: z.boolean().default(false) });

/**
 * Takes a cluster secret: writes the file, tells the agent. The same secret again only brings a Pi back that had left.
 * @returns { changed } whether the secret is another one than before
 * @throws SecretError for a misspelt one, RefusedError when the Pi has another one and `force` is not set
 */
export async function claim(deps: CommandDeps, body: unknown): Promise<{ changed: boolean }> {
  const wish = readBody(claimBody, body);
  const secret = parseSecret(wish.secret);
  // A damaged file is no secret: it may be replaced without force.
  const old = await readSecretFile(deps.secretFile).catch(() => undefined);
  if (old?.equals(secret)) {
    await deps.requestIntent('stay');
    if (!deps.snapshot().self.claimed) await deps.pickUpSecret();
    return { changed: false };
  }
  if (old !== undefined && !wish.force) throw belongsElsewhere();
  await mkdir(dirname(deps.secretFile), { recursive: true, mode: 0o755 });
  await writeSecretFile(deps.secretFile, secret);
  await deps.requestIntent('stay');
  await deps.pickUpSecret();
  return { changed: true };
}

export const belongsElsewhere = (): RefusedError =>
  new RefusedError(
    'this Pi belongs to another cluster: it has another secret',
    'To move it, let it leave first (sudo pi-swarm leave), then: sudo pi-swarm join TOKEN --force\nIts old secret is overwritten; `sudo pi-swarm secret show` prints it for safekeeping.',
  );

/** Brings a Pi back that has left: its secret is still there. @throws RefusedError where there is none */
export async function comeBack(deps: CommandDeps): Promise<{ intent: 'stay' }> {
  if (!deps.snapshot().self.claimed) {
    throw new RefusedError(
      'this Pi has no cluster secret, so it cannot go back to a cluster',
      'On a Pi of the cluster: sudo pi-swarm invite. Then here: sudo pi-swarm join TOKEN',
    );
  }
  await deps.requestIntent('stay');
  return { intent: 'stay' };
}

/** Starts leaving; the loop drains, hands over and goes (bounded by `drainTimeout`). */
export async function leave(deps: CommandDeps, body: unknown): Promise<{ intent: 'leave' }> {
  const { force } = readBody(leaveBody, body);
  const snapshot = deps.snapshot();
  const services = snapshot.cluster.services?.length ?? 0;
  if (!force && services > 0 && isLast(snapshot)) {
    throw new RefusedError(
      `this is the last Pi of the swarm, and ${services === 1 ? '1 service runs' : `${services} services run`} on it`,
      'Leaving would end them and forget them. If that is meant: sudo pi-swarm leave --force',
    );
  }
  await deps.requestIntent('leave');
  return { intent: 'leave' };
}

/** No other node of the swarm could take the work. */
function isLast({ self, cluster }: Snapshot): boolean {
  if (self.swarm.state !== 'active') return false;
  return !cluster.pis.some(pi => !pi.self && pi.swarmNodeId !== undefined && pi.swarmState === 'ready');
}
