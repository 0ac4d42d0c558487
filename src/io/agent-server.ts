/**
 * The agent's one HTTPS server (port 3378). Each part adds its routes; who the caller is has been settled by the
 * certificate before a route sees anything. Slow, many, big and nonsensical callers cost little and are dropped.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { EnvironmentError, isPiSwarmError, messageOf, PiSwarmError, RefusedError, TrustError } from '../errors.ts';
import type { Clock } from '../ports.ts';
import type { Cluster } from './cluster.ts';
import { plainAddress, sendError } from './http-json.ts';
import type { Identity } from './identity.ts';
import { HANDSHAKE_TIMEOUT_MS } from './peer-protocol.ts';
import { authenticate, handshakeRefusal, type PeerIdentity, tlsOptions } from './pki.ts';
import type { Refusals } from './refusals.ts';

/** For a request's headers; and longer than a client waits for a handshake, so that it is the client who gives up. */
const SLOW_MS = 5000;
const CHECK_EVERY_MS = 1000;
const HEADER_BYTES_MAX = 8 * 1024;
/** Longer than the background heartbeat of large clusters, so that those connections live on. */
const IDLE_MS = 75_000;
/** Two for each of the thousand peers, and some for browsers. */
const CONNECTIONS_MAX = 2304;
const CONNECTIONS_PER_ADDRESS_MAX = 64;

export interface Route {
  /** The first part of the path; the longest that fits wins. */
  prefix: string;
  /** `node`: another Pi. `client`: a Pi or a Docker client of this cluster. `anyone`: the route judges by itself. */
  requireRole: 'node' | 'client' | 'anyone';
  handler(request: IncomingMessage, response: ServerResponse, caller: PeerIdentity | undefined): void | Promise<void>;
  /** `Connection: Upgrade`; without it such requests are refused. */
  upgrade?(request: IncomingMessage, socket: Duplex, head: Buffer, caller: PeerIdentity | undefined): void;
}

export interface AgentServerOptions {
  cluster: Cluster;
  identity: Identity;
  /** PEM, from `issueNodeCertificate`. */
  certificate: string;
  clock: Pick<Clock, 'wall'>;
  refusals: Refusals;
  /** 0: one that is free. */
  port: number;
  host?: string;
}

type Caller = { identity?: PeerIdentity; refused?: TrustError };

export class AgentServer {
  readonly #options: AgentServerOptions;
  readonly #server: Server;
  readonly #routes: Route[] = [];
  readonly #callers = new WeakMap<Duplex, Caller>();
  readonly #sockets = new Set<Socket>();
  readonly #perAddress = new Map<string, number>();

  constructor(options: AgentServerOptions) {
    this.#options = options;
    const server = createServer({
      ...tlsOptions(options.cluster, options.identity, options.certificate),
      // Browsers have no certificate, and a wrong one shall be told what is wrong: judged in #settle, by our own clock.
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS + SLOW_MS,
      headersTimeout: SLOW_MS,
      // Each route limits its own bodies: a build context may take minutes.
      requestTimeout: 0,
      connectionsCheckingInterval: CHECK_EVERY_MS,
      keepAliveTimeout: IDLE_MS,
      maxHeaderSize: HEADER_BYTES_MAX,
      noDelay: true,
    });
    server.maxConnections = CONNECTIONS_MAX;
    server.on('connection', (socket: Socket) => this.#admit(socket));
    server.on('secureConnection', socket => this.#callers.set(socket, this.#settle(socket)));
    server.on('tlsClientError', (error, socket) => this.#onHandshakeError(error, socket));
    server.on('clientError', (_error, socket) => void socket.destroy());
    server.on('request', (request, response) => void this.#onRequest(request, response));
    server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head));
    this.#server = server;
  }

  /** Routes may be added at any time. */
  route(route: Route): void {
    this.#routes.push(route);
    this.#routes.sort((a, b) => b.prefix.length - a.prefix.length);
  }

  /** The port it listens on. */
  get port(): number {
    return (this.#server.address() as AddressInfo | null)?.port ?? this.#options.port;
  }

  /** For new addresses or a new host name; connections that stand are not touched. */
  setCertificate(certificate: string): void {
    this.#server.setSecureContext(tlsOptions(this.#options.cluster, this.#options.identity, certificate));
  }

  /** @throws EnvironmentError when the port is taken */
  listen(): Promise<void> {
    const { port, host = '0.0.0.0' } = this.#options;
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void =>
        reject(
          new EnvironmentError(
            `the agent cannot listen on port ${port}: ${messageOf(error)}`,
            `See who holds it with \`ss -ltnp 'sport = ${port}'\`, or set another port in the configuration.`,
            { cause: error },
          ),
        );
      this.#server.once('error', fail);
      this.#server.listen(port, host, () => {
        this.#server.off('error', fail);
        this.#server.on('error', () => {});
        resolve();
      });
    });
  }

  /** Ends at once: open requests are cut off. */
  async close(): Promise<void> {
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #admit(socket: Socket): void {
    const from = plainAddress(socket.remoteAddress);
    const open = (this.#perAddress.get(from) ?? 0) + 1;
    if (open > CONNECTIONS_PER_ADDRESS_MAX) {
      this.#options.refusals.note('too-many', from, `it holds ${CONNECTIONS_PER_ADDRESS_MAX} connections already`);
      socket.destroy();
      return;
    }
    this.#perAddress.set(from, open);
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      const left = (this.#perAddress.get(from) ?? 1) - 1;
      if (left > 0) this.#perAddress.set(from, left);
      else this.#perAddress.delete(from);
    });
  }

  #settle(socket: TLSSocket): Caller {
    if (!socket.getPeerX509Certificate()) return {};
    try {
      const now = this.#options.clock.wall();
      return { identity: authenticate(this.#options.cluster, socket, { now, clients: true }) };
    } catch (error) {
      return { refused: error instanceof TrustError ? error : new TrustError(messageOf(error)) };
    }
  }

  #onHandshakeError(error: Error, socket: TLSSocket): void {
    const refused = handshakeRefusal(error, socket);
    const problem =
      refused?.message ?? 'it broke off the handshake: it has another secret, is no Pi of a cluster, or is very busy';
    this.#options.refusals.note(refused?.reason ?? 'handshake', plainAddress(socket.remoteAddress), problem);
    socket.destroy();
  }

  #find(request: IncomingMessage): Route | undefined {
    const path = request.url ?? '';
    return this.#routes.find(route => path.startsWith(route.prefix));
  }

  /** @throws TrustError */
  #callerFor(route: Route, request: IncomingMessage): PeerIdentity | undefined {
    const { identity, refused } = this.#callers.get(request.socket) ?? {};
    if (route.requireRole === 'anyone') return identity;
    const error = refused ?? this.#roleError(route, identity);
    if (!error) return identity;
    const from = plainAddress(request.socket.remoteAddress);
    this.#options.refusals.note(error.reason ?? 'foreign', from, error.message);
    throw error;
  }

  #roleError(route: Route, identity: PeerIdentity | undefined): TrustError | undefined {
    if (!identity) {
      return new TrustError('it showed no certificate', 'Only Pis of this cluster may ask this.', {
        reason: 'foreign',
      });
    }
    if (route.requireRole === 'client' || identity.role === 'node') return undefined;
    return new TrustError(
      'it showed the certificate of a Docker client where only Pis are let in',
      'Client certificates are for the Docker endpoint only.',
      { reason: 'client-cert' },
    );
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const route = this.#find(request);
      if (!route) throw new PiSwarmError('notFound', 'there is nothing at this address', 'See docs/protocol.md.');
      await route.handler(request, response, this.#callerFor(route, request));
    } catch (error) {
      sendError(request, response, error);
    }
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    try {
      const route = this.#find(request);
      if (!route?.upgrade) throw new RefusedError('this address does not take upgrades');
      route.upgrade(request, socket, head, this.#callerFor(route, request));
    } catch (error) {
      const status = isPiSwarmError(error) && error.code === 'refused' ? '403 Forbidden' : '500 Internal Server Error';
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    }
  }
}
