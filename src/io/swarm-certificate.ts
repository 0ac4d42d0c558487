/** The engine's own certificate for its swarm: what it starts as on the next boot, whatever it is by then. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../ports.ts';

const LOOK_EVERY_MS = 250;
/** The engine asks for the new one within a second or, when the first manager it asks has just stopped, within ten. */
const RENEWAL_MS = 15_000;

/** `OU` of swarm-node.crt (swarmkit ca/certificates.go); undefined where there is none to be read. */
export async function certificateRole(dockerRoot: string): Promise<'manager' | 'worker' | undefined> {
  try {
    const { subject } = new X509Certificate(await readFile(join(dockerRoot, 'swarm/certificates/swarm-node.crt')));
    const [, role] = /^OU=swarm-(manager|worker)$/m.exec(subject) ?? [];
    return role === 'manager' || role === 'worker' ? role : undefined;
  } catch {
    return undefined;
  }
}

/**
 * An engine that was demoted and goes off before it has its worker's certificate comes back as a manager, joins Raft
 * anew and stops then: a member that swarm never removes (swarmkit's role manager looks only at nodes that change).
 */
export async function untilNoManager(dockerRoot: string, clock: Clock, signal: AbortSignal): Promise<void> {
  const endMs = clock.now() + RENEWAL_MS;
  while (!signal.aborted && clock.now() < endMs && (await certificateRole(dockerRoot)) === 'manager') {
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
}
