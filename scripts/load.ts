/** Requests to a published port of a lab's Pis, from outside of them: from the laptop beside them, over the LAN. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { killInside } from '../src/lab/enter.ts';
import type { Lab } from '../src/lab/lab.ts';
import { until } from '../src/lab/process.ts';

export interface LoadOptions {
  /** Whose addresses are asked, in turn. */
  pis: readonly string[];
  /** Default 80. */
  port?: number;
  /** Default 150. */
  ratePerSecond?: number;
  /** So many clients that keep their connections; default 0: a new TCP connection for each request. */
  keepAliveClients?: number;
  /** After which a request has failed. Default 5 s. */
  timeoutMs?: number;
}

interface Counts {
  sent: number;
  ok: number;
  failed: number;
  /** Not sent because too many were under way. */
  heldBack: number;
}

export interface Failure {
  /** When it was sent: milliseconds since 1970. */
  atMs: number;
  tookMs: number;
  /** The Pi that was asked. */
  pi: string;
  reason: string;
}

export interface LoadResult extends Counts {
  /** Sent again on a new connection because a kept one was closed as it was used; then answered, or counted as failed. */
  retried: number;
  /** At most 500 of them. */
  failures: Failure[];
  byPi: Record<string, { ok: number; failed: number }>;
  /** By the first 12 digits of a container's id. */
  answers: Record<string, { requests: number; firstAtMs: number; lastAtMs: number }>;
  /** Of the requests that were answered. */
  latencyMs: { median: number; p99: number; worst: number };
}

type ChildResult = Omit<LoadResult, 'failures' | 'byPi'> & {
  failures: (Omit<Failure, 'pi'> & { target: string })[];
  targets: LoadResult['byPi'];
};

type Line = { counts: Counts } | { targets: string[] } | { result: ChildResult };

// Also from the bundle in dist/.
const CHILD = join(import.meta.dirname, '../scripts/load-child.mjs');
/** All of them would have to wait for their limit at once. */
const IN_FLIGHT_MAX = 256;
const WORD_MS = 10_000;

/** A load that runs until it is stopped; also ends when this process does. */
export class Load {
  readonly #lab: Lab;
  readonly #child: ChildProcess;
  #pis: string[];
  #counts: Counts | undefined;
  #heard: string | undefined;
  #result: ChildResult | undefined;
  #ended = false;

  private constructor(lab: Lab, options: LoadOptions) {
    const { pis, port = 80, ratePerSecond = 150, keepAliveClients = 0, timeoutMs = 5_000 } = options;
    this.#lab = lab;
    this.#pis = [...pis];
    const targets = this.#targets();
    const words = JSON.stringify({
      targets,
      port,
      ratePerSecond,
      keepAliveClients,
      timeoutMs,
      inFlightMax: IN_FLIGHT_MAX,
    });
    this.#child = lab.spawn('laptop', [process.execPath, CHILD, words], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.on('close', () => {
      this.#ended = true;
    });
    this.#child.stdin?.on('error', () => {});
    if (this.#child.stdout === null) throw new Error('the load has no output');
    createInterface({ input: this.#child.stdout }).on('line', line => this.#hear(JSON.parse(line) as Line));
  }

  /** Resolves when it has begun. */
  static async start(lab: Lab, options: LoadOptions): Promise<Load> {
    const load = new Load(lab, options);
    await load.#wait('the load to begin', () => load.#counts !== undefined);
    return load;
  }

  #hear(line: Line): void {
    if ('counts' in line) this.#counts = line.counts;
    else if ('targets' in line) this.#heard = line.targets.join();
    else this.#result = line.result;
  }

  get counts(): Counts {
    return this.#counts ?? { sent: 0, ok: 0, failed: 0, heldBack: 0 };
  }

  #targets(): string[] {
    return this.#pis.map(pi => this.#lab.address(pi));
  }

  /** From now on these Pis are asked; those under way still count. */
  async ask(pis: readonly string[]): Promise<void> {
    this.#pis = [...pis];
    const targets = this.#targets();
    this.#say({ targets });
    await this.#wait('the load to change', () => this.#heard === targets.join());
  }

  /** As a router does with a Pi that says it is off. */
  drop(pi: string): Promise<void> {
    return this.ask(this.#pis.filter(other => other !== pi));
  }

  /** Until so many have been sent, altogether. */
  async sent(count: number, timeoutMs = 120_000): Promise<void> {
    await this.#wait(`${count} requests`, () => this.counts.sent >= count, timeoutMs);
  }

  /** Waits for those that are under way. Again: the same result. */
  async stop(): Promise<LoadResult> {
    if (this.#result === undefined && !this.#ended) this.#say({});
    await this.#wait('the result of the load', () => this.#result !== undefined);
    const result = this.#result;
    if (result === undefined) throw new Error('the load ended without a result');
    const names = new Map(this.#lab.pis().map(pi => [this.#lab.address(pi), pi]));
    const nameOf = (address: string) => names.get(address) ?? address;
    const { failures, targets, ...rest } = result;
    return {
      ...rest,
      failures: failures.map(({ target, ...failure }) => ({ ...failure, pi: nameOf(target) })),
      byPi: Object.fromEntries(Object.entries(targets).map(([target, counts]) => [nameOf(target), counts])),
    };
  }

  /** At once, without a result; no error when it has ended. */
  kill(): void {
    killInside(this.#child);
  }

  #say(word: object): void {
    this.#child.stdin?.write(`${JSON.stringify(word)}\n`);
  }

  async #wait(what: string, fact: () => boolean, timeoutMs = WORD_MS): Promise<void> {
    const check = () => {
      if (this.#ended && !fact()) throw new Error(`the load has ended while a test waited for ${what}`);
      return fact();
    };
    await until(`Waited ${timeoutMs / 1000} s for ${what}.`, check, { timeoutMs, everyMs: 20 });
  }
}
