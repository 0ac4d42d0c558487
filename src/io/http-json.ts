/** JSON over node:http with limits on everything, for servers and clients alike. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ErrorCode, isPiSwarmError, PiSwarmError, RefusedError, TimeoutError } from '../errors.ts';

/** Errors keep their code in the body; the HTTP status is for people with curl. */
const STATUS: Record<ErrorCode, number> = {
  failure: 500,
  usage: 400,
  notFound: 404,
  unavailable: 503,
  refused: 403,
  timeout: 504,
  environment: 500,
  unhealthy: 503,
};

/** IPv4 addresses without the `::ffff:` that dual-stack sockets put before them. */
export const plainAddress = (address: string | undefined): string => (address ?? 'unknown').replace(/^::ffff:/, '');

/**
 * Collects a body and parses it.
 * @throws RefusedError too big or not JSON
 * @throws TimeoutError not complete in time
 */
export function readJson(stream: IncomingMessage, bytesMax: number, timeoutMs: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const finish = (error: Error | undefined): void => {
      clearTimeout(limit);
      stream.off('data', onData);
      if (!error) parse(Buffer.concat(chunks, bytes), resolve, reject);
      else reject(error);
    };
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > bytesMax) finish(new RefusedError(`the message is longer than ${bytesMax} bytes`));
      else chunks.push(chunk);
    };
    const limit = setTimeout(
      () => finish(new TimeoutError(`the message did not arrive within ${timeoutMs} ms`)),
      timeoutMs,
    );
    stream.on('data', onData);
    stream.once('end', () => finish(undefined));
    stream.once('error', finish);
    stream.once('close', () => finish(new RefusedError('the connection broke in the middle of a message')));
  });
}

function parse(body: Buffer, resolve: (value: unknown) => void, reject: (error: Error) => void): void {
  try {
    resolve(body.length === 0 ? undefined : JSON.parse(body.toString('utf8')));
  } catch {
    reject(new RefusedError('the message is not JSON'));
  }
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  if (response.headersSent || response.destroyed) return;
  const body = Buffer.from(JSON.stringify(value ?? null));
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length });
  response.end(body);
}

/** Answers with the error as it crosses sockets (`fromWire`). Bugs do not tell strangers their insides. */
export function sendError(request: IncomingMessage, response: ServerResponse, error: unknown, status?: number): void {
  const known = isPiSwarmError(error)
    ? error
    : new PiSwarmError('failure', 'the agent failed to answer this', 'See its log.');
  // What is left of an unread body must not be taken for the next request.
  if (!request.complete) response.shouldKeepAlive = false;
  response.once('finish', () => {
    if (!request.complete) request.destroy();
  });
  sendJson(response, status ?? STATUS[known.code], known.toWire());
}
