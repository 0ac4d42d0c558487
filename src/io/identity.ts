/** The node's own key, made on first boot and never copied, and the certificates that holders of the secret issue. */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import type { NodeId } from '../core/world.ts';
import { EnvironmentError, UsageError } from '../errors.ts';
import type { Cluster } from './cluster.ts';
import { ensurePrivateDirectory, readFileIfAny, writeFileAtomic } from './files.ts';
import { leafCertificate, NOT_AFTER_MS } from './x509.ts';

export interface Identity {
  id: NodeId;
  privateKey: KeyObject;
  publicKey: KeyObject;
}

export const KEY_FILE = 'node.key';
/** RFC 5280 appendix A, ub-common-name. */
const NAME_LENGTH_MAX = 64;

/** First 16 hex digits of SHA-256 over the key's SPKI (DER). */
export const nodeIdOf = (publicKey: KeyObject): NodeId =>
  createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, 16);

/**
 * The key in `stateDir`/node.key (PKCS#8 PEM, 0600); made when there is none.
 * A damaged key is never replaced by itself: the cluster knows this Pi by it.
 * @throws EnvironmentError
 */
export async function loadOrCreateIdentity(stateDir: string): Promise<Identity> {
  await ensurePrivateDirectory(stateDir);
  const path = join(stateDir, KEY_FILE);
  const pem = await readFileIfAny(path);
  if (pem !== undefined) return identityOf(readKey(path, pem));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writeFileAtomic(path, privateKeyPem(privateKey), 0o600);
  return identityOf(privateKey);
}

/** For TLS and for the file; a secret. */
export const privateKeyPem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

/**
 * The node's own certificate under the cluster's CA: CN = node id, OU = node, for client and server. PEM.
 * To be issued anew when the host name or an address changes; the key stays.
 */
export function issueNodeCertificate(
  cluster: Cluster,
  identity: Identity,
  names: { hostname: string; addresses: string[] },
): string {
  const local = `${names.hostname.split('.')[0]}.local`;
  const alternativeNames = [names.hostname, local, 'localhost', '127.0.0.1', '::1', ...names.addresses];
  return leafCertificate(
    {
      subject: { organization: 'pi-swarm', organizationalUnit: 'node', commonName: identity.id },
      publicKey: identity.publicKey,
      server: true,
      alternativeNames: [...new Set(alternativeNames)],
      notAfterMs: NOT_AFTER_MS,
    },
    cluster.tag,
    cluster.ca.privateKey,
  );
}

/** The three files that Docker's `--tlscacert --tlscert --tlskey` want. `key` is a secret. */
export interface ClientCredentials {
  ca: string;
  certificate: string;
  key: string;
}

/**
 * A key and certificate for a Docker client: CN = `name`, OU = client. May use the endpoint, never the peer routes.
 * It cannot be taken back before `notAfterMs` (default: 2099) except by a new cluster secret.
 * @throws UsageError when the name is empty, longer than 64 characters or holds control characters.
 */
export function issueClientCertificate(
  cluster: Cluster,
  name: string,
  options: { notAfterMs?: number } = {},
): ClientCredentials {
  if (name === '' || name.length > NAME_LENGTH_MAX || /\p{Cc}/u.test(name)) {
    throw new UsageError(
      `a client's name has 1 to ${NAME_LENGTH_MAX} printable characters`,
      'Use a name like `laptop`.',
    );
  }
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = leafCertificate(
    {
      subject: { organization: 'pi-swarm', organizationalUnit: 'client', commonName: name },
      publicKey,
      server: false,
      alternativeNames: [],
      notAfterMs: options.notAfterMs ?? NOT_AFTER_MS,
    },
    cluster.tag,
    cluster.ca.privateKey,
  );
  return { ca: cluster.ca.certificate, certificate, key: privateKeyPem(privateKey) };
}

function identityOf(privateKey: KeyObject): Identity {
  const publicKey = createPublicKey(privateKey);
  return { id: nodeIdOf(publicKey), privateKey, publicKey };
}

function readKey(path: string, pem: Buffer): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new Error('not a P-256 key');
    return key;
  } catch {
    // The cause stays out: OpenSSL's words help nobody, and nothing of the file belongs into a log.
    throw new EnvironmentError(
      `the key of this Pi, ${path}, is damaged`,
      'Put it back from a backup. Without one: move the file away and start again; this Pi then joins as a new node, ' +
        'and its old entry is forgotten after a while.',
    );
  }
}
