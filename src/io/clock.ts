/** Time on a machine without a clock of its own (no Raspberry Pi before the 5 has one). */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Clock } from '../ports.ts';
import { BUILT_MS } from '../version.ts';
import { ensurePrivateDirectory, readFileIfAny, writeFileAtomic } from './files.ts';

/** `behind`: the system's date lies before what is known to be past, so the wall clock is a guess. */
export type ClockState = 'ok' | 'behind';

const CLOCK_FILE = 'clock';
/** Seldom, for the SD card's sake: after a power cut the clock is at most this much further behind. */
const SAVE_EVERY_MS = 10 * 60_000;
/** Time servers step clocks back a little; that is not a machine without a date. */
const SLACK_MS = 60_000;
/** setTimeout's limit; longer sleeps end there. */
const SLEEP_MS_MAX = 2 ** 31 - 1;
/** No date after this is believed from a file or a peer: the end of our own certificates. */
const BELIEVABLE_MS_MAX = Date.UTC(2099, 11, 31);
/** Made by systemd-timesyncd, the image's time client, once a time server has answered. */
export const SYNCHRONISED_FILE = '/run/systemd/timesync/synchronized';

export interface ClockOptions {
  stateDir: string;
  /** The rest is for tests. Milliseconds since 1970. */
  system?: () => number;
  /** Monotonic milliseconds. */
  monotonic?: () => number;
  builtMs?: number;
  /** Whether a time server has set the system's clock. */
  synchronised?: () => boolean;
}

export class SystemClock implements Clock {
  readonly #path: string;
  readonly #system: () => number;
  readonly #monotonic: () => number;
  readonly #builtMs: number;
  readonly #synchronised: () => boolean;
  /** Wall time minus monotonic time, as saved and as peers say. */
  #savedOffset = Number.NEGATIVE_INFINITY;
  #offeredOffset = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ClockOptions) {
    this.#path = join(options.stateDir, CLOCK_FILE);
    this.#system = options.system ?? Date.now;
    this.#monotonic = options.monotonic ?? (() => performance.now());
    this.#builtMs = options.builtMs ?? BUILT_MS;
    this.#synchronised = options.synchronised ?? (() => existsSync(SYNCHRONISED_FILE));
  }

  /** Reads the saved time, and saves the time each 10 minutes until `stop`. A state directory that fails is no obstacle. */
  async start(): Promise<void> {
    const text = (await readFileIfAny(this.#path).catch(() => undefined))?.toString('utf8') ?? '';
    const saved = Date.parse(text.trim());
    if (saved <= BELIEVABLE_MS_MAX) this.#savedOffset = saved - this.now();
    this.#heedTimeServer();
    this.#timer ??= setInterval(() => void this.#save(), SAVE_EVERY_MS).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#save();
  }

  now(): number {
    return this.#monotonic();
  }

  /** The newest of: the system's time, the build's, the saved one (and what has passed since), and peers' if it is behind. */
  wall(): number {
    const system = this.#system();
    if (this.state() === 'ok') return Math.max(system, this.#floor());
    return Math.max(system, this.#floor(), this.#offeredOffset + this.now());
  }

  state(): ClockState {
    return this.#system() + SLACK_MS < this.#floor() ? 'behind' : 'ok';
  }

  /**
   * What an authenticated peer's clock says (`PiStatus.wallMs`). Counts only while our own clock is behind, and is never
   * saved: so one Pi with a clock in the future cannot drag the others along for good.
   */
  offer(wallMs: number): void {
    if (!Number.isFinite(wallMs) || wallMs > BELIEVABLE_MS_MAX) return;
    this.#offeredOffset = Math.max(this.#offeredOffset, wallMs - this.now());
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      if (signal?.aborted) return resolve();
      const finish = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, Math.min(Math.max(ms, 0), SLEEP_MS_MAX));
      signal?.addEventListener('abort', finish, { once: true });
    });
  }

  random(): number {
    return Math.random();
  }

  /** What is certainly past. */
  #floor(): number {
    return Math.max(this.#builtMs, this.#savedOffset + this.now());
  }

  /** Its word overrules a saved time from the future, which a clock once set wrongly has left. */
  #heedTimeServer(): void {
    const system = this.#system();
    if (system >= this.#builtMs && this.#synchronised()) this.#savedOffset = system - this.now();
  }

  async #save(): Promise<void> {
    this.#heedTimeServer();
    const known = new Date(Math.max(this.#system(), this.#floor())).toISOString();
    // A full or dying disk has a notice of its own from the store; the clock goes on without.
    await ensurePrivateDirectory(dirname(this.#path))
      .then(() => writeFileAtomic(this.#path, `${known}\n`, 0o600))
      .catch(() => undefined);
  }
}
