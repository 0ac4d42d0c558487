/** What the cluster secret becomes: the public tag and the cluster's certificate authority, the same on every holder. */
import { createECDH, createPrivateKey, createPublicKey, hkdfSync, type KeyObject } from 'node:crypto';
import type { ClusterSecret } from './secret.ts';
import { caCertificate } from './x509.ts';

/** Everything that needs the secret, without the secret. Keys are KeyObjects, which print nothing of themselves. */
export interface Cluster {
  /** 16 hex digits; public. The only thing derived from the secret that is ever announced. */
  tag: string;
  ca: {
    privateKey: KeyObject;
    publicKey: KeyObject;
    /** PEM. Its signature differs between holders (ECDSA is randomised), its subject, key and key id do not. */
    certificate: string;
  };
}

/** Separates pi-swarm's derivations from everyone else's (RFC 5869 section 3.1). */
const SALT = 'pi-swarm/1';
const TAG_INFO = 'tag';
const CA_INFO = 'cluster CA, P-256 private scalar';
const TAG_BYTES = 8;
/** FIPS 186-5 A.2.1 wants at least 64 bits more than the order has; 384 bits leave a bias below 2^-128. */
const SCALAR_BYTES = 48;
/** Order of P-256 (FIPS 186-5, SP 800-186 section 3.2.1.3). */
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** HKDF-SHA256 (RFC 5869) with one info string for each purpose. Deterministic but for the CA certificate's signature. */
export function deriveCluster(secret: ClusterSecret): Cluster {
  const tag = derive(secret, TAG_INFO, TAG_BYTES).toString('hex');
  const privateKey = p256PrivateKey(derive(secret, CA_INFO, SCALAR_BYTES));
  const publicKey = createPublicKey(privateKey);
  return { tag, ca: { privateKey, publicKey, certificate: caCertificate(tag, privateKey) } };
}

const derive = (secret: ClusterSecret, info: string, length: number): Buffer =>
  Buffer.from(hkdfSync('sha256', secret.reveal(), SALT, info, length));

/** FIPS 186-5 A.2.1, key generation with extra random bits: d = (c mod (n − 1)) + 1. */
function p256PrivateKey(random: Buffer): KeyObject {
  const d = (BigInt(`0x${random.toString('hex')}`) % (P256_ORDER - 1n)) + 1n;
  const scalar = Buffer.from(d.toString(16).padStart(64, '0'), 'hex');
  const curve = createECDH('prime256v1');
  curve.setPrivateKey(scalar);
  const point = curve.getPublicKey(); // 0x04, x, y
  const coordinate = (from: number): string => point.subarray(from, from + 32).toString('base64url');
  return createPrivateKey({
    format: 'jwk',
    key: { kty: 'EC', crv: 'P-256', d: scalar.toString('base64url'), x: coordinate(1), y: coordinate(33) },
  });
}
