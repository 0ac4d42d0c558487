import { describe, expect, it } from 'vitest';
import { TrustError, type TrustReason } from '../../src/errors.ts';
import { issueClientCertificate } from '../../src/io/identity.ts';
import { type VerifyOptions, verifyPeer } from '../../src/io/pki.ts';
import { certify, cluster, craft, der, NOW, pi1, pi2, stranger } from './pki-fixtures.ts';

function reasonOf(certificate: Uint8Array, options: Partial<VerifyOptions> = {}): TrustReason | undefined {
  try {
    verifyPeer(cluster, certificate, { now: NOW, ...options });
  } catch (error) {
    expect(error).toBeInstanceOf(TrustError);
    if (error instanceof TrustError) return error.reason;
  }
  return undefined;
}

describe('verifyPeer', () => {
  it('tells who a node is', () => {
    const peer = verifyPeer(cluster, der(certify(pi1)), { now: NOW, claimedId: pi1.id });
    expect(peer).toEqual({ id: pi1.id, role: 'node', name: 'pi1' });
  });

  it('tells who a client is, where clients are let in', () => {
    const laptop = der(issueClientCertificate(cluster, 'laptop').certificate);
    expect(verifyPeer(cluster, laptop, { now: NOW, clients: true })).toMatchObject({ role: 'client', name: 'laptop' });
  });

  it('accepts a node whose clock and ours stand in 1970', () => {
    expect(reasonOf(der(certify(pi1)), { now: 0 })).toBeUndefined();
  });

  it('refuses the certificate of another cluster', () => {
    expect(reasonOf(der(certify(pi1, stranger)))).toBe('foreign');
  });

  it("refuses another cluster's certificate that bears our CA's name", () => {
    const forged = { ...stranger, tag: cluster.tag };
    expect(reasonOf(der(certify(pi1, forged)))).toBe('foreign');
  });

  it('refuses a certificate in which one bit was turned', () => {
    const certificate = der(certify(pi1));
    const at = certificate.indexOf(Buffer.from(pi1.id));
    certificate.writeUInt8(certificate.readUInt8(at) ^ 1, at);
    expect(reasonOf(certificate)).toBe('foreign');
  });

  it('refuses what has expired, by the time it is told and not by the clock of the machine', () => {
    const certificate = der(craft(pi1, { notAfterMs: Date.UTC(2040, 0) }));
    expect(reasonOf(certificate, { now: Date.UTC(2039, 0) })).toBeUndefined();
    expect(reasonOf(certificate, { now: Date.UTC(2041, 0) })).toBe('expired');
  });

  it('refuses what is not valid yet', () => {
    expect(reasonOf(der(certify(pi1)), { now: -1 })).toBe('notYetValid');
  });

  it("refuses a certificate with another node's id", () => {
    expect(reasonOf(der(craft(pi1, { id: pi2.id })))).toBe('id-mismatch');
    expect(reasonOf(der(craft(pi1, { id: pi2.id })), { claimedId: pi2.id })).toBe('id-mismatch');
  });

  it('refuses a node that is not the one we meant', () => {
    expect(reasonOf(der(certify(pi1)), { claimedId: pi2.id })).toBe('id-mismatch');
  });

  it('refuses client certificates where only nodes are let in', () => {
    const laptop = der(issueClientCertificate(cluster, 'laptop').certificate);
    expect(reasonOf(laptop)).toBe('client-cert');
    expect(reasonOf(laptop, { clients: true, claimedId: pi1.id })).toBe('client-cert');
  });

  it("refuses a client that calls itself by a node's id", () => {
    expect(reasonOf(der(issueClientCertificate(cluster, pi1.id).certificate), { claimedId: pi1.id })).toBe(
      'client-cert',
    );
  });

  it.each([
    ['no certificate at all', Buffer.from('hello')],
    ['nothing', Buffer.alloc(0)],
    ['a huge one', Buffer.alloc(1_000_000)],
    ['half of one', der(certify(pi1)).subarray(0, 200)],
    ['one of another role', der(craft(pi1, { unit: 'admin' }))],
    ['a node that may not be a server', der(craft(pi1, { server: false }))],
    ["the authority's own", der(cluster.ca.certificate)],
  ])('refuses %s', (_what, certificate) => {
    expect(reasonOf(certificate)).toBe('malformed');
  });

  it('says what to do with every refusal', () => {
    try {
      verifyPeer(cluster, der(certify(pi1, stranger)), { now: NOW });
    } catch (error) {
      expect(error).toMatchObject({
        code: 'refused',
        message: expect.any(String),
        cure: expect.stringMatching(/secret/),
      });
    }
  });
});
