import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ControlHandlers, callAgent, fetchSnapshot, startControl } from '../src/control.ts';
import { NotFoundError, RefusedError } from '../src/errors.ts';
import { snapshotOf } from './cli/fixtures.ts';

let directory: string;
let socket: string;
const stops: (() => Promise<void>)[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pi-swarm-control-'));
  socket = join(directory, 'run', 'agent.sock');
});

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
  await rm(directory, { recursive: true, force: true });
});

async function serve(handlers: Partial<ControlHandlers> = {}, options = {}): Promise<void> {
  const refuse = (): never => {
    throw new Error('not faked');
  };
  const server = await startControl(socket, { snapshot: refuse, command: refuse, ...handlers }, options);
  stops.push(() => server.stop());
}

test('gives the snapshot as the agent has it', async () => {
  const snapshot = snapshotOf({ pis: 3 });
  await serve({ snapshot: () => snapshot });
  expect(await fetchSnapshot(socket)).toEqual(snapshot);
});

test('carries a command, its body and its result', async () => {
  await serve({ command: async (name, body) => ({ name, body }) });
  expect(await callAgent(socket, 'scale', { name: 'whoami', replicas: 5 })).toEqual({
    name: 'scale',
    body: { name: 'whoami', replicas: 5 },
  });
});

test('an error arrives with its code, message and cure', async () => {
  await serve({
    command: async () => Promise.reject(new NotFoundError('there is no service web', 'See pi-swarm services')),
  });
  await expect(callAgent(socket, 'rm')).rejects.toMatchObject({
    code: 'notFound',
    message: 'there is no service web',
    cure: 'See pi-swarm services',
  });
});

test('a bug in a command is a failure for the caller and reaches the log, and the agent goes on', async () => {
  const bugs: unknown[] = [];
  await serve({
    command: async name => {
      if (name === 'scale') throw new TypeError('x is not a function');
      return 'fine';
    },
    onBug: error => bugs.push(error),
  });
  await expect(callAgent(socket, 'scale')).rejects.toMatchObject({ code: 'failure', message: 'x is not a function' });
  expect(bugs).toHaveLength(1);
  expect(await callAgent(socket, 'rm')).toBe('fine');
});

test('a command without a result answers null', async () => {
  await serve({ command: async () => undefined });
  expect(await callAgent(socket, 'leave')).toBeNull();
});

test.each([
  ['GET', '/'],
  ['GET', '/v1/command/scale'],
  ['POST', '/v1/snapshot'],
  ['POST', '/v1/command/../x'],
])('%s %s is not found', async (method, path) => {
  await serve();
  const answer = await raw(`${method} ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n`);
  expect(answer).toMatch(/^HTTP\/1.1 404 /);
});

test('a request over 256 KB is refused before it is read to its end', async () => {
  await serve();
  await expect(callAgent(socket, 'deploy', { env: ['x'.repeat(300 * 1024)] })).rejects.toMatchObject({
    code: expect.stringMatching(/usage|unavailable/),
  });
});

test('a request that is not JSON is refused', async () => {
  await serve();
  expect(await raw('POST /v1/command/rm HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n{a}')).toMatch(
    / 400 [\s\S]*not JSON/,
  );
});

test('a client that never finishes its request is cut off', async () => {
  await serve({}, { requestMs: 200 });
  expect(await raw('POST /v1/command/rm HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n{')).toMatch(/ 408 /);
});

test('a command that takes too long is given up by the server', async () => {
  await serve({ command: () => new Promise(() => undefined) }, { commandMs: 50 });
  await expect(callAgent(socket, 'deploy')).rejects.toMatchObject({
    code: 'timeout',
    message: expect.stringMatching(/deploy did not finish/),
  });
});

test('an agent that does not answer is given up by the client', async () => {
  await serve({ command: () => new Promise(() => undefined) });
  await expect(callAgent(socket, 'deploy', {}, { timeoutMs: 50 })).rejects.toMatchObject({ code: 'timeout' });
});

test('the socket is for root and its group only', async () => {
  await serve();
  expect((await stat(socket)).mode & 0o777).toBe(0o660);
});

test('the socket of a dead agent is replaced', async () => {
  await leaveStaleSocket(socket);
  expect(existsSync(socket)).toBe(true);
  await serve({ command: async () => 'alive' });
  expect(await callAgent(socket, 'scale')).toBe('alive');
});

test('a second agent is refused and leaves the first alone', async () => {
  await serve({ command: async () => 'first' });
  await expect(startControl(socket, { snapshot: () => snapshotOf(), command: async () => 'second' })).rejects.toThrow(
    RefusedError,
  );
  expect(await callAgent(socket, 'scale')).toBe('first');
});

test('a file that is not a socket is not removed', async () => {
  socket = join(directory, 'precious');
  await writeFile(socket, 'data');
  await expect(serve()).rejects.toThrow(/is not a socket/);
  expect((await stat(socket)).size).toBe(4);
});

test('stop removes the socket and ends calls under way', async () => {
  const server = await startControl(socket, {
    snapshot: () => snapshotOf(),
    command: () => new Promise(() => undefined),
  });
  const call = expect(callAgent(socket, 'deploy')).rejects.toMatchObject({ code: 'unavailable' });
  await raw('GET /v1/snapshot HTTP/1.1\r\nhost: x\r\n\r\n');
  await server.stop();
  await call;
  expect(existsSync(socket)).toBe(false);
});

test('no agent: the error says how to start it', async () => {
  await expect(fetchSnapshot(socket)).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringMatching(/is not running on this Pi/),
    cure: expect.stringMatching(/sudo systemctl start pi-swarm[\s\S]*sudo pi-swarm agent/),
  });
});

test.runIf(process.getuid?.() === 0)('no permission: the error says sudo or the group', async () => {
  await serve();
  await chmod(directory, 0o755);
  process.setegid?.(65534);
  process.seteuid?.(65534);
  try {
    await expect(fetchSnapshot(socket)).rejects.toMatchObject({
      code: 'unavailable',
      cure: expect.stringMatching(/sudo[\s\S]*group pi-swarm/),
    });
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
});

/** Sends bytes as they are and gives back everything that comes until the end. */
async function raw(text: string): Promise<string> {
  const { connect } = await import('node:net');
  return new Promise((resolve, reject) => {
    let answer = '';
    const client = connect(socket, () => client.write(text));
    client.on('data', data => {
      answer += data;
    });
    client.on('close', () => resolve(answer));
    client.on('error', reject);
  });
}

/** What SIGKILL leaves behind: a bound socket file on which nobody listens. */
async function leaveStaleSocket(path: string): Promise<void> {
  const { mkdir, link, unlink } = await import('node:fs/promises');
  await mkdir(join(path, '..'), { recursive: true });
  const server = createServer();
  await new Promise<void>(resolve => server.listen(`${path}.live`, resolve));
  await link(`${path}.live`, path);
  await new Promise(resolve => server.close(resolve));
  await unlink(`${path}.live`).catch(() => undefined);
}
