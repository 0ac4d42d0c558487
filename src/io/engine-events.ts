/**
 * The engine's events stream (`GET /events`). It ends without an error when the engine restarts, so its end is news too.
 * Everything is coalesced: a hundred containers that start at once are one call of the listener.
 */
import type { Readable } from 'node:stream';
import { openClient } from './engine-calls.ts';

export type EngineChange = 'container' | 'swarm' | 'engine';

const COALESCE_MS = 50;
const RECONNECT_MIN_MS = 250;
const RECONNECT_MAX_MS = 5_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** One event is below 10 kB; a line longer than this is not one. */
const LINE_BYTES_MAX = 1_048_576;

const TYPES = ['container', 'node', 'service', 'network', 'secret', 'config', 'daemon'];
/** Health checks and terminals: many a second, and they change nothing that pi-swarm looks at. */
const NOISE = /^(exec_|attach|detach|resize|top|connect|disconnect|archive-path|extract-to-dir)/;

export interface EngineEventsOptions {
  socketPath: string;
  onChange: (what: EngineChange) => void;
  onReachable: () => void;
  onUnreachable: (cause: unknown) => void;
  random?: () => number;
}

export class EngineEvents {
  readonly #options: EngineEventsOptions;
  readonly #client: ReturnType<typeof openClient>;
  #stopped = false;
  #connection: AbortController | undefined;
  readonly #pending = new Set<EngineChange>();
  #coalescing: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #failures = 0;
  #lost = false;

  constructor(options: EngineEventsOptions) {
    this.#options = options;
    this.#client = openClient(options.socketPath);
  }

  start(): void {
    void this.#connect();
  }

  stop(): void {
    this.#stopped = true;
    this.#connection?.abort();
    clearTimeout(this.#coalescing);
    clearTimeout(this.#retry);
    this.#client.close();
  }

  async #connect(): Promise<void> {
    if (this.#stopped) return;
    const connection = new AbortController();
    this.#connection = connection;
    const limit = setTimeout(() => connection.abort(), CONNECT_TIMEOUT_MS);
    const options = { filters: JSON.stringify({ type: TYPES }), abortSignal: connection.signal };
    try {
      const stream = await this.#client.docker.getEvents(options);
      this.#listen(stream as Readable);
    } catch (cause) {
      this.#again(cause);
    } finally {
      clearTimeout(limit);
    }
  }

  #listen(stream: Readable): void {
    this.#failures = 0;
    this.#lost = false;
    this.#options.onReachable();
    this.#changed('engine');
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > LINE_BYTES_MAX) stream.destroy();
      for (const line of lines) this.#read(line);
    });
    let over = false;
    const end = (cause: unknown): void => {
      if (over) return;
      over = true;
      stream.destroy();
      this.#again(cause);
    };
    stream.on('error', end);
    stream.on('close', () => end(new Error('the engine stopped')));
    stream.on('end', () => end(new Error('the engine stopped')));
  }

  #read(line: string): void {
    if (line.trim() === '') return;
    let event: { Type?: string; Action?: string } | null;
    try {
      event = JSON.parse(line) as typeof event;
    } catch {
      return;
    }
    if (typeof event !== 'object' || event === null) return;
    if (NOISE.test(event.Action ?? '')) return;
    this.#changed(event.Type === 'container' ? 'container' : event.Type === 'daemon' ? 'engine' : 'swarm');
  }

  #again(cause: unknown): void {
    if (this.#stopped) return;
    this.#options.onUnreachable(cause);
    if (!this.#lost) this.#changed('engine');
    this.#lost = true;
    const ceiling = Math.min(RECONNECT_MAX_MS, RECONNECT_MIN_MS * 2 ** Math.min(this.#failures++, 10));
    const delayMs = ceiling * (0.5 + (this.#options.random ?? Math.random)() / 2);
    this.#retry = setTimeout(() => void this.#connect(), delayMs);
    this.#retry.unref();
  }

  #changed(what: EngineChange): void {
    this.#pending.add(what);
    if (this.#coalescing !== undefined) return;
    this.#coalescing = setTimeout(() => {
      this.#coalescing = undefined;
      const all = [...this.#pending];
      this.#pending.clear();
      for (const one of all) this.#options.onChange(one);
    }, COALESCE_MS);
    this.#coalescing.unref();
  }
}
