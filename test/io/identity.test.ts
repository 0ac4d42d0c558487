import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.ts';
import { deriveCluster } from '../../src/io/cluster.ts';
import { issueClientCertificate, issueNodeCertificate, loadOrCreateIdentity } from '../../src/io/identity.ts';
import { formatSecret, generateSecret, parseSecret } from '../../src/io/secret.ts';

const NAMES = { hostname: 'pi1', addresses: ['10.1.2.3', 'fd00::12', '::ffff:10.9.8.7'] };
let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pi-swarm-identity-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const openssl = (...args: string[]): string => execFileSync('openssl', args, { cwd: directory, encoding: 'utf8' });

describe('the identity of a node', () => {
  it('is made on first boot and the same ever after', async () => {
    const first = await loadOrCreateIdentity(directory);
    const second = await loadOrCreateIdentity(directory);
    expect(first.id).toMatch(/^[0-9a-f]{16}$/);
    expect(second.id).toBe(first.id);
    expect((await loadOrCreateIdentity(join(directory, 'another'))).id).not.toBe(first.id);
  });

  it('is named by the hash of its key, as openssl computes it', async () => {
    const { id } = await loadOrCreateIdentity(directory);
    openssl('pkey', '-in', 'node.key', '-pubout', '-outform', 'DER', '-out', 'spki.der');
    expect(openssl('dgst', '-sha256', '-r', 'spki.der').slice(0, 16)).toBe(id);
  });

  it('is for root only, whatever the umask and the directory were', async () => {
    await chmod(directory, 0o755);
    const before = process.umask(0);
    await loadOrCreateIdentity(directory).finally(() => process.umask(before));
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    expect((await stat(join(directory, 'node.key'))).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(['node.key']);
  });

  it.each([
    ['empty', () => ''],
    ['garbage', () => 'not a key'],
    ['of another kind', () => generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })],
  ])('is not replaced when the key file is %s, and says what to do', async (_what, content) => {
    const path = join(directory, 'node.key');
    const text = String(content());
    await writeFile(path, text);
    await expect(loadOrCreateIdentity(directory)).rejects.toMatchObject({
      code: 'environment',
      message: expect.stringContaining(path),
      cure: expect.stringMatching(/backup.*move the file away/s),
    });
    expect(await readFile(path, 'utf8')).toBe(text);
  });
});

describe('a node certificate', () => {
  it("is accepted by openssl under any holder's copy of the CA", async () => {
    const secret = generateSecret();
    const here = deriveCluster(secret);
    const there = deriveCluster(parseSecret(formatSecret(secret)));
    expect(there.ca.certificate).not.toBe(here.ca.certificate);
    await writeFile(join(directory, 'ca.pem'), there.ca.certificate);
    await writeFile(
      join(directory, 'node.pem'),
      issueNodeCertificate(here, await loadOrCreateIdentity(directory), NAMES),
    );
    for (const purpose of ['sslserver', 'sslclient']) {
      const args = ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', 'ca.pem', 'node.pem'];
      expect(openssl(...args)).toBe('node.pem: OK\n');
      expect(openssl(...args.slice(0, 1), '-attime', '0', ...args.slice(1))).toBe('node.pem: OK\n');
    }
    expect(openssl('verify', '-x509_strict', '-CAfile', 'ca.pem', '-check_ss_sig', 'ca.pem')).toBe('ca.pem: OK\n');
  });

  it('names the node, its host names and its addresses', async () => {
    const identity = await loadOrCreateIdentity(directory);
    const certificate = new X509Certificate(issueNodeCertificate(deriveCluster(generateSecret()), identity, NAMES));
    expect(certificate.subject).toBe(`O=pi-swarm\nOU=node\nCN=${identity.id}`);
    expect(certificate.subjectAltName?.split(', ')).toEqual([
      ...['DNS:pi1', 'DNS:pi1.local', 'DNS:localhost', 'IP Address:127.0.0.1', 'IP Address:0:0:0:0:0:0:0:1'],
      ...['IP Address:10.1.2.3', 'IP Address:FD00:0:0:0:0:0:0:12', 'IP Address:0:0:0:0:0:FFFF:A09:807'],
    ]);
    expect([certificate.validFrom, certificate.validTo].map(Date.parse)).toEqual([
      0,
      Date.UTC(2099, 11, 31, 23, 59, 59),
    ]);
  });

  it('leaves out names that are none, which would make clients refuse all of it', async () => {
    const identity = await loadOrCreateIdentity(directory);
    const addresses = ['fe80::1%eth0', 'über', 'a b', 'x\ny', '-x', '', 'a'.repeat(64), '999.1.1.1.'];
    const pem = issueNodeCertificate(deriveCluster(generateSecret()), identity, { hostname: 'Küche', addresses });
    expect(new X509Certificate(pem).subjectAltName).toBe(
      'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1',
    );
  });

  it('cannot issue certificates itself', async () => {
    const cluster = deriveCluster(generateSecret());
    const identity = await loadOrCreateIdentity(directory);
    const node = issueNodeCertificate(cluster, identity, NAMES);
    const forged = issueNodeCertificate(
      { ...cluster, ca: { ...cluster.ca, privateKey: identity.privateKey } },
      identity,
      NAMES,
    );
    await writeFile(join(directory, 'ca.pem'), cluster.ca.certificate);
    await writeFile(join(directory, 'chain.pem'), node);
    await writeFile(join(directory, 'forged.pem'), forged);
    const args = ['verify', '-CAfile', 'ca.pem', '-untrusted', 'chain.pem', 'forged.pem'];
    expect(() => execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' })).toThrow(/verification failed/);
  });
});

describe('a client certificate', () => {
  it('is accepted by openssl as a client and refused as a server', async () => {
    const cluster = deriveCluster(generateSecret());
    const laptop = issueClientCertificate(cluster, 'laptop', { notAfterMs: Date.UTC(2060, 0) });
    await writeFile(join(directory, 'ca.pem'), laptop.ca);
    await writeFile(join(directory, 'cert.pem'), laptop.certificate);
    await writeFile(join(directory, 'key.pem'), laptop.key);
    const verify = (purpose: string): string =>
      execFileSync('openssl', ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', 'ca.pem', 'cert.pem'], {
        cwd: directory,
        encoding: 'utf8',
        stdio: 'pipe',
      });
    expect(verify('sslclient')).toBe('cert.pem: OK\n');
    expect(() => verify('sslserver')).toThrow(/unsuitable certificate purpose/i);
    expect(openssl('pkey', '-in', 'key.pem', '-pubout')).toBe(openssl('x509', '-in', 'cert.pem', '-noout', '-pubkey'));
    const certificate = new X509Certificate(laptop.certificate);
    expect(certificate.subject).toBe('O=pi-swarm\nOU=client\nCN=laptop');
    expect(Date.parse(certificate.validTo)).toBe(Date.UTC(2060, 0));
  });

  it.each(['', 'x'.repeat(65), 'a\nOU=node'])('is not issued for the name %j', name => {
    expect(() => issueClientCertificate(deriveCluster(generateSecret()), name)).toThrow(UsageError);
  });
});
