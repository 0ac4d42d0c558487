/** The command line's end of the control socket. */
import { request } from 'node:http';
import type { Snapshot } from '../core/snapshot.ts';
import { fromWire, PiSwarmError, TimeoutError } from '../errors.ts';
import { printableLines } from '../printable.ts';
import { CONTROL_LIMITS } from './wire.ts';

/** Path of the agent's unix socket. */
export type AgentAddress = string;

export interface CallOptions {
  /** Limit for the whole call. Default 15 s. */
  timeoutMs?: number;
}

/**
 * One command to the agent of this Pi (`POST /v1/command/NAME`); resolves with its result.
 * @throws PiSwarmError `unavailable` when no agent answers, TimeoutError, or what the agent threw.
 */
export async function callAgent(
  socket: AgentAddress,
  command: string,
  body: unknown = {},
  options: CallOptions = {},
): Promise<unknown> {
  const answer = await exchange(socket, 'POST', `/v1/command/${command}`, JSON.stringify(body), options);
  return (answer as { result?: unknown }).result;
}

/** What the agent shows (`GET /v1/snapshot`). @throws as `callAgent` */
export async function fetchSnapshot(socket: AgentAddress, options: CallOptions = {}): Promise<Snapshot> {
  return (await exchange(socket, 'GET', '/v1/snapshot', undefined, options)) as Snapshot;
}

function exchange(
  socketPath: string,
  method: string,
  path: string,
  body: string | undefined,
  options: CallOptions,
): Promise<unknown> {
  const timeoutMs = options.timeoutMs ?? 15_000;
  return new Promise((resolve, reject) => {
    const headers =
      body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const call = request({ socketPath, method, path, headers, agent: false }, response => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > CONTROL_LIMITS.responseBytes) call.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      response.on('error', fail);
      response.on('end', () => {
        const answer = parse(Buffer.concat(chunks).toString('utf8'));
        if (answer === undefined) fail(new Error('the answer is not JSON'));
        else if (response.statusCode === 200) settle(() => resolve(answer));
        else settle(() => reject(fromWire(answer)));
      });
    });
    const timer = setTimeout(() => {
      const late = new TimeoutError(
        `the agent did not answer within ${timeoutMs / 1000} s`,
        'Try again; if it stays so, look into its log: journalctl -u pi-swarm',
      );
      settle(() => reject(late));
      call.destroy();
    }, timeoutMs);
    const settle = (end: () => void) => {
      clearTimeout(timer);
      end();
    };
    function fail(error: NodeJS.ErrnoException): void {
      settle(() => reject(explain(error, socketPath)));
    }
    call.on('error', fail);
    call.end(body);
  });
}

/** What is in it may be the words of any Pi, and will be shown on a terminal. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text, (_key, value) => (typeof value === 'string' ? printableLines(value) : value));
  } catch {
    return undefined;
  }
}

function explain(error: NodeJS.ErrnoException, socketPath: string): PiSwarmError {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
    return new PiSwarmError(
      'unavailable',
      `the pi-swarm agent is not running on this Pi (nobody answers on ${socketPath})`,
      'Start it: sudo systemctl start pi-swarm\nor, to watch it work: sudo pi-swarm agent\nVirtual Pis are asked from inside: pi-swarm lab exec pi1 -- pi-swarm status',
      { cause: error },
    );
  }
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return new PiSwarmError(
      'unavailable',
      `you may not talk to the pi-swarm agent (no permission for ${socketPath})`,
      'Run it with sudo, or add yourself to the group pi-swarm and log in again: sudo usermod -aG pi-swarm $USER',
      { cause: error },
    );
  }
  return new PiSwarmError(
    'unavailable',
    `the pi-swarm agent broke off: ${error.message}`,
    'It may have been restarting: try again, or look into its log: journalctl -u pi-swarm',
    { cause: error },
  );
}
