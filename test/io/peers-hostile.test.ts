import { request as httpsRequest } from 'node:https';
import { connect as netConnect } from 'node:net';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Cluster } from '../../src/io/cluster.ts';
import { issueClientCertificate, privateKeyPem } from '../../src/io/identity.ts';
import type { TlsPeersOptions } from '../../src/io/peers.ts';
import { leafCertificate } from '../../src/io/x509.ts';
import { until } from './netns.ts';
import { certificateOf, makeCluster, makeIdentity, statusOf, systemClock, TestPi } from './peers-helper.ts';

interface Answer {
  status: number;
  body: { message?: string; code?: string };
}

describe('an agent among strangers', () => {
  let cluster: Cluster;
  let pi: TestPi;
  const others: TestPi[] = [];
  const log: string[] = [];
  const warn = (_fields: unknown, text?: string): void => void log.push(text ?? '');

  const make = async (of: Cluster, options: Partial<TlsPeersOptions> = {}): Promise<TestPi> => {
    const other = new TestPi(of, options);
    others.push(other);
    return other.start();
  };
  beforeEach(async () => {
    cluster = makeCluster();
    log.length = 0;
    pi = await make(cluster, { log: { info: () => {}, warn } as never });
  });
  afterEach(async () => {
    await Promise.all(others.splice(0).map(other => other.peers.stop()));
  });

  const node = (of = cluster, identity = makeIdentity()) => ({
    id: identity.id,
    tls: { key: privateKeyPem(identity.privateKey), cert: certificateOf(of, identity), ca: of.ca.certificate },
  });
  const post = (
    path: string,
    body: string,
    tls: ConnectionOptions,
    headers: Record<string, string> = {},
  ): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const options = {
        ...tls,
        host: '127.0.0.1',
        port: pi.port,
        path,
        method: 'POST',
        headers,
        rejectUnauthorized: false,
      };
      const request = httpsRequest(options, response => {
        const chunks: Buffer[] = [];
        response.on('data', chunk => chunks.push(chunk));
        response.on('end', () => {
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString() || '{}') });
        });
      });
      request.on('error', reject);
      request.end(body);
    });
  const hello = (id: string): string =>
    JSON.stringify({ id, versions: { min: 1, max: 1 }, release: '0', name: 'x', port: 1 });
  const beat = (id: string): string =>
    JSON.stringify({ etag: 'e', seen: '', wallMs: 1, status: statusOf(id, 1, { name: 'evil' }) });
  const knowsNothing = (): void => expect(pi.peers.list()).toEqual([]);

  it('takes a real peer’s hello and heartbeat: the tests below fail for their own reasons', async () => {
    const { id, tls } = node();
    expect(await post('/peer/v1/hello', hello(id), tls)).toMatchObject({ status: 200, body: { id: pi.id } });
    expect(await post('/peer/v1/heartbeat', beat(id), tls)).toMatchObject({ status: 200 });
    expect(pi.peers.list().map(peer => peer.id)).toEqual([id]);
  });

  it('refuses the certificate of another secret', async () => {
    const { id, tls } = node(makeCluster());
    for (const [path, body] of [['/peer/v1/hello', hello(id)] as const, ['/peer/v1/heartbeat', beat(id)] as const]) {
      expect(await post(path, body, tls)).toMatchObject({
        status: 403,
        body: { message: expect.stringContaining('another cluster secret') },
      });
    }
    expect(pi.peers.refusalsByReason()).toEqual({ foreign: 2 });
    expect(pi.peers.refusals().last?.from).toBe('127.0.0.1');
    knowsNothing();
  });

  it('refuses who shows no certificate', async () => {
    expect(await post('/peer/v1/hello', hello('0'.repeat(16)), {})).toMatchObject({ status: 403 });
    expect(pi.peers.refusalsByReason()).toEqual({ foreign: 1 });
    knowsNothing();
  });

  it('refuses an expired certificate, by its own clock', async () => {
    const identity = makeIdentity();
    const cert = leafCertificate(
      {
        subject: { organization: 'pi-swarm', organizationalUnit: 'node', commonName: identity.id },
        publicKey: identity.publicKey,
        server: true,
        alternativeNames: [],
        notAfterMs: Date.now() - 60_000,
      },
      cluster.tag,
      cluster.ca.privateKey,
    );
    const answer = await post('/peer/v1/hello', hello(identity.id), {
      ...node().tls,
      key: privateKeyPem(identity.privateKey),
      cert,
    });
    expect(answer).toMatchObject({ status: 403, body: { message: expect.stringContaining('expired') } });
    expect(pi.peers.refusalsByReason()).toEqual({ expired: 1 });
    knowsNothing();
  });

  it('refuses a right certificate when another node’s id is claimed in words', async () => {
    const { id, tls } = node();
    expect(await post('/peer/v1/hello', hello('0'.repeat(16)), tls)).toMatchObject({ status: 403 });
    await post('/peer/v1/hello', hello(id), tls);
    expect(await post('/peer/v1/heartbeat', beat('0'.repeat(16)), tls)).toMatchObject({ status: 403 });
    expect(pi.peers.refusalsByReason()).toEqual({ 'id-mismatch': 2 });
    knowsNothing();
  });

  it('refuses a certificate that carries another node’s id', async () => {
    const identity = makeIdentity();
    const cert = certificateOf(cluster, { ...identity, id: pi.id });
    const answer = await post('/peer/v1/hello', hello(pi.id), {
      ...node().tls,
      key: privateKeyPem(identity.privateKey),
      cert,
    });
    expect(answer.status).toBe(403);
    expect(pi.peers.refusalsByReason()).toEqual({ 'id-mismatch': 1 });
    knowsNothing();
  });

  it('keeps Docker clients off the peer routes', async () => {
    const client = issueClientCertificate(cluster, 'laptop');
    for (const path of ['/peer/v1/hello', '/peer/v1/heartbeat', '/peer/v1/command/join', '/peer/other']) {
      const answer = await post(path, hello('0'.repeat(16)), { key: client.key, cert: client.certificate });
      expect(answer).toMatchObject({ status: 403, body: { code: 'refused' } });
    }
    expect(pi.peers.refusalsByReason()).toEqual({ 'client-cert': 4 });
    knowsNothing();
  });

  it('asks for a hello before heartbeats and commands', async () => {
    const { id, tls } = node();
    expect((await post('/peer/v1/heartbeat', beat(id), tls)).status).toBe(428);
    expect((await post('/peer/v1/command/join', '{}', tls)).status).toBe(428);
    knowsNothing();
  });

  it('refuses a hello without a common protocol version, saying who has to be updated', async () => {
    const { id, tls } = node();
    const future = JSON.stringify({ id, versions: { min: 7, max: 8 }, release: '9.9', name: 'new', port: 1 });
    const answer = await post('/peer/v1/hello', future, tls);
    expect(answer).toMatchObject({ status: 426, body: { cure: `Update pi-swarm on pi-${pi.id.slice(0, 4)}.` } });
    expect((await post('/peer/v1/heartbeat', beat(id), tls)).status).toBe(428);
  });

  it.each([
    ['no JSON', 'hello?'],
    ['nothing', ''],
    ['an array', '[]'],
    ['wrong types', '{"etag":1,"seen":{},"wallMs":"now"}'],
    ['a broken status', '{"etag":"e","seen":"","wallMs":1,"status":{"id":"x"}}'],
  ])('refuses a heartbeat that is %s, and goes on', async (_what, body) => {
    const { id, tls } = node();
    await post('/peer/v1/hello', hello(id), tls);
    expect((await post('/peer/v1/heartbeat', body, tls)).status).toBe(403);
    knowsNothing();
    expect((await post('/peer/v1/heartbeat', beat(id), tls)).status).toBe(200);
  });

  it('refuses a body that is too big without reading it all, said or unsaid', async () => {
    const { id, tls } = node();
    await post('/peer/v1/hello', hello(id), tls);
    const big = JSON.stringify({ x: 'a'.repeat(8_000_000) });
    const outcome = await post('/peer/v1/command/x', big, tls).catch(error => ({ status: 0, error }));
    expect([0, 403]).toContain(outcome.status);
    expect(pi.peers.refusalsByReason()).toEqual({ 'bad-request': 1 });
  });

  it('hangs up on a request that does not come to its end', async () => {
    const { id, tls } = node();
    await post('/peer/v1/hello', hello(id), tls);
    const socket = tlsConnect({ ...tls, host: '127.0.0.1', port: pi.port, rejectUnauthorized: false });
    let ended = false;
    socket
      .on('error', () => {})
      .on('close', () => {
        ended = true;
      });
    socket.resume();
    socket.write('POST /peer/v1/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{');
    await until('the agent hangs up', () => ended, 12_000);
  });

  it('hangs up on headers that do not come to their end, on silence, and on garbage', async () => {
    const { tls } = node();
    const closed: string[] = [];
    const slow = tlsConnect({ ...tls, host: '127.0.0.1', port: pi.port, rejectUnauthorized: false });
    slow.on('error', () => {}).on('close', () => closed.push('slow headers'));
    slow.resume();
    slow.write('POST /peer/v1/heartbeat HTTP/1.1\r\nHost:');
    const drip = setInterval(() => slow.writable && slow.write('x'), 500);
    const silent = netConnect(pi.port, '127.0.0.1');
    silent.on('error', () => {}).on('close', () => closed.push('silence'));
    silent.resume();
    const garbage = netConnect(pi.port, '127.0.0.1');
    garbage.on('error', () => {}).on('close', () => closed.push('garbage'));
    garbage.resume();
    garbage.write(Buffer.alloc(2000, 0xa5));
    await until('all three are gone', () => closed.length === 3, 30_000);
    clearInterval(drip);
    expect(closed[0]).toBe('garbage');
    const peer = await make(cluster);
    peer.hintAt(pi.port);
    await until('a real peer is still welcome', () => pi.sees(peer) === 'alive');
  });

  it('bounds the connections from one address', async () => {
    const sockets = Array.from({ length: 80 }, () => netConnect(pi.port, '127.0.0.1'));
    let closed = 0;
    for (const socket of sockets)
      socket
        .on('error', () => {})
        .on('close', () => (closed += 1))
        .resume();
    await until('those beyond 64 are gone', () => closed >= 16);
    expect(pi.peers.refusalsByReason()['too-many']).toBe(16);
    for (const socket of sockets) socket.destroy();
  });

  it('answers unknown addresses with 404 as JSON', async () => {
    const { tls } = node();
    expect(await post('/nowhere', '', tls)).toMatchObject({ status: 404, body: { code: 'notFound' } });
    expect(await post('/peer/v2/hello', '', tls)).toMatchObject({ status: 404, body: { code: 'notFound' } });
  });

  it('logs refusals once in a while, not each one', async () => {
    const { id, tls } = node(makeCluster());
    for (let i = 0; i < 20; i++) await post('/peer/v1/hello', hello(id), tls);
    expect(pi.peers.refusals().count).toBe(20);
    expect(log).toHaveLength(1);
    expect(log[0]).toContain('another cluster secret');
  });

  it('says nothing to a server of another secret', async () => {
    const stranger = await make(makeCluster());
    pi.hintAt(stranger.port);
    await until('it was refused', () => pi.peers.refusalsByReason()['foreign'] !== undefined);
    expect(stranger.peers.list()).toEqual([]);
  });

  it('an address that another Pi of the cluster has now is given up, and nobody is called refused', async () => {
    const [first, second] = [await make(cluster), await make(cluster)];
    pi.hintAt(first.port);
    await until('the first is known', () => pi.sees(first) === 'alive');
    const { port } = first;
    await first.peers.stop();
    // Somebody else has its address now.
    pi.peers.hint({ id: first.id, host: '127.0.0.1', port: second.port });
    await until('the first is dead, whoever has its address', () => pi.sees(first) === 'dead');
    await expect(pi.peers.request(first.id, 'anything', {})).rejects.toThrow(`:${port}`);
    expect(second.peers.list().every(peer => peer.id === pi.id)).toBe(true);
    expect(pi.peers.refusals().count).toBe(0);
    expect(second.peers.refusals().count).toBe(0);
  });

  it('does not choke on hundreds of hints that lead nowhere', async () => {
    for (let i = 0; i < 2000; i++) pi.peers.hint({ host: `127.0.${i % 250}.${(i >> 3) % 250}`, port: 1 + (i % 50) });
    const peer = await make(cluster, { clock: systemClock });
    peer.hintAt(pi.port);
    await until('a real peer is found all the same', () => pi.sees(peer) === 'alive');
  });
});
