/** Our side of the connections to one address: TLS, proof of who is there, then small JSON requests one after the other. */
import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import type { NodeId } from '../core/world.ts';
import { fromWire, messageOf, PeerError, PiSwarmError } from '../errors.ts';
import type { Clock } from '../ports.ts';
import type { Cluster } from './cluster.ts';
import { readJson } from './http-json.ts';
import type { Identity } from './identity.ts';
import { ANSWER_BYTES_MAX, CONNECT_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS } from './peer-protocol.ts';
import { authenticate, handshakeRefusal, type PeerIdentity, tlsOptions } from './pki.ts';

/** Client connections nobody used for so long are closed by us, well before the server would: no request meets a closing door. */
const IDLE_MS = 70_000;

/** What every connection needs; made once. */
export interface PeerCredentials {
  cluster: Cluster;
  secureContext: SecureContext;
  clock: Pick<Clock, 'wall'>;
}

export function peerCredentials(
  cluster: Cluster,
  identity: Identity,
  certificate: string,
  clock: Pick<Clock, 'wall'>,
): PeerCredentials {
  return { cluster, clock, secureContext: createSecureContext(tlsOptions(cluster, identity, certificate)) };
}

export interface PeerAddress {
  host: string;
  port: number;
}

export interface ChannelOptions extends PeerAddress {
  credentials: PeerCredentials;
  /** Whom we expect there; undefined: whichever Pi of the cluster it is. */
  expected?: NodeId;
  /** 1 for heartbeats; a few for commands, so that a long one does not hold up the others. */
  socketsMax: number;
}

export interface PostOptions {
  /** From now on, a connection that has to be made included. One that is not there by then is made all the same, for the next request. */
  timeoutMs: number;
  /** A new connection may take its own time (12 s at most) on top: nobody waits for the answer. */
  patient?: boolean;
  signal?: AbortSignal | undefined;
}

/** Another Pi of the cluster has this address now: a new card in the same board, a new lease. Nobody was refused. */
export class AnotherPi extends PeerError {}
/** So long the other side may take to end its part of a connection that led to another Pi. */
const FAREWELL_MS = 1000;

/** Hands out TLS sockets only after the other side has proved who it is. */
class PeerAgent extends Agent {
  readonly #options: ChannelOptions;
  readonly #connecting = new Set<TLSSocket>();
  /** Who was there at the last connection. */
  identity: PeerIdentity | undefined;

  constructor(options: ChannelOptions) {
    super({ keepAlive: true, maxSockets: options.socketsMax, maxFreeSockets: 1, timeout: IDLE_MS });
    this.#options = options;
  }

  override createConnection(
    _options: unknown,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    const { host, port, credentials, expected } = this.#options;
    const socket = connect({
      host,
      port,
      secureContext: credentials.secureContext,
      // Everything is in `authenticate`: peers are known by their key, by our own clock, whatever name led here.
      checkServerIdentity: () => undefined,
    });
    this.#connecting.add(socket);
    const finish = (error?: Error): void => {
      clearTimeout(limit);
      if (!this.#connecting.delete(socket)) return;
      if (!error) {
        callback?.(null, socket);
        return;
      }
      // Broken off, it would look over there like a stranger who gave up in the middle of the handshake.
      if (error instanceof AnotherPi) {
        socket.resume().end();
        setTimeout(() => socket.destroy(), FAREWELL_MS).unref();
      } else socket.destroy();
      callback?.(handshakeRefusal(error, socket) ?? error, socket);
    };
    const within = (ms: number) => setTimeout(() => finish(new Error(`no connection within ${ms} ms`)), ms);
    let limit = within(CONNECT_TIMEOUT_MS);
    socket.once('connect', () => {
      clearTimeout(limit);
      limit = within(HANDSHAKE_TIMEOUT_MS);
    });
    socket.setNoDelay(true);
    socket.once('secureConnect', () => {
      try {
        const identity = authenticate(credentials.cluster, socket, { now: credentials.clock.wall() });
        if ((expected ?? identity.id) !== identity.id) throw new AnotherPi(`another Pi answers at ${host}:${port}`);
        this.identity = identity;
        finish();
      } catch (error) {
        finish(error instanceof Error ? error : new Error(messageOf(error)));
      }
    });
    socket.on('error', finish);
    socket.once('close', () => finish(new Error('it hung up during the handshake')));
    return undefined;
  }

  override destroy(): void {
    for (const socket of this.#connecting) socket.destroy();
    super.destroy();
  }
}

/** HTTP 428, Precondition Required (RFC 6585). */
export const HELLO_FIRST = 428;
export class HelloFirst extends Error {}

export class PeerChannel {
  readonly address: PeerAddress;
  readonly #options: ChannelOptions;
  readonly #agent: PeerAgent;

  constructor(options: ChannelOptions) {
    this.address = { host: options.host, port: options.port };
    this.#options = options;
    this.#agent = new PeerAgent(options);
  }

  /** Who answers there, once somebody did. */
  get identity(): PeerIdentity | undefined {
    return this.#agent.identity;
  }

  /**
   * One JSON request. Connects when needed.
   * @throws TrustError the other side is no Pi of this cluster
   * @throws AnotherPi it is one, but not the one that is expected there
   * @throws PeerError not reachable, too slow, hung up
   * @throws HelloFirst the other side does not know us yet: it was started anew
   * @throws PiSwarmError what the other side answered
   */
  async post(path: string, body: unknown, options: PostOptions): Promise<unknown> {
    const response = await this.#exchange(path, Buffer.from(JSON.stringify(body ?? null)), options);
    if (response.status === 200) return response.body;
    if (response.status === HELLO_FIRST) throw new HelloFirst();
    throw fromWire(response.body);
  }

  destroy(): void {
    this.#agent.destroy();
  }

  #exchange(path: string, body: Buffer, options: PostOptions): Promise<{ status: number; body: unknown }> {
    const { host, port } = this.#options;
    if (options.signal?.aborted) return Promise.reject(new PeerError(`the request to ${host} was called off`));
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        agent: this.#agent,
        host,
        port,
        path,
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Content-Length': body.length },
      });
      const fail = (error: unknown): void => {
        stopLimits();
        reject(reasonOf(error, host, port));
      };
      const stopLimits = limit(request, options, host, fail);
      // Node tells a request that waited for a connection more than once that there is none.
      request.on('error', fail);
      request.once('response', (response: IncomingMessage) => {
        readJson(response, ANSWER_BYTES_MAX, options.timeoutMs).then(answer => {
          stopLimits();
          resolve({ status: response.statusCode ?? 0, body: answer });
        }, fail);
      });
      request.end(body);
    });
  }
}

/** Ends the request when its time is over or its caller lost interest. Returns what calls that off. */
function limit(
  request: ClientRequest,
  { timeoutMs, patient = false, signal }: PostOptions,
  host: string,
  fail: (error: PeerError) => void,
): () => void {
  const end = (why: string): void => {
    const error = new PeerError(why, 'Is it switched on, and on this network?');
    request.destroy(error);
    // Without a connection yet, the request would say so only when there is one.
    fail(error);
  };
  const within = (ms: number) => setTimeout(() => end(`${host} did not answer within ${ms} ms`), ms);
  // Also where a request only waits for others' connections.
  let timer = within(timeoutMs + (patient ? CONNECT_TIMEOUT_MS + HANDSHAKE_TIMEOUT_MS : 0));
  if (patient) {
    request.once('socket', () => {
      clearTimeout(timer);
      timer = within(timeoutMs);
    });
  }
  const onAbort = (): void => end(`the request to ${host} was called off`);
  signal?.addEventListener('abort', onAbort, { once: true });
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  };
}

function reasonOf(error: unknown, host: string, port: number): PiSwarmError {
  if (error instanceof PiSwarmError) return error;
  return new PeerError(
    `the agent at ${host}:${port} cannot be reached: ${messageOf(error)}`,
    `Is it switched on, and on this network? Does a firewall block port ${port}/tcp?`,
    { cause: error },
  );
}
