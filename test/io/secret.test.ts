import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SecretError } from '../../src/errors.ts';
import { deriveCluster } from '../../src/io/cluster.ts';
import {
  ClusterSecret,
  formatSecret,
  generateSecret,
  parseSecret,
  readSecretFile,
  writeSecretFile,
} from '../../src/io/secret.ts';

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const COUNTING = new ClusterSecret(Uint8Array.from({ length: 32 }, (_, n) => n));
const TEXT = formatSecret(COUNTING);

function errorOf(text: string): SecretError {
  try {
    parseSecret(text);
  } catch (error) {
    if (error instanceof SecretError) return error;
    throw error;
  }
  throw new Error(`was accepted: ${text}`);
}

describe('the text of a secret', () => {
  it('looks as documented', () => {
    expect(TEXT).toMatch(/^PISW1(-[0-9A-HJKMNP-TV-Z]{4}){14}$/);
  });

  // Secrets are written on cards and in boot partitions: a change of this text would lock people out.
  it('stays the same from release to release', () => {
    expect(TEXT).toMatchInlineSnapshot(`"PISW1-000G-40R4-0M30-E209-185G-R38E-1W81-24GK-2GAH-C5RR-34D1-P70X-3RFX-H8XE"`);
  });

  it('reads back every secret', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), bytes => {
        const secret = new ClusterSecret(bytes);
        expect(parseSecret(formatSecret(secret)).equals(secret)).toBe(true);
      }),
    );
  });

  it.each([
    ['lower case', TEXT.toLowerCase()],
    ['no dashes', TEXT.replaceAll('-', '')],
    ['spaces and a newline', ` ${TEXT.replaceAll('-', ' ')}\r\n`],
    ['dashes anywhere', TEXT.replaceAll(/(.)/g, '$1-')],
    ['typographic dashes and quotes', `"${TEXT.replaceAll('-', '–')}"`],
    ['O for 0', TEXT.replaceAll('0', 'O')],
    ['o for 0', TEXT.replaceAll('0', 'o')],
    ['I for 1', TEXT.replaceAll('1', 'I')],
    ['l for 1', TEXT.replaceAll('1', 'l')],
  ])('is understood with %s', (_what, text) => {
    expect(parseSecret(text).equals(COUNTING)).toBe(true);
  });

  it('is different each time', () => {
    expect(generateSecret().equals(generateSecret())).toBe(false);
  });
});

describe('a misspelt secret', () => {
  const places = [...TEXT].flatMap((character, at) => (at > 5 && character !== '-' ? [at] : []));

  it('is found out for every single wrong character', { timeout: 60_000 }, () => {
    for (const at of places) {
      for (const other of ALPHABET) {
        if (other === TEXT[at]) continue;
        expect(errorOf(TEXT.slice(0, at) + other + TEXT.slice(at + 1)).message).toMatch(/checksum .* failed/);
      }
    }
  });

  it('is found out for every swap of neighbours', () => {
    const body = TEXT.replaceAll('-', '').slice(5);
    for (let at = 0; at + 1 < body.length; at++) {
      const [a, b] = [body.charAt(at), body.charAt(at + 1)];
      if (a === b) continue;
      expect(errorOf(`PISW1${body.slice(0, at)}${b}${a}${body.slice(at + 2)}`).message).toMatch(/checksum .* failed/);
    }
  });

  it('names the group that looks wrong', () => {
    const at = places[4 * 6 + 2] ?? 0; // the third character of the seventh group
    const other = TEXT[at] === 'Q' ? 'R' : 'Q';
    expect(errorOf(TEXT.slice(0, at) + other + TEXT.slice(at + 1)).message).toMatch(/group 7 of 14/);
  });

  it('does not name a group when it cannot know', () => {
    const groups = TEXT.split('-');
    const mixed = [groups[0], groups[5], groups[3], ...groups.slice(3)].join('-');
    expect(errorOf(mixed).message).toMatch(/more than one character/);
  });

  it.each([
    ['a missing character', TEXT.replace(/-(\w{3})\w-/, '-$1-'), /has 55 characters .* 56 belong; look at group 1/],
    ['a character too many', `${TEXT}7`, /has 57 characters .* group 14/],
    ['a U', `${TEXT.slice(0, -1)}U`, /group 14 .* a character that no secret has/],
    ['another beginning', TEXT.replace('PISW1', 'PISX1'), /does not begin with PISW1/],
    ['nothing', '', /does not begin with PISW1/],
    ['a newer version', TEXT.replace('PISW1', 'PISW2'), /newer pi-swarm/],
    ["Docker's token", 'SWMTKN-1-0abc-def', /join token of Docker/],
  ])('says what is wrong with %s', (_what, text, message) => {
    const error = errorOf(text);
    expect(error.message).toMatch(message);
    expect(error.cure).toBeTruthy();
  });

  it('is never repeated in the error', () => {
    for (const text of [`${TEXT}7`, `${TEXT.slice(0, -1)}U`, TEXT.replace(/\w{4}$/, '0000'), `X${TEXT}`]) {
      const shown = inspect(errorOf(text), { depth: 9 });
      for (const group of TEXT.split('-').slice(1, -1)) expect(shown).not.toContain(group);
    }
  });

  it('is refused whatever it is, and only with a SecretError', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200, unit: 'binary' }), text => {
        expect(() => parseSecret(text)).toThrow(SecretError);
        expect(() => parseSecret(`PISW1-${text}`)).toThrow(SecretError);
      }),
    );
  });
});

describe('a secret in memory', () => {
  it('is not printed by anything that prints objects', () => {
    const shown = [
      String(COUNTING),
      JSON.stringify({ COUNTING }),
      inspect({ COUNTING }, { depth: 9, showHidden: true }),
      `${COUNTING}`,
    ];
    for (const text of shown) expect(text).toMatch(/\[cluster secret\]/);
    expect(Object.keys(COUNTING)).toEqual([]);
  });

  it('cannot be changed from outside', () => {
    const bytes = new Uint8Array(32);
    const secret = new ClusterSecret(bytes);
    bytes[0] = 1;
    secret.reveal()[1] = 1;
    expect(secret.reveal()).toEqual(new Uint8Array(32));
  });

  it('has 32 bytes and no other number', () => {
    expect(() => new ClusterSecret(new Uint8Array(31))).toThrow(RangeError);
  });
});

describe('what is derived from it', () => {
  const ca = deriveCluster(COUNTING).ca;

  // Two releases that derive differently would be two clusters.
  it('stays the same from release to release', () => {
    const { tag, ca } = deriveCluster(COUNTING);
    expect({ tag, ca: ca.publicKey.export({ format: 'jwk' }) }).toMatchInlineSnapshot(`
      {
        "ca": {
          "crv": "P-256",
          "kty": "EC",
          "x": "nkZnEiShTsxtcyv_qvLeCYLghxs_EAqZPHsRADpsSp4",
          "y": "JjGVuAUws_PaOfel1MuN1Uy328mh4nnW7WlKaCRz6vU",
        },
        "tag": "b75da317fb964dcb",
      }
    `);
  });

  it('is the same on every holder and another for another secret', () => {
    const [here, there, other] = [COUNTING, parseSecret(TEXT), generateSecret()].map(deriveCluster);
    expect(there?.tag).toBe(here?.tag);
    expect(there?.ca.publicKey.equals(here?.ca.publicKey ?? ca.privateKey)).toBe(true);
    expect(other?.tag).not.toBe(here?.tag);
    expect(other?.ca.publicKey.equals(here?.ca.publicKey ?? ca.privateKey)).toBe(false);
  });

  it('agrees with HKDF-SHA256 as OpenSSL computes it', () => {
    const key = Buffer.from(COUNTING.reveal()).toString('hex');
    const options = ['-kdfopt', 'digest:SHA2-256', '-kdfopt', `hexkey:${key}`];
    const tag = execFileSync('openssl', [
      ...['kdf', '-keylen', '8', ...options, '-kdfopt', 'salt:pi-swarm/1', '-kdfopt', 'info:tag', '-binary', 'HKDF'],
    ]);
    expect(deriveCluster(COUNTING).tag).toBe(tag.toString('hex'));
  });

  it('prints no key', () => {
    expect(inspect(deriveCluster(COUNTING), { depth: 9, showHidden: true })).not.toMatch(/PRIVATE KEY|"d"|d: '/);
  });
});

describe('the secret file', () => {
  let directory = '';
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'pi-swarm-secret-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('is for its owner only and read back', async () => {
    const path = join(directory, 'secret');
    await writeSecretFile(path, COUNTING);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await readSecretFile(path))?.equals(COUNTING)).toBe(true);
  });

  it('may be absent', async () => {
    expect(await readSecretFile(join(directory, 'none'))).toBeUndefined();
  });

  it('is named in the error when it is misspelt', async () => {
    const path = join(directory, 'typo');
    await writeFile(path, TEXT.replace(/.$/, TEXT.endsWith('0') ? '1' : '0'));
    await expect(readSecretFile(path)).rejects.toThrow(new RegExp(`^${path}: the checksum`));
  });
});
