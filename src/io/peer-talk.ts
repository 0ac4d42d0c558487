/** Speaks the peer protocol with one address: hello first, then heartbeats or commands. */
import type { NodeId } from '../core/world.ts';
import { isPiSwarmError, PeerError, type PiSwarmError, TrustError } from '../errors.ts';
import { HelloFirst, type PeerAddress, PeerChannel, type PeerCredentials } from './peer-client.ts';
import {
  type Beat,
  BODY_TIMEOUT_MS,
  COMMAND_TIMEOUT_MS,
  commonVersion,
  type Hello,
  PATH,
  readBeat,
  readHello,
  versionRefusal,
} from './peer-protocol.ts';

/** Enough that one slow command does not hold up the next. */
const COMMAND_SOCKETS_MAX = 4;

export interface TalkOptions {
  credentials: PeerCredentials;
  address: PeerAddress;
  expected?: NodeId | undefined;
  hello: () => Hello;
  commands?: boolean;
}

interface Greeting {
  /** Give a connection that has to be made its whole time: nobody waits. */
  patient?: boolean;
  signal?: AbortSignal | undefined;
}

export class PeerTalk {
  readonly address: PeerAddress;
  readonly #channel: PeerChannel;
  readonly #hello: () => Hello;
  #greeted = false;

  constructor({ credentials, address, expected, hello, commands = false }: TalkOptions) {
    this.address = address;
    this.#hello = hello;
    const socketsMax = commands ? COMMAND_SOCKETS_MAX : 1;
    this.#channel = new PeerChannel({ ...address, credentials, socketsMax, ...(expected ? { expected } : {}) });
  }

  /**
   * Connects, proves who we are and learns who is there.
   * @throws TrustError @throws RefusedError no common protocol version @throws PeerError
   */
  async greet({ patient = true, signal }: Greeting = {}): Promise<NodeId> {
    const ours = this.#hello();
    const options = { timeoutMs: BODY_TIMEOUT_MS, patient, signal };
    const theirs = readHello(await this.#channel.post(PATH.hello, ours, options));
    const id = this.#channel.identity?.id;
    if (id === undefined || id !== theirs.id) {
      throw new TrustError('it claims to be another node than its key says', undefined, { reason: 'id-mismatch' });
    }
    if (commonVersion(ours.versions, theirs.versions) === undefined) throw versionRefusal(ours, theirs);
    this.#greeted = true;
    return id;
  }

  /**
   * One heartbeat there and back.
   * @param make called after a hello, which may have made the other side new to us
   */
  async beat(make: (greetedAgain: boolean) => Beat, timeoutMs: number): Promise<Beat> {
    const exchange = (again: boolean) => this.#channel.post(PATH.heartbeat, make(again), { timeoutMs, patient: true });
    return readBeat(await this.#afterHello(exchange, { patient: true }));
  }

  /** @throws PeerError, or what the peer threw */
  command(name: string, body: unknown, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<unknown> {
    const { timeoutMs = COMMAND_TIMEOUT_MS, signal } = options;
    const exchange = () => this.#channel.post(PATH.command + name, body, { timeoutMs, signal });
    return this.#afterHello(exchange, { patient: false, signal });
  }

  destroy(): void {
    this.#channel.destroy();
  }

  async #afterHello(exchange: (greetedAgain: boolean) => Promise<unknown>, greeting: Greeting): Promise<unknown> {
    const first = !this.#greeted;
    if (first) await this.greet(greeting);
    try {
      return await exchange(first);
    } catch (error) {
      if (!(error instanceof HelloFirst)) throw error;
    }
    await this.greet(greeting);
    try {
      return await exchange(true);
    } catch (error) {
      if (error instanceof HelloFirst) throw new PeerError(`${this.address.host} does not accept our hello`);
      throw error;
    }
  }
}

/** Refused as long as both stay as they are: asking again soon makes no sense. */
export const isRefusal = (error: unknown): error is PiSwarmError => isPiSwarmError(error) && error.code === 'refused';
