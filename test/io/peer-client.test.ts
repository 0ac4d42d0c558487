/** Requests to a Pi that takes the connection and says nothing: its agent is frozen, or busier than anybody can wait. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PeerChannel, peerCredentials } from '../../src/io/peer-client.ts';
import { certificateOf, makeCluster, makeIdentity, systemClock, TestPi } from './peers-helper.ts';

const cluster = makeCluster();
const identity = makeIdentity();
const credentials = peerCredentials(cluster, identity, certificateOf(cluster, identity), systemClock);

describe('a Pi that takes connections and says nothing', () => {
  const sockets = new Set<Socket>();
  let server: Server;
  let port = 0;
  let channel: PeerChannel;

  beforeEach(async () => {
    server = createServer(socket => void sockets.add(socket.on('error', () => {})));
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
    channel = new PeerChannel({ host: '127.0.0.1', port, credentials, socketsMax: 1 });
  });
  afterEach(() => {
    channel.destroy();
    server.close();
    for (const socket of sockets) socket.destroy();
  });

  it('is waited for no longer than the caller said, by the requests that wait for others, too', async () => {
    const began = performance.now();
    const asked = Array.from({ length: 4 }, () => channel.post('/peer/v1/command/x', {}, { timeoutMs: 300 }));
    const outcomes = await Promise.allSettled(asked);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected', 'rejected']);
    expect(String((outcomes[3] as PromiseRejectedResult).reason)).toContain('did not answer within 300 ms');
    // Far below what a handshake may take.
    expect(performance.now() - began).toBeLessThan(5_000);
  });

  it('is not even asked by who has lost interest, and no longer by who loses it meanwhile', async () => {
    const stop = new AbortController();
    const { signal } = stop;
    const meanwhile = channel.post('/peer/v1/command/x', {}, { timeoutMs: 60_000, signal });
    stop.abort();
    await expect(meanwhile).rejects.toThrow('called off');
    await expect(channel.post('/peer/v1/command/x', {}, { timeoutMs: 60_000, signal })).rejects.toThrow('called off');
  });

  it('does not keep an agent from stopping', async () => {
    const pi = await new TestPi(cluster).start();
    pi.hintAt(port);
    await new Promise<void>(resolve => server.once('connection', () => resolve()));
    const [socket] = sockets;
    const gone = new Promise<void>(resolve => socket?.once('close', () => resolve()));
    socket?.resume();
    const began = performance.now();
    await pi.peers.stop();
    await gone;
    // Of the ten seconds that a handshake may take.
    expect(performance.now() - began).toBeLessThan(6_000);
  });
});
