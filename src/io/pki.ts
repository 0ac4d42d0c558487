/** Who is at the other end: the rules by which a certificate is believed, and the TLS settings that make peers show one. */
import { constants, X509Certificate } from 'node:crypto';
import type { PeerCertificate, SecureVersion, TLSSocket } from 'node:tls';
import type { NodeId } from '../core/world.ts';
import { messageOf, TrustError, type TrustReason } from '../errors.ts';
import type { Cluster } from './cluster.ts';
import { type Identity, nodeIdOf, privateKeyPem } from './identity.ts';

export interface PeerIdentity {
  /** Hash of its key; what a node is known by. */
  id: NodeId;
  /** `client`: a person's Docker client. It may use the endpoint, never the peer routes. */
  role: 'node' | 'client';
  /** A node's host name, a client's name. For people only. */
  name: string;
}

export interface VerifyOptions {
  /** `clock.wall()`: the operating system's clock may say 1970. */
  now: number;
  /** Whom we meant to reach, where we know it. */
  claimedId?: NodeId;
  /** Accept client certificates too (the endpoint). Default: nodes only. */
  clients?: boolean;
}

/** More than any certificate of ours has; OpenSSL is not asked to read more. */
const CERTIFICATE_BYTES_MAX = 16 * 1024;
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/**
 * Judges a peer's certificate (DER) by itself, without leaning on what TLS has checked: signed by the cluster's CA key,
 * valid now, no CA itself, of the right kind, and named after its own key.
 * @throws TrustError with a `reason`
 */
export function verifyPeer(cluster: Cluster, certificateDer: Uint8Array, options: VerifyOptions): PeerIdentity {
  const certificate = parse(certificateDer);
  if (!isSignedBy(cluster, certificate)) throw refusal('foreign');
  if (options.now < Date.parse(certificate.validFrom)) throw refusal('notYetValid');
  if (options.now > Date.parse(certificate.validTo)) throw refusal('expired');
  const { role, commonName } = subjectOf(certificate);
  const purposes = certificate.keyUsage ?? [];
  const needed = role === 'node' ? [SERVER_AUTH, CLIENT_AUTH] : [CLIENT_AUTH];
  if (certificate.ca || !needed.every(purpose => purposes.includes(purpose))) throw refusal('malformed');
  const id = nodeIdOf(certificate.publicKey);
  if (role === 'client') {
    if (options.clients !== true || options.claimedId !== undefined) throw refusal('client-cert');
    return { id, role, name: commonName };
  }
  if (commonName !== id || (options.claimedId ?? id) !== id) throw refusal('id-mismatch');
  return { id, role, name: /DNS:([^,]+)/.exec(certificate.subjectAltName ?? '')?.[1] ?? id };
}

/** `verifyPeer` for the other end of a connection, before a byte of it is used. @throws TrustError */
export function authenticate(cluster: Cluster, socket: TLSSocket, options: VerifyOptions): PeerIdentity {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) throw new TrustError('it showed no certificate', CURES.foreign, { reason: 'foreign' });
  return verifyPeer(cluster, certificate.raw, options);
}

/** Fits `tls.createServer`, `https.createServer`, `tls.connect` and `https.request`. */
export interface ClusterTlsOptions {
  key: string;
  cert: string;
  ca: string;
  requestCert: true;
  rejectUnauthorized: true;
  minVersion: SecureVersion;
  /** No session tickets: in a resumed session Node's client no longer knows whose certificate it saw. */
  secureOptions: number;
  /** Clients only. Peers are known by their key, whatever host name or address led to them. */
  checkServerIdentity: (host: string, certificate: PeerCertificate) => Error | undefined;
}

/**
 * Mutual TLS under the cluster's CA. The handshake refuses everyone without a certificate of it; who passes is judged
 * again by `authenticate`, by our own clock, before a byte is used.
 * @param certificate PEM, from `issueNodeCertificate`
 * @param options `minVersion`: TLS 1.3 unless old Docker clients must be served. `server`: for connecting, whom to expect;
 *   without it any node of the cluster will do, and the caller must `authenticate`.
 */
export function tlsOptions(
  cluster: Cluster,
  identity: Identity,
  certificate: string,
  options: { minVersion?: SecureVersion; server?: () => VerifyOptions } = {},
): ClusterTlsOptions {
  return {
    key: privateKeyPem(identity.privateKey),
    cert: certificate,
    ca: cluster.ca.certificate,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: options.minVersion ?? 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
    checkServerIdentity: (_host, peer) => {
      if (options.server === undefined) return undefined;
      try {
        verifyPeer(cluster, peer.raw, options.server());
        return undefined;
      } catch (error) {
        return error instanceof Error ? error : new Error(messageOf(error));
      }
    },
  };
}

/** What OpenSSL calls it → what we call it. */
const TLS_REASONS: Record<string, TrustReason> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'foreign',
  UNABLE_TO_GET_ISSUER_CERT: 'foreign',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'foreign',
  SELF_SIGNED_CERT_IN_CHAIN: 'foreign',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'foreign',
  CERT_SIGNATURE_FAILURE: 'foreign',
  CERT_UNTRUSTED: 'foreign',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'foreign',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'foreign',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'foreign',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'foreign',
  CERT_HAS_EXPIRED: 'expired',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'notYetValid',
  INVALID_PURPOSE: 'client-cert',
  ERR_SSL_WRONG_VERSION_NUMBER: 'malformed',
};

/**
 * What a failed handshake means: for the `error` of a client's socket, and for a server's `tlsClientError`, where Node
 * keeps the reason in the socket and reports a mere `ECONNRESET`. Undefined: it had nothing to do with trust.
 */
export function handshakeRefusal(error: unknown, socket?: TLSSocket): TrustError | undefined {
  if (error instanceof TrustError) return error;
  const told: unknown = socket?.authorizationError;
  const code = told instanceof Error && 'code' in told ? told.code : (told ?? undefined);
  const own = error instanceof Error && 'code' in error ? error.code : undefined;
  const reason = TLS_REASONS[String(code ?? '')] ?? TLS_REASONS[String(own ?? '')];
  return reason === undefined ? undefined : refusal(reason, error);
}

const MESSAGES: Record<TrustReason, string> = {
  foreign: 'its certificate comes from another cluster secret',
  expired: 'its certificate has expired',
  notYetValid: 'its certificate is not valid yet',
  'id-mismatch': 'its certificate is not that of the node it claims to be',
  'client-cert': 'it showed the certificate of a Docker client where only Pis are let in',
  malformed: 'its certificate is not one that pi-swarm makes',
};

const CURES: Record<TrustReason, string> = {
  foreign:
    'If it belongs to this cluster, give it the same secret: `pi-swarm secret show` here, `pi-swarm join` there.',
  expired: 'Issue a new one on any Pi of the cluster.',
  notYetValid: 'Set the time on both machines, or let them see a time server.',
  'id-mismatch': 'If the card was copied from another Pi, remove node.key from its state directory and restart it.',
  'client-cert': 'Client certificates are for the Docker endpoint (port 3376) only.',
  malformed: 'Something else than pi-swarm answers there.',
};

const refusal = (reason: TrustReason, cause?: unknown): TrustError =>
  new TrustError(MESSAGES[reason], CURES[reason], { reason, cause });

function parse(der: Uint8Array): X509Certificate {
  if (der.length > CERTIFICATE_BYTES_MAX) throw refusal('malformed');
  try {
    return new X509Certificate(der);
  } catch (error) {
    throw refusal('malformed', error);
  }
}

function isSignedBy(cluster: Cluster, certificate: X509Certificate): boolean {
  try {
    return certificate.verify(cluster.ca.publicKey);
  } catch {
    return false; // a signature of another kind of key
  }
}

/** @throws TrustError when the subject is not one that `issueNodeCertificate` or `issueClientCertificate` writes. */
function subjectOf(certificate: X509Certificate): { role: 'node' | 'client'; commonName: string } {
  // The text form would have to be unescaped; this one holds the values as they are, arrays where one comes twice.
  const subject: Record<string, unknown> = { ...certificate.toLegacyObject().subject };
  const { OU: role, CN: commonName } = subject;
  if ((role !== 'node' && role !== 'client') || typeof commonName !== 'string') throw refusal('malformed');
  return { role, commonName };
}
