/** Builds X.509 v3 certificates (RFC 5280): node-forge writes the ASN.1, node:crypto hashes and signs. P-256 only. */
import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import asn1 from 'node-forge/lib/asn1.js';

type Asn1 = ReturnType<typeof asn1.create>;

/**
 * A Pi has no clock: at first boot it believes in 1970, and OpenSSL and Go judge dates by that clock during the handshake.
 * So nothing of ours begins later than 1970.
 */
export const NOT_BEFORE_MS = 0;
/** Certificates that need no end: the cluster's life ends with its secret. */
export const NOT_AFTER_MS = Date.UTC(2099, 11, 31, 23, 59, 59);

const OID = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  organizationalUnit: '2.5.4.11',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
};

/** In the order of the certificate. */
export interface Name {
  organization: string;
  organizationalUnit?: string;
  commonName: string;
}

export interface LeafRequest {
  subject: Name;
  publicKey: KeyObject;
  server: boolean;
  /** Host names and IP addresses; what is neither is left out. */
  alternativeNames: string[];
  notAfterMs: number;
}

/** The name that every holder's CA certificate has. */
export const caName = (tag: string): Name => ({ organization: 'pi-swarm', commonName: `pi-swarm cluster ${tag}` });

/** Self-signed; may issue end-entity certificates only. PEM. */
export function caCertificate(tag: string, privateKey: KeyObject): string {
  const publicKey = createPublicKey(privateKey);
  const extensions = [
    extension(OID.basicConstraints, true, sequence(boolean(true), integer('\x00'))), // pathLenConstraint 0
    extension(OID.keyUsage, true, namedBits(0x06)), // keyCertSign, cRLSign
    extension(OID.subjectKeyIdentifier, false, octets(keyIdentifier(publicKey))),
  ];
  const name = caName(tag);
  return certificate({ issuer: name, subject: name, publicKey, extensions, notAfterMs: NOT_AFTER_MS }, privateKey);
}

/** An end-entity certificate, signed by the cluster's CA. PEM. */
export function leafCertificate(request: LeafRequest, tag: string, caPrivateKey: KeyObject): string {
  const purposes = [...(request.server ? [OID.serverAuth] : []), OID.clientAuth].map(oid);
  const names = request.alternativeNames.flatMap(generalName);
  const authority = keyIdentifier(createPublicKey(caPrivateKey));
  const extensions = [
    extension(OID.basicConstraints, true, sequence()),
    extension(OID.keyUsage, true, namedBits(0x80)), // digitalSignature
    extension(OID.extKeyUsage, false, sequence(...purposes)),
    extension(OID.subjectKeyIdentifier, false, octets(keyIdentifier(request.publicKey))),
    // By key only: the issuer's serial number differs from holder to holder.
    extension(OID.authorityKeyIdentifier, false, sequence(context(0, authority))),
    ...(names.length === 0 ? [] : [extension(OID.subjectAltName, false, sequence(...names))]),
  ];
  return certificate({ issuer: caName(tag), ...request, extensions }, caPrivateKey);
}

interface Contents {
  issuer: Name;
  subject: Name;
  publicKey: KeyObject;
  extensions: Asn1[];
  notAfterMs: number;
}

/** RFC 5280 section 4.1. */
function certificate(contents: Contents, signer: KeyObject): string {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const body = sequence(
    context(0, [integer('\x02')]), // v3
    integer(serialNumber()),
    algorithm,
    distinguishedName(contents.issuer),
    sequence(time(NOT_BEFORE_MS), time(contents.notAfterMs)),
    distinguishedName(contents.subject),
    asn1.fromDer(binary(contents.publicKey.export({ type: 'spki', format: 'der' }))),
    context(3, [sequence(...contents.extensions)]),
  );
  const signature = sign('sha256', Buffer.from(der(body), 'binary'), signer);
  const whole = Buffer.from(der(sequence(body, algorithm, bitString(binary(signature)))), 'binary');
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

/** Positive, 127 random bits (RFC 5280 section 4.1.2.2). Never repeated: Firefox refuses a second issuer and serial. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return binary(bytes);
}

/** RFC 5280 section 4.2.1.2, method 1: SHA-1 of the public key's bits. An index, not a protection. */
function keyIdentifier(publicKey: KeyObject): string {
  const point = publicKey.export({ type: 'spki', format: 'der' }).subarray(-65);
  return binary(createHash('sha1').update(point).digest());
}

const binary = (bytes: Buffer): string => bytes.toString('binary');
const der = (value: Asn1): string => asn1.toDer(value).getBytes();
const universal = (type: number, constructed: boolean, value: string | Asn1[]): Asn1 =>
  asn1.create(asn1.Class.UNIVERSAL, type, constructed, value);
const sequence = (...values: Asn1[]): Asn1 => universal(asn1.Type.SEQUENCE, true, values);
const oid = (value: string): Asn1 => universal(asn1.Type.OID, false, asn1.oidToDer(value).getBytes());
const integer = (bytes: string): Asn1 => universal(asn1.Type.INTEGER, false, bytes);
const boolean = (value: boolean): Asn1 => universal(asn1.Type.BOOLEAN, false, value ? '\xff' : '\x00');
const octets = (bytes: string): Asn1 => universal(asn1.Type.OCTETSTRING, false, bytes);
const bitString = (bytes: string): Asn1 => universal(asn1.Type.BITSTRING, false, `\x00${bytes}`);
const context = (tag: number, value: string | Asn1[]): Asn1 =>
  asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag, typeof value !== 'string', value);

/** One byte of flags, highest bit first; DER drops the zero bits at its end. */
function namedBits(flags: number): Asn1 {
  const unusedBits = Math.log2(flags & -flags);
  return universal(asn1.Type.BITSTRING, false, String.fromCharCode(unusedBits, flags));
}

/** UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 section 4.1.2.5). */
function time(ms: number): Asn1 {
  const digits = `${new Date(ms).toISOString().replace(/\.\d+|[-:T]/g, '')}`; // 19700101000000Z
  return ms < Date.UTC(2050, 0)
    ? universal(asn1.Type.UTCTIME, false, digits.slice(2))
    : universal(asn1.Type.GENERALIZEDTIME, false, digits);
}

function distinguishedName(name: Name): Asn1 {
  const parts: [string, string | undefined][] = [
    [OID.organization, name.organization],
    [OID.organizationalUnit, name.organizationalUnit],
    [OID.commonName, name.commonName],
  ];
  const sets = parts.flatMap(([type, value]) => {
    if (value === undefined) return [];
    const text = universal(asn1.Type.UTF8, false, Buffer.from(value, 'utf8').toString('binary'));
    return [universal(asn1.Type.SET, true, [sequence(oid(type), text)])];
  });
  return sequence(...sets);
}

const extension = (id: string, critical: boolean, value: Asn1): Asn1 =>
  sequence(oid(id), ...(critical ? [boolean(true)] : []), octets(der(value)));

const HOST_NAME = /^(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*$/i;

/** dNSName [2] or iPAddress [7]; one bad name would make Go refuse the whole certificate, so it is left out. */
function generalName(name: string): Asn1[] {
  if (isIPv4(name)) return [context(7, String.fromCharCode(...name.split('.').map(Number)))];
  if (isIPv6(name)) return name.includes('%') ? [] : [context(7, ipv6Bytes(name))];
  return name.length <= 253 && HOST_NAME.test(name) ? [context(2, name)] : [];
}

function ipv6Bytes(address: string): string {
  // The URL parser writes every form, embedded IPv4 included, as hexadecimal groups.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map(group => Number.parseInt(group, 16));
  const [left, right] = [groups(head), groups(tail ?? '')];
  const all = [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
  return String.fromCharCode(...all.flatMap(group => [group >> 8, group & 255]));
}
