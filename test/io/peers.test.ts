import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { NotFoundError, PeerError, RefusedError } from '../../src/errors.ts';
import type { TlsPeersOptions } from '../../src/io/peers.ts';
import { until } from './netns.ts';
import { certificateOf, makeCluster, makeIdentity, systemClock, TestPi } from './peers-helper.ts';

/** The first word of each connection from `port` comes only after a while. */
async function slowRelay(port: number, delayMs: number): Promise<{ port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const server = createServer(near => {
    const far = connect(port, '127.0.0.1');
    for (const socket of [near, far]) sockets.add(socket.on('error', () => {}));
    near.pipe(far);
    far.once('readable', () => setTimeout(() => far.pipe(near), delayMs));
    near.on('close', () => far.destroy());
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { port: (server.address() as AddressInfo).port, close };
}

describe('peers over real TLS on loopback', () => {
  const pis: TestPi[] = [];
  const cluster = makeCluster();
  const pi = async (options: Partial<TlsPeersOptions> = {}, of = cluster): Promise<TestPi> => {
    const made = new TestPi(of, options);
    pis.push(made);
    return made.start();
  };
  afterEach(async () => {
    await Promise.all(pis.splice(0).map(one => one.peers.stop()));
  });
  const met = (a: TestPi, b: TestPi): Promise<void> =>
    until('both see each other', () => a.sees(b) === 'alive' && b.sees(a) === 'alive');

  it('know each other on both sides after one hint on one side', async () => {
    const [a, b] = [await pi(), await pi()];
    a.hintAt(b.port);
    await met(a, b);
    expect(a.peers.list()[0]?.status).toMatchObject({ id: b.id, name: `pi-${b.id.slice(0, 4)}`, port: b.port });
    expect(a.peers.refusals().count + b.peers.refusals().count).toBe(0);
  });

  it('stay alive in each other’s eyes while nothing changes', async () => {
    const [a, b] = [await pi(), await pi()];
    a.hintAt(b.port);
    await met(a, b);
    const seen = new Set<string>();
    const end = performance.now() + 2500;
    await until('some heartbeats have passed', () => {
      seen.add(a.sees(b)).add(b.sees(a));
      return performance.now() > end;
    });
    expect([...seen]).toEqual(['alive']);
    expect(performance.now() - (a.peers.list()[0]?.lastSeenMs ?? 0)).toBeLessThan(1000);
  });

  it('pass essential news at once, long before the next heartbeat', async () => {
    const [a, b] = [await pi({ heartbeatMs: 5000 }), await pi({ heartbeatMs: 5000 })];
    a.hintAt(b.port);
    await met(a, b);
    for (const [from, to] of [[a, b] as const, [b, a] as const]) {
      const saidMs = performance.now();
      from.say({ candidate: from.id });
      await until('the news arrives', () => to.peers.list()[0]?.status.candidate === from.id);
      expect(performance.now() - saidMs).toBeLessThan(1500);
    }
  });

  it('meet although one of them is so busy that it takes seconds to prove who it is', async () => {
    const [a, b] = [await pi(), await pi()];
    const relay = await slowRelay(b.port, 6_000);
    try {
      a.hintAt(relay.port);
      await met(a, b);
      expect(b.peers.refusals().count).toBe(0);
    } finally {
      relay.close();
    }
  });

  it('tell listeners when a peer appears and when it says something new of its swarm, not at each heartbeat', async () => {
    const [a, b] = [await pi(), await pi()];
    let calls = 0;
    a.peers.onChange(() => {
      calls += 1;
    });
    a.hintAt(b.port);
    await met(a, b);
    await until('the appearance was told', () => calls > 0);
    const end = performance.now() + 1200;
    const before = calls;
    await until('some heartbeats have passed', () => performance.now() > end);
    expect(calls).toBe(before);
    b.say({ intent: 'leave' });
    await until('the news was told', () => calls > before);
  });

  it('introduce each other: who knows one soon knows all', async () => {
    const [a, b, c] = [await pi(), await pi(), await pi()];
    a.hintAt(b.port);
    await met(a, b);
    b.say({ peers: [{ id: a.id, host: '127.0.0.1', port: a.port }] });
    c.hintAt(b.port);
    await met(b, c);
    await met(a, c);
  });

  it('do not meet themselves', async () => {
    const a = await pi();
    a.hintAt(a.port);
    const b = await pi();
    a.hintAt(b.port);
    await met(a, b);
    expect(a.peers.list().map(peer => peer.id)).toEqual([b.id]);
  });

  it('find a peer again under another port, and see that it was started anew', async () => {
    const a = await pi();
    const first = await pi();
    a.hintAt(first.port);
    await met(a, first);
    await first.peers.stop();
    const again = new TestPi(cluster, { identity: first.identity });
    pis.push(again);
    await again.start({ boot: 'second' });
    a.peers.hint({ id: again.id, host: '127.0.0.1', port: again.port });
    await until('the new start is known', () => a.peers.list()[0]?.status.boot === 'second');
    await met(a, again);
    expect(a.peers.list()).toHaveLength(1);
  });

  it('call a peer that is gone suspect, then dead, then forget it', async () => {
    const a = await pi({ forgetMs: 4000 });
    const b = await pi();
    a.hintAt(b.port);
    await met(a, b);
    const seen: string[] = [];
    a.peers.onChange(() => seen.push(a.sees(b)));
    const lastMs = performance.now();
    await b.peers.stop();
    await until('it is dead', () => seen.includes('dead'));
    expect(performance.now() - lastMs).toBeGreaterThan(1000);
    expect(seen.indexOf('suspect')).toBeLessThan(seen.indexOf('dead'));
    expect(seen).toContain('suspect');
    await until('it is forgotten', () => a.peers.list().length === 0);
  });

  it('carry commands, their answers, and the errors of the other side whole', async () => {
    const [a, b] = [await pi(), await pi()];
    a.hintAt(b.port);
    await met(a, b);
    b.peers.onRequest(async (from, command, body) => {
      if (command === 'echo') return { from, body };
      if (command === 'bug') throw new TypeError('inner secret of the program');
      throw new RefusedError('this Pi is leaving', 'Ask another one.');
    });
    expect(await a.peers.request(b.id, 'echo', { x: 1 })).toEqual({ from: a.id, body: { x: 1 } });
    await expect(a.peers.request(b.id, 'join', {})).rejects.toMatchObject({
      code: 'refused',
      message: 'this Pi is leaving',
      cure: 'Ask another one.',
    });
    await expect(a.peers.request(b.id, 'bug', {})).rejects.toMatchObject({ code: 'failure' });
    await expect(a.peers.request(b.id, 'bug', {})).rejects.not.toThrow(/inner secret/);
    await expect(b.peers.request(a.id, 'echo', {})).rejects.toMatchObject({ code: 'notFound' });
    await expect(a.peers.request('0000000000000000', 'echo', {})).rejects.toBeInstanceOf(PeerError);
    expect(b.peers.refusals().count).toBe(0);
  });

  it('give up a command that takes too long or is called off, while heartbeats go on', async () => {
    const [a, b] = [await pi(), await pi()];
    a.hintAt(b.port);
    await met(a, b);
    b.peers.onRequest(() => new Promise(() => {}));
    await expect(a.peers.request(b.id, 'slow', {}, { timeoutMs: 300 })).rejects.toBeInstanceOf(PeerError);
    const abort = new AbortController();
    const calledOff = a.peers.request(b.id, 'slow', {}, { signal: abort.signal, timeoutMs: 30_000 });
    abort.abort();
    await expect(calledOff).rejects.toBeInstanceOf(PeerError);
    await met(a, b);
  });

  it('refuse each other when no protocol version is common, and both say who has to be updated', async () => {
    const lines: string[][] = [[], []];
    const log = (i: number) => ({
      info: () => {},
      warn: (_fields: unknown, text?: string) => void lines[i]?.push(text ?? ''),
    });
    const a = await pi({ versions: { min: 1, max: 2 }, log: log(0) as never });
    const b = await pi({ versions: { min: 3, max: 4 }, log: log(1) as never });
    a.hintAt(b.port);
    await until('both have refused', () => lines.every(side => side.length > 0));
    const older = `pi-${a.id.slice(0, 4)}`;
    for (const side of lines)
      expect(side[0]).toMatch(new RegExp(`${older} .* speaks peer protocol 1 to 2, .* speaks 3 to 4`));
    expect(a.peers.list()).toEqual([]);
    expect(b.peers.list()).toEqual([]);
  });

  it('work with the highest version that both have', async () => {
    const [a, b] = [await pi({ versions: { min: 1, max: 2 } }), await pi({ versions: { min: 2, max: 9 } })];
    a.hintAt(b.port);
    await met(a, b);
  });

  it('meet although the clock of one says 1970, and offer it the time', async () => {
    const offers: number[] = [];
    const a = await pi({ clock: { ...systemClock, wall: () => 0, offer: wallMs => void offers.push(wallMs) } });
    const b = await pi();
    a.hintAt(b.port);
    await met(a, b);
    expect(Math.abs((offers[0] ?? 0) - Date.now())).toBeLessThan(60_000);
  });

  it('never mix with another cluster, whoever begins', async () => {
    const other = makeCluster();
    const [a, b] = [await pi(), await pi()];
    const [x, y] = [await pi({}, other), await pi({}, other)];
    for (const one of [a, b, x, y]) for (const two of [a, b, x, y]) one.hintAt(two.port);
    await met(a, b);
    await met(x, y);
    await until('all have refused', () => [a, b, x, y].every(one => one.peers.refusals().count > 0));
    expect(a.peers.list().map(peer => peer.id)).toEqual([b.id]);
    expect(y.peers.list().map(peer => peer.id)).toEqual([x.id]);
    for (const one of [a, b, x, y]) expect(one.peers.refusalsByReason()).toHaveProperty('foreign');
  });

  it('take a new certificate without losing anybody', async () => {
    const identity = makeIdentity();
    let changed = (): void => {};
    const a = await pi({
      identity,
      certificate: () => certificateOf(cluster, identity),
      network: {
        onChange: listener => {
          changed = () => listener({ addresses: [] });
        },
      },
    });
    const b = await pi();
    b.hintAt(a.port);
    await met(a, b);
    changed();
    const c = await pi();
    c.hintAt(a.port);
    await met(a, c);
    await met(a, b);
  });

  it('says what to do when its port is taken', async () => {
    const a = await pi();
    const b = new TestPi(cluster, { port: a.port });
    await expect(b.peers.start()).rejects.toMatchObject({
      code: 'environment',
      cure: expect.stringContaining('ss -ltnp'),
    });
    await b.peers.stop();
  });

  it('knows no commands while nobody answers them', async () => {
    const [a, b] = [await pi(), await pi()];
    a.hintAt(b.port);
    await met(a, b);
    await expect(a.peers.request(b.id, 'anything', {})).rejects.toMatchObject({ code: new NotFoundError('').code });
  });
});
