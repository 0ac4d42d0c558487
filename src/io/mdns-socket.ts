/**
 * The UDP socket beneath multicast-dns: bound to one interface, and a gate before the parser.
 *
 * multicast-dns reads any packet of any size, makes arrays as long as a forged header says, emits 'error' events that
 * nobody hears and lets a listener's exception end the process. So it gets this socket instead of one of its own.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { EventEmitter } from 'node:events';
import { Budget } from './budget.ts';

/** RFC 6762 §3. */
export const MDNS_ADDRESS = '224.0.0.251';
export const MDNS_PORT = 5353;

/** RFC 6762 §17 allows 9000; our announcements have about 300. */
const PACKET_BYTES_MAX = 4096;
const HEADER_BYTES = 12;
const RECORDS_MAX = 256;
const QUESTIONS_MAX = 64;
/** A query to a thousand Pis brings a thousand answers at once; a flood beyond must not eat a small Pi's processor. */
const RECEIVE_PER_SECOND = 300;
const RECEIVE_BURST = 1000;
/** We answer each question at once, so our own voice is limited too: nobody can use us to flood the network. */
const SEND_PER_SECOND = 20;
const SEND_BURST = 40;

export interface SocketCounts {
  oversized: number;
  malformed: number;
  flooded: number;
  /** Could not be sent: mostly no network at the moment. */
  unsent: number;
}

type SendCallback = (error: Error | null, bytes?: number) => void;

/** What multicast-dns uses of a dgram socket. Emits `message` for packets that passed the gate, and nothing else. */
export class MdnsSocket extends EventEmitter {
  readonly counts: SocketCounts;
  readonly #socket: Socket;
  readonly #address: string;
  readonly #now: () => number;
  readonly #receive = new Budget(RECEIVE_PER_SECOND, RECEIVE_BURST);
  readonly #sending = new Budget(SEND_PER_SECOND, SEND_BURST);
  #closed = false;

  private constructor(socket: Socket, address: string, now: () => number, counts: SocketCounts) {
    super();
    this.#socket = socket;
    this.#address = address;
    this.#now = now;
    this.counts = counts;
    socket.on('error', () => {
      this.counts.unsent += 1;
    });
    socket.on('message', (message, from) => this.#onMessage(message, from));
  }

  /** Binds port 5353 beside other mDNS programs (avahi) and joins the group on the interface with this address. @throws */
  static async open(address: string, now: () => number, counts: SocketCounts): Promise<MdnsSocket> {
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        // Not the interface's address: a socket bound to a unicast address receives no multicast on Linux.
        socket.bind(MDNS_PORT, '0.0.0.0', () => {
          socket.off('error', reject);
          resolve();
        });
      });
      socket.addMembership(MDNS_ADDRESS, address);
      socket.setMulticastInterface(address);
      socket.setMulticastTTL(255);
      socket.setMulticastLoopback(true);
    } catch (error) {
      socket.close();
      throw error;
    }
    return new MdnsSocket(socket, address, now, counts);
  }

  /** Joins again: an interface that was taken out and put back under the same name is a new one to the kernel. */
  rejoin(): void {
    if (this.#closed) return;
    try {
      this.#socket.addMembership(MDNS_ADDRESS, this.#address);
      this.#socket.setMulticastInterface(this.#address);
    } catch {
      // Already a member: the usual case. Or the address is gone: then the network port says so soon.
    }
  }

  send(message: Buffer, offset: number, length: number, port: number, address: string, callback: SendCallback): void {
    const done: SendCallback = error => {
      if (error) this.counts.unsent += 1;
      callback(error);
    };
    if (this.#closed || !this.#sending.take(this.#now())) {
      done(new Error('not sent: closed, or too much was asked of us'));
      return;
    }
    this.#socket.send(message, offset, length, port, address, done);
  }

  close(callback?: () => void): void {
    if (this.#closed) {
      callback?.();
      return;
    }
    this.#closed = true;
    this.removeAllListeners();
    this.#socket.close(callback);
  }

  #onMessage(message: Buffer, from: RemoteInfo): void {
    if (!this.#receive.take(this.#now())) this.counts.flooded += 1;
    else if (message.length > PACKET_BYTES_MAX) this.counts.oversized += 1;
    else if (!MdnsSocket.#hasSaneHeader(message)) this.counts.malformed += 1;
    else this.#deliver(message, from);
  }

  static #hasSaneHeader(message: Buffer): boolean {
    if (message.length < HEADER_BYTES) return false;
    const [questions, answers, authorities, additionals] = [4, 6, 8, 10].map(at => message.readUInt16BE(at));
    const records = (answers ?? 0) + (authorities ?? 0) + (additionals ?? 0);
    return (questions ?? 0) <= QUESTIONS_MAX && records <= RECORDS_MAX;
  }

  #deliver(message: Buffer, from: RemoteInfo): void {
    try {
      this.emit('message', message, from);
    } catch {
      this.counts.malformed += 1;
    }
  }
}
