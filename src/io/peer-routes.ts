/** The server's side of the peer protocol: `/peer/v1/hello`, `/peer/v1/heartbeat`, `/peer/v1/command/NAME`. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { NodeId } from '../core/world.ts';
import { NotFoundError, PiSwarmError, RefusedError, TrustError } from '../errors.ts';
import type { Route } from './agent-server.ts';
import { plainAddress, readJson, sendError, sendJson } from './http-json.ts';
import { HELLO_FIRST } from './peer-client.ts';
import {
  type Beat,
  BODY_BYTES_MAX,
  BODY_TIMEOUT_MS,
  commonVersion,
  type Hello,
  PATH,
  PEERS_MAX,
  readBeat,
  readHello,
  versionRefusal,
} from './peer-protocol.ts';
import type { Refusals } from './refusals.ts';

const COMMAND_NAME = /^[a-z][a-z0-9-]{0,63}$/;
/** Commands that wait for the engine; more at once means that something is wrong. */
const COMMANDS_AT_ONCE_MAX = 64;
/** HTTP 426, Upgrade Required: meant for people. */
const NO_COMMON_VERSION = 426;

export interface RoutePorts {
  hello(): Hello;
  /** A peer introduced itself from this address. */
  onHello(from: Hello, address: string): void;
  /** Its heartbeat; returns ours. */
  onBeat(from: NodeId, beat: Beat, address: string): Beat;
  onCommand(from: NodeId, name: string, body: unknown): Promise<unknown>;
}

export class PeerRoutes {
  readonly #ports: RoutePorts;
  readonly #refusals: Refusals;
  /** Protocol version by peer. Who is not in here is asked for a hello first. */
  readonly #greeted = new Map<NodeId, number>();
  #commands = 0;

  constructor(ports: RoutePorts, refusals: Refusals) {
    this.#ports = ports;
    this.#refusals = refusals;
  }

  route(): Route {
    return {
      prefix: PATH.prefix,
      requireRole: 'node',
      handler: (request, response, caller) => this.#serve(request, response, caller?.id ?? ''),
    };
  }

  forget(id: NodeId): void {
    this.#greeted.delete(id);
  }

  async #serve(request: IncomingMessage, response: ServerResponse, caller: NodeId): Promise<void> {
    const path = request.url ?? '';
    const serve =
      path === PATH.hello
        ? this.#hello
        : path === PATH.heartbeat
          ? this.#heartbeat
          : path.startsWith(PATH.command)
            ? this.#command
            : undefined;
    if (!serve || request.method !== 'POST')
      throw new NotFoundError(`there is no ${request.method} ${path.slice(0, 80)}`);
    const from = plainAddress(request.socket.remoteAddress);
    try {
      const body = await readJson(request, BODY_BYTES_MAX, BODY_TIMEOUT_MS);
      await serve.call(this, { request, response, caller, from, body });
    } catch (error) {
      if (error instanceof TrustError) this.#refusals.note(error.reason ?? 'malformed', from, error.message);
      else if (error instanceof RefusedError && !response.headersSent)
        this.#refusals.note('bad-request', from, error.message);
      throw error;
    }
  }

  async #hello({ request, response, caller, from, body }: Call): Promise<void> {
    const theirs = readHello(body);
    checkClaim(theirs.id, caller);
    const ours = this.#ports.hello();
    const version = commonVersion(ours.versions, theirs.versions);
    if (version === undefined) {
      const refusal = versionRefusal(theirs, ours);
      this.#refusals.note('version', from, refusal.message);
      sendError(request, response, refusal, NO_COMMON_VERSION);
      return;
    }
    if (this.#greeted.size < PEERS_MAX || this.#greeted.has(caller)) this.#greeted.set(caller, version);
    this.#ports.onHello(theirs, from);
    sendJson(response, 200, ours);
  }

  async #heartbeat({ request, response, caller, from, body }: Call): Promise<void> {
    if (!this.#mayGoOn(request, response, caller)) return;
    const beat = readBeat(body);
    if (beat.status) checkClaim(beat.status.id, caller);
    sendJson(response, 200, this.#ports.onBeat(caller, beat, from));
  }

  async #command({ request, response, caller, body }: Call): Promise<void> {
    if (!this.#mayGoOn(request, response, caller)) return;
    const name = (request.url ?? '').slice(PATH.command.length);
    if (!COMMAND_NAME.test(name)) throw new NotFoundError('there is no such command');
    if (this.#commands >= COMMANDS_AT_ONCE_MAX) {
      throw new PiSwarmError('unavailable', 'this Pi has too many commands to answer', 'Try again in a moment.');
    }
    this.#commands += 1;
    try {
      sendJson(response, 200, await this.#ports.onCommand(caller, name, body));
    } catch (error) {
      // What the command says is an answer, not a refusal of ours to be counted.
      sendError(request, response, error);
    } finally {
      this.#commands -= 1;
    }
  }

  #mayGoOn(request: IncomingMessage, response: ServerResponse, caller: NodeId): boolean {
    if (this.#greeted.has(caller)) return true;
    sendError(request, response, new RefusedError('say hello first'), HELLO_FIRST);
    return false;
  }
}

interface Call {
  request: IncomingMessage;
  response: ServerResponse;
  /** From the certificate. */
  caller: NodeId;
  /** Address. */
  from: string;
  body: unknown;
}

function checkClaim(claimed: NodeId, caller: NodeId): void {
  if (claimed === caller) return;
  throw new TrustError('it claims to be another node than its key says', 'Restart its agent.', {
    reason: 'id-mismatch',
  });
}
