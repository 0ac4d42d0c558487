/**
 * The cluster secret: 256 random bits that every Pi of a cluster holds (design: identity and trust).
 *
 * As text: `PISW1-` and 56 characters of Crockford's base32 in 14 groups of 4. They carry the 32 bytes and a CRC-24 over
 * `PISW1` and those bytes: 280 bits, which 56 characters hold exactly.
 */
import { randomBytes as cryptoRandomBytes, timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';
import { SecretError } from '../errors.ts';
import { crc24, decodeBase32, encodeBase32, firstForeignCharacter, nearby, normaliseBase32 } from './crockford.ts';
import { readFileIfAny, writeFileAtomic } from './files.ts';

const PREFIX = 'PISW1';
/** The prefix after Crockford's substitutions (I becomes 1). */
const PREFIX_NORMALISED = normaliseBase32(PREFIX);
const SECRET_BYTES = 32;
const CHECKSUM_BYTES = 3;
const CHARACTERS = ((SECRET_BYTES + CHECKSUM_BYTES) * 8) / 5;
const GROUP = 4;
const GROUPS = CHARACTERS / GROUP;
const REDACTED = '[cluster secret]';
const CURE = 'Compare it with `pi-swarm secret show` on a Pi of the cluster, or with the card it was written down on.';

/** Holds the bits and never prints them: not in strings, not in JSON, not in `console.log`. */
export class ClusterSecret {
  readonly #bytes: Uint8Array;

  /** @param bytes exactly 32 random bytes; copied. */
  constructor(bytes: Uint8Array) {
    if (bytes.length !== SECRET_BYTES) throw new RangeError(`a cluster secret has ${SECRET_BYTES} bytes`);
    this.#bytes = Uint8Array.from(bytes);
  }

  /** A copy of the bits. For key derivation and `formatSecret` only. */
  reveal(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }

  equals(other: ClusterSecret): boolean {
    return timingSafeEqual(this.#bytes, other.#bytes);
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}

/** @param randomBytes for tests; the system's generator otherwise. */
export function generateSecret(randomBytes: (size: number) => Uint8Array = cryptoRandomBytes): ClusterSecret {
  return new ClusterSecret(randomBytes(SECRET_BYTES));
}

/** The secret as people write it down. The only way to make it visible. */
export function formatSecret(secret: ClusterSecret): string {
  const bytes = secret.reveal();
  const checksum = checksumOf(bytes);
  const text = encodeBase32(Uint8Array.of(...bytes, checksum >> 16, (checksum >> 8) & 255, checksum & 255));
  return [PREFIX, ...(text.match(/.{4}/g) ?? [])].join('-');
}

/**
 * Reads what a person typed: upper or lower case, with or without dashes (of any kind) and spaces, O for 0, I and L for 1.
 * @throws SecretError that says what is wrong and in which group, never what the secret is.
 */
export function parseSecret(text: string): ClusterSecret {
  const compact = normaliseBase32(text.replace(/[\s\p{Pd}\u2212'"\u200b\ufeff]/gu, ''));
  if (compact.startsWith('SWMTKN')) {
    throw new SecretError(
      'this is a join token of Docker, not a cluster secret',
      'A cluster secret begins with PISW1-.',
    );
  }
  if (!compact.startsWith(PREFIX_NORMALISED)) throw wrongPrefix(compact);
  const body = compact.slice(PREFIX_NORMALISED.length);
  if (body.length !== CHARACTERS) throw wrongLength(text, body.length);
  const foreign = firstForeignCharacter(body);
  if (foreign >= 0) {
    throw new SecretError(
      `group ${groupOf(foreign)} of the cluster secret holds a character that no secret has (only digits and letters without U)`,
      CURE,
    );
  }
  const bytes = checkedBytes(body);
  if (bytes === undefined) throw wrongChecksum(body);
  return new ClusterSecret(bytes);
}

/** The secret in the file, or undefined where there is no file. @throws SecretError, EnvironmentError */
export async function readSecretFile(path: string): Promise<ClusterSecret | undefined> {
  const content = await readFileIfAny(path);
  if (content === undefined) return undefined;
  try {
    return parseSecret(content.toString('utf8'));
  } catch (error) {
    if (error instanceof SecretError) throw new SecretError(`${path}: ${error.message}`, error.cure);
    throw error;
  }
}

/** Atomic, readable by root only. The directory must exist. @throws EnvironmentError */
export const writeSecretFile = (path: string, secret: ClusterSecret): Promise<void> =>
  writeFileAtomic(path, `${formatSecret(secret)}\n`, 0o600);

const PREFIX_CHECKSUM = crc24(Buffer.from(PREFIX));
const checksumOf = (bytes: Uint8Array): number => crc24(bytes, PREFIX_CHECKSUM);

/** The secret's bytes when the checksum at their end is right. */
function checkedBytes(body: string): Uint8Array | undefined {
  const all = decodeBase32(body);
  const bytes = all.subarray(0, SECRET_BYTES);
  return Buffer.from(all.subarray(SECRET_BYTES)).readUIntBE(0, CHECKSUM_BYTES) === checksumOf(bytes)
    ? bytes
    : undefined;
}

const groupOf = (at: number): number => Math.floor(at / GROUP) + 1;

function wrongPrefix(compact: string): SecretError {
  if (/^P1SW\d/.test(compact)) {
    return new SecretError('this cluster secret was made by a newer pi-swarm', 'Install the same release on all Pis.');
  }
  return new SecretError('this is not a cluster secret: it does not begin with PISW1-', CURE);
}

function wrongLength(text: string, length: number): SecretError {
  const groups = text.trim().split('-').slice(1);
  const odd = groups.findIndex(group => group.trim().length !== GROUP);
  const where = groups.length === GROUPS && odd >= 0 ? `; look at group ${odd + 1}` : '';
  return new SecretError(
    `the cluster secret has ${length} characters after PISW1, where ${CHARACTERS} belong${where}`,
    `${CURE} It has ${GROUPS} groups of ${GROUP}.`,
  );
}

/** Where exactly one group explains the checksum by a single typo or swap, names it (a place, not a character). */
function wrongChecksum(body: string): SecretError {
  const groups = new Set<number>();
  for (const { text, at } of nearby(body)) if (checkedBytes(text) !== undefined) groups.add(groupOf(at));
  const [group] = groups;
  const where = groups.size === 1 ? `; group ${group} of ${GROUPS} looks wrong` : '; more than one character is wrong';
  return new SecretError(`the checksum of the cluster secret failed: it was misspelt${where}`, CURE);
}
