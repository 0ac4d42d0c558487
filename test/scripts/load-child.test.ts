import { type ChildProcess, spawn } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, it } from 'vitest';
import type { LoadResult } from '../../scripts/load.ts';
import { waitFor } from '../lab/harness.ts';

const CHILD = join(import.meta.dirname, '../../scripts/load-child.mjs');
const BODY = "I'm 0123456789ab\n";

type Result = Omit<LoadResult, 'byPi' | 'failures'> & {
  targets: LoadResult['byPi'];
  failures: { target: string; reason: string; tookMs: number }[];
};

class Child {
  readonly process: ChildProcess;
  sent = 0;
  heldBack = 0;
  result: Result | undefined;
  targets: string[] = [];

  constructor(port: number, more: object = {}) {
    const options = {
      targets: ['127.0.0.1'],
      port,
      ratePerSecond: 200,
      keepAliveClients: 0,
      timeoutMs: 500,
      inFlightMax: 50,
    };
    this.process = spawn(process.execPath, [CHILD, JSON.stringify({ ...options, ...more })], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    if (this.process.stdout === null) throw new Error('no stdout');
    createInterface({ input: this.process.stdout }).on('line', line => {
      const said = JSON.parse(line) as {
        counts?: { sent: number; heldBack: number };
        result?: Result;
        targets?: string[];
      };
      this.heldBack = said.counts?.heldBack ?? this.heldBack;
      this.sent = said.counts?.sent ?? this.sent;
      this.result = said.result ?? this.result;
      this.targets = said.targets ?? this.targets;
    });
  }

  say(word: object): void {
    this.process.stdin?.write(`${JSON.stringify(word)}\n`);
  }

  until = (count: number) => waitFor(() => this.sent >= count, { what: `${count} requests`, everyMs: 10 });

  async stop(): Promise<Result> {
    this.say({});
    return (await waitFor(() => this.result, { what: 'the result' })) as Result;
  }
}

describe('a load of requests', () => {
  const servers: { close(): unknown }[] = [];
  const children: Child[] = [];

  afterEach(() => {
    for (const child of children.splice(0)) child.process.kill('SIGKILL');
    for (const server of servers.splice(0)) server.close();
  });

  const listen = async (server: Server | ReturnType<typeof createTcpServer>): Promise<number> => {
    servers.push(server);
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  };

  const load = (port: number, more?: object): Child => {
    const child = new Child(port, more);
    children.push(child);
    return child;
  };

  /** A server that counts its connections. */
  const counting = async () => {
    const seen = { connections: 0, closing: [] as (string | undefined)[] };
    const server = createServer((request, response) => {
      seen.closing.push(request.headers.connection);
      response.end(BODY);
    });
    server.on('connection', () => seen.connections++);
    return { seen, port: await listen(server) };
  };

  it('comes at a steady rate, with a connection for each request, and says who answered how fast', async () => {
    const { seen, port } = await counting();
    const child = load(port);
    await child.until(1);
    const began = performance.now();
    await child.until(401);
    const tookMs = performance.now() - began;
    const result = await child.stop();
    expect(tookMs).toBeGreaterThan(1_700);
    expect(result).toMatchObject({ failed: 0, heldBack: 0, retried: 0, failures: [] });
    expect(result.ok).toBe(result.sent);
    expect(seen.connections).toBe(result.sent);
    expect(new Set(seen.closing)).toEqual(new Set(['close']));
    expect(result.answers['0123456789ab']?.requests).toBe(result.ok);
    expect(result.latencyMs.median).toBeLessThanOrEqual(result.latencyMs.worst);
  });

  it('keeps connections where it is told to', async () => {
    const { seen, port } = await counting();
    const child = load(port, { keepAliveClients: 4 });
    await child.until(200);
    expect(await child.stop()).toMatchObject({ failed: 0 });
    expect(seen.connections).toBe(4);
  });

  it('sends again what met the end of a kept connection, and nothing else', async () => {
    let requests = 0;
    const onConnection = (socket: Socket) => {
      let first = true;
      socket.on('error', () => {});
      socket.on('data', () => {
        requests++;
        // The second on each connection finds it closed without an answer.
        if (first) socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`);
        else socket.destroy();
        first = false;
      });
    };
    const child = load(await listen(createTcpServer(onConnection)), { keepAliveClients: 2 });
    await child.until(50);
    const result = await child.stop();
    expect(result.failed).toBe(0);
    expect(result.retried).toBeGreaterThan(10);
    expect(requests).toBe(result.sent + result.retried);
  });

  it('counts what is refused, cut off, late or answered by somebody else, each with its reason', async () => {
    const answers: Record<string, (socket: Socket) => void> = {
      'no answer in time': () => {},
      ECONNRESET: socket => socket.destroy(),
      'answered 503 ""': socket => socket.end('HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n'),
      'answered 200 "Hello"': socket => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello'),
    };
    for (const [reason, answer] of Object.entries(answers)) {
      const server = createTcpServer(socket => {
        socket.on('error', () => {});
        socket.once('data', () => answer(socket));
      });
      const child = load(await listen(server), { ratePerSecond: 40 });
      await child.until(5);
      const result = await child.stop();
      expect(result).toMatchObject({ ok: 0, failed: result.sent });
      expect(new Set(result.failures.map(failure => failure.reason))).toEqual(new Set([reason]));
      if (reason === 'no answer in time') expect(result.failures[0]?.tookMs).toBeGreaterThanOrEqual(490);
    }
    const { port } = await counting();
    for (const server of servers.splice(0)) server.close();
    const child = load(port);
    await child.until(5);
    expect((await child.stop()).failures.map(({ reason }) => reason)).toContain('ECONNREFUSED');
  });

  it('asks others when it is told to', async () => {
    const { port } = await counting();
    const child = load(port, { targets: ['127.0.0.1', '127.0.0.2'] });
    await child.until(20);
    child.say({ targets: ['127.0.0.1'] });
    await waitFor(() => child.targets.length === 1, { what: 'the change' });
    const result = await child.stop();
    // Nobody listens on the second.
    expect(result.targets['127.0.0.2']).toMatchObject({ ok: 0 });
    expect(result.targets['127.0.0.1']).toMatchObject({ failed: 0 });
  });

  it('never has more under way than it may', async () => {
    const port = await listen(createTcpServer(socket => socket.on('error', () => {})));
    const child = load(port, { inFlightMax: 10, timeoutMs: 2_000 });
    await waitFor(() => child.heldBack > 10, { what: 'requests that are held back', timeoutMs: 1_500, everyMs: 10 });
    expect(child.sent).toBe(10);
  });

  it('ends when whoever started it is gone', async () => {
    const { port } = await counting();
    const child = load(port);
    await child.until(5);
    child.process.stdin?.end();
    await waitFor(() => child.process.exitCode === 0, { what: 'its end' });
  });
});
