import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { deriveCluster } from '../../src/io/cluster.ts';
import { type Identity, issueNodeCertificate, nodeIdOf } from '../../src/io/identity.ts';
import { generateSecret } from '../../src/io/secret.ts';
import { leafCertificate } from '../../src/io/x509.ts';

export const NOW = Date.UTC(2026, 10, 20);
export const cluster = deriveCluster(generateSecret());
export const stranger = deriveCluster(generateSecret());

export function newIdentity(): Identity {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { id: nodeIdOf(publicKey), privateKey, publicKey };
}

export const [pi1, pi2] = [newIdentity(), newIdentity()];
export const der = (pem: string): Buffer => new X509Certificate(pem).raw;
export const certify = (identity: Identity, authority = cluster): string =>
  issueNodeCertificate(authority, identity, { hostname: 'pi1', addresses: [] });

/** A node certificate that differs from the ordinary one. */
export function craft(
  identity: Identity,
  change: { id?: string; unit?: string; server?: boolean; notAfterMs?: number },
): string {
  const subject = {
    organization: 'pi-swarm',
    organizationalUnit: change.unit ?? 'node',
    commonName: change.id ?? identity.id,
  };
  const { server = true, notAfterMs = Date.UTC(2090, 0) } = change;
  const request = { subject, publicKey: identity.publicKey, server, alternativeNames: ['localhost'], notAfterMs };
  return leafCertificate(request, cluster.tag, cluster.ca.privateKey);
}

/** What a test must undo, last first. */
export type Cleanups = (() => unknown)[];

export async function listen(server: Server, cleanups: Cleanups): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => new Promise(resolve => server.close(resolve)));
  const address = server.address() as AddressInfo;
  return address.port;
}

/** A promise and the function that keeps it (Node 20 has no Promise.withResolvers). */
export function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>(keep => {
    resolve = keep;
  });
  return { promise, resolve };
}
