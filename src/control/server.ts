/** The agent's end of the control socket. */
import { chmod, chown, lstat, mkdir, readFile, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import type { Snapshot } from '../core/snapshot.ts';
import {
  EnvironmentError,
  isPiSwarmError,
  messageOf,
  NotFoundError,
  PiSwarmError,
  RefusedError,
  TimeoutError,
  UsageError,
} from '../errors.ts';
import { CONTROL_LIMITS, HTTP_STATUS, SOCKET_GROUP } from './wire.ts';

export interface ControlHandlers {
  snapshot(): Snapshot | Promise<Snapshot>;
  /** Runs one command; the result must be JSON. What it throws reaches the person who asked. */
  command(name: string, body: unknown): Promise<unknown>;
  /** Called with anything thrown that is not a PiSwarmError, for the log. */
  onBug?(error: unknown): void;
}

export interface ControlOptions {
  /** How long one command may take. */
  commandMs?: number;
  /** How long a client may take to send its request. */
  requestMs?: number;
}

export interface ControlServer {
  /** Closes the socket, ends open calls and removes the file. */
  stop(): Promise<void>;
}

/**
 * Listens on `path` (mode 0660, group `pi-swarm` where it exists). The socket of a dead agent is replaced.
 * `GET /v1/snapshot` → Snapshot; `POST /v1/command/NAME` with a JSON body → `{ result }`; errors → WireError.
 * @throws RefusedError when a live agent listens there, EnvironmentError when the place cannot be used.
 */
export async function startControl(
  path: string,
  handlers: ControlHandlers,
  options: ControlOptions = {},
): Promise<ControlServer> {
  const commandMs = options.commandMs ?? CONTROL_LIMITS.commandMs;
  const requestMs = options.requestMs ?? CONTROL_LIMITS.requestMs;
  const server = createServer(
    { requestTimeout: requestMs, headersTimeout: requestMs, connectionsCheckingInterval: Math.min(1000, requestMs) },
    (request, response) => {
      answer(request, handlers, commandMs)
        .then(body => send(response, 200, body))
        .catch(error => sendError(response, error, handlers));
    },
  );
  server.maxConnections = CONTROL_LIMITS.connections;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await removeStale(path);
    await listen(server, path);
    await chmod(path, 0o660);
    await giveToGroup(path);
  } catch (error) {
    server.close();
    if (isPiSwarmError(error)) throw error;
    throw new EnvironmentError(
      `the control socket ${path} cannot be made: ${messageOf(error)}`,
      'Start the agent as root (sudo pi-swarm agent), or choose another place with --socket PATH.',
      { cause: error },
    );
  }
  return {
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request: IncomingMessage, handlers: ControlHandlers, commandMs: number): Promise<unknown> {
  const path = (request.url ?? '/').split('?')[0] ?? '/';
  if (request.method === 'GET' && path === '/v1/snapshot') return handlers.snapshot();
  const command = /^\/v1\/command\/([a-z][a-z-]{0,40})$/.exec(path)?.[1];
  if (request.method !== 'POST' || command === undefined) {
    throw new NotFoundError(`the agent knows no ${request.method} ${path}`, VERSIONS_DIFFER);
  }
  const body = await readJson(request);
  const result = await within(commandMs, handlers.command(command, body), command);
  return { result: result ?? null };
}

const VERSIONS_DIFFER =
  'The command line and the agent may be of different versions: restart the agent (sudo systemctl restart pi-swarm).';

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > CONTROL_LIMITS.requestBytes) {
      throw new UsageError(
        `the request is larger than ${CONTROL_LIMITS.requestBytes / 1024} KB`,
        'Ask for less at once.',
      );
    }
    chunks.push(chunk as Buffer);
  }
  if (size === 0) return {};
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new UsageError('the request is not JSON');
  }
}

/** The command goes on after its limit (it has limits of its own); only the answer is not waited for. */
function within<T>(limitMs: number, work: Promise<T>, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(
        new TimeoutError(`${what} did not finish within ${limitMs / 1000} s`, 'See how far it came: pi-swarm status'),
      );
    }, limitMs);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  if (response.destroyed || response.headersSent) return;
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    // One request per connection: then nothing is left to wait for at stop, and an unread body does no harm.
    connection: 'close',
  });
  response.end(text);
}

function sendError(response: ServerResponse, error: unknown, handlers: ControlHandlers): void {
  if (!isPiSwarmError(error)) handlers.onBug?.(error);
  const known = isPiSwarmError(error)
    ? error
    : new PiSwarmError('failure', messageOf(error), 'This is a bug. The agent’s log has more: journalctl -u pi-swarm');
  send(response, HTTP_STATUS[known.code], known.toWire());
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.removeListener('error', reject);
      // A failed accept (no file descriptors left) must not end the agent.
      server.on('error', () => undefined);
      resolve();
    });
  });
}

/** A killed agent leaves its socket file behind; only one on which nobody answers is removed. */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new RefusedError(
      `${path} exists and is not a socket`,
      'Move it away, or choose another place with --socket PATH.',
    );
  }
  if (await isAnswered(path)) {
    throw new RefusedError(
      `another pi-swarm agent is already running on this Pi (it answers on ${path})`,
      'One agent per Pi is enough. To restart it: sudo systemctl restart pi-swarm',
    );
  }
  await unlink(path);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path);
    const done = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.setTimeout(2000, () => done(true));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}

async function giveToGroup(path: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const groups = await readFile('/etc/group', 'utf8').catch(() => '');
  const line = groups.split('\n').find(entry => entry.startsWith(`${SOCKET_GROUP}:`));
  const gid = Number(line?.split(':')[2]);
  if (Number.isInteger(gid)) await chown(path, 0, gid);
}
