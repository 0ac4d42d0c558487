/**
 * One connection to an MQTT broker that comes back by itself. It never holds more than one unsent message a topic, and
 * none at all while there is no connection: whoever uses it says everything again when it is back.
 */
import { readFile } from 'node:fs/promises';
import type { IClientOptions, MqttClient } from 'mqtt';
import type { MqttConfig } from '../config.ts';
import type { Logger } from '../log.ts';
import { brokerProblem } from './broker-problem.ts';

export interface BrokerOptions {
  config: MqttConfig;
  log: Logger;
  clientId: string;
  /** Published, retained, by the broker when this Pi is suddenly gone. */
  will: { topic: string; payload: string };
  /** Topics to listen to, after each connect. */
  subscriptions: readonly string[];
  onConnect(): void;
  onMessage(topic: string, payload: string): void;
  /** The next message that is not retained and that somebody else keeps until it is confirmed. */
  next?(): Passing | undefined;
  /** A number in [0, 1). */
  random(): number;
  /** Monotonic milliseconds. */
  now(): number;
  limits?: Partial<BrokerLimits>;
}

export interface Passing {
  topic: string;
  payload: string;
  confirmed(): void;
}

export interface BrokerLimits {
  /** The pause before the next attempt is a random part of this, doubled each time («full jitter»). */
  backoffLeastMs: number;
  backoffMostMs: number;
  /** Until CONNACK, also over TLS. */
  connectMs: number;
  /** Until PUBACK; then the connection counts as dead. */
  confirmMs: number;
  stopMs: number;
  /** A broker notices a pulled plug after 1.5 times this (MQTT 3.1.1 §3.1.2.10). */
  keepaliveSeconds: number;
}

const LIMITS: BrokerLimits = {
  backoffLeastMs: 1000,
  backoffMostMs: 60_000,
  connectMs: 10_000,
  confirmMs: 20_000,
  stopMs: 2000,
  keepaliveSeconds: 5,
};

/** A connection that lived so long was a good one: the next pause is short again. */
const GOOD_AFTER_MS = 10_000;
/** Even the luckiest random number must not make a busy loop. */
const PAUSE_LEAST_MS = 100;
/** Different topics that wait to be sent; more is a mistake of ours, and dropped. */
const OUTBOX_MAX = 1000;
/** Longer messages are not for us. */
const PAYLOAD_MAX_BYTES = 256;

export class BrokerLink {
  readonly #options: BrokerOptions;
  readonly #limits: BrokerLimits;
  readonly #outbox = new Map<string, string>();
  #client: MqttClient | undefined;
  #connectedAtMs: number | undefined;
  #sending = false;
  #attempts = 0;
  #timer: NodeJS.Timeout | undefined;
  #problem: string | undefined;
  #stopped = false;

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    void this.#connect();
  }

  state(): { state: 'connecting' | 'connected' | 'offline'; problem?: string } {
    if (this.#connectedAtMs !== undefined) return { state: 'connected' };
    if (this.#problem === undefined) return { state: this.#stopped ? 'offline' : 'connecting' };
    return { state: 'offline', problem: this.#problem };
  }

  /** Messages that wait to be sent. */
  get waiting(): number {
    return this.#outbox.size;
  }

  /** Sends a retained message; a newer one for the same topic takes the place of one that still waits. An empty one removes. */
  put(topic: string, payload: string): void {
    if (this.#connectedAtMs === undefined) return;
    if (this.#outbox.size < OUTBOX_MAX || this.#outbox.has(topic)) this.#outbox.set(topic, payload);
    this.#send();
  }

  /** `next` has something to send. */
  nudge(): void {
    if (this.#connectedAtMs !== undefined) this.#send();
  }

  /** Says the last words, if it can, and releases everything; within `stopMs`. */
  async stop(lastWords: readonly { topic: string; payload: string }[] = []): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    clearTimeout(this.#timer);
    const client = this.#client;
    if (client !== undefined && this.#connectedAtMs !== undefined) {
      this.#outbox.clear();
      await bounded(this.#limits.stopMs, done => {
        for (const { topic, payload } of lastWords) client.publish(topic, payload, { qos: 1, retain: true });
        // Waits for their confirmation, then says DISCONNECT, so that the will is not sent.
        client.end(false, done);
      });
    }
    this.#drop();
  }

  async #connect(): Promise<void> {
    const { config, log } = this.#options;
    try {
      const options = await this.#clientOptions();
      const { default: mqtt } = await import('mqtt');
      if (this.#stopped) return;
      const client = mqtt.connect(config.url, options);
      this.#client = client;
      client.on('connect', () => this.#connected(client));
      client.on('error', error => this.#lost(client, brokerProblem(error, config)));
      client.on('close', () => this.#lost(client, `${config.url} closed the connection.`));
      client.on('message', (topic, payload) => {
        if (client === this.#client && payload.length <= PAYLOAD_MAX_BYTES) {
          this.#options.onMessage(topic, payload.toString('utf8'));
        }
      });
    } catch (error) {
      log.debug({ error }, 'mqtt connect');
      this.#retry(brokerProblem(error, config));
    }
  }

  /** Files are read at each attempt: a corrected password needs no restart. */
  async #clientOptions(): Promise<IClientOptions> {
    const { config, clientId, will } = this.#options;
    const read = (path: string | undefined) => (path === undefined ? undefined : readFile(path, 'utf8'));
    const [password, ca, cert, key] = await Promise.all([
      read(config.passwordFile),
      read(config.ca),
      read(config.cert),
      read(config.key),
    ]);
    return {
      clientId,
      // What every broker speaks; nothing of MQTT 5 is needed.
      protocolVersion: 4,
      clean: true,
      keepalive: this.#limits.keepaliveSeconds,
      connectTimeout: this.#limits.connectMs,
      // mqtt's own reconnect is a fixed second without jitter, and its queue has no end.
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      timerVariant: 'native',
      // Two bytes for each of 65536 numbers, made once and kept: 10 MB.
      writeCache: false,
      will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: true },
      username: config.username,
      password: password?.replace(/\r?\n$/, '') ?? config.password,
      ca,
      cert,
      key,
      rejectUnauthorized: !config.insecure,
    };
  }

  #connected(client: MqttClient): void {
    if (client !== this.#client || this.#stopped) return;
    const { config, log, subscriptions, onConnect } = this.#options;
    this.#connectedAtMs = this.#options.now();
    this.#problem = undefined;
    log.info({ broker: config.url }, 'connected to the MQTT broker');
    if (subscriptions.length > 0) {
      client.subscribe([...subscriptions], { qos: 1 }, error => {
        // Not allowed to listen: states still go out.
        if (error) log.debug({ error }, 'the MQTT broker refuses subscriptions');
      });
    }
    onConnect();
  }

  /** One message at a time, each confirmed: a slow broker slows us down instead of filling our memory. */
  #send(): void {
    const client = this.#client;
    if (this.#sending || client === undefined || this.#stopped) return;
    const [state] = this.#outbox;
    const passing = state === undefined ? this.#options.next?.() : undefined;
    const { topic, payload } = passing ?? { topic: state?.[0] ?? '', payload: state?.[1] ?? '' };
    if (topic === '') return;
    this.#outbox.delete(topic);
    this.#sending = true;
    const url = this.#options.config.url;
    const timer = setTimeout(() => {
      this.#lost(client, `${url} takes messages and does not confirm them. Look into the broker's log.`);
    }, this.#limits.confirmMs);
    client.publish(topic, payload, { qos: 1, retain: passing === undefined }, error => {
      clearTimeout(timer);
      if (client !== this.#client) return;
      this.#sending = false;
      if (error) return;
      passing?.confirmed();
      this.#send();
    });
  }

  /** Once for each connection, whatever comes first: an error, the end, or silence. */
  #lost(client: MqttClient, problem: string): void {
    if (client !== this.#client || this.#stopped) return;
    const livedMs = this.#connectedAtMs === undefined ? 0 : this.#options.now() - this.#connectedAtMs;
    if (livedMs >= GOOD_AFTER_MS) this.#attempts = 0;
    this.#drop();
    this.#retry(problem);
  }

  #retry(problem: string): void {
    const { log, random } = this.#options;
    if (this.#stopped) return;
    const { backoffLeastMs, backoffMostMs } = this.#limits;
    const mostMs = Math.min(backoffMostMs, backoffLeastMs * 2 ** Math.min(this.#attempts, 30));
    const pauseMs = Math.max(Math.min(PAUSE_LEAST_MS, backoffLeastMs), Math.round(random() * mostMs));
    this.#attempts += 1;
    // A broker that is switched off for a night is one line, not thousands.
    if (problem !== this.#problem) log.warn({ pauseMs }, `MQTT: ${problem}`);
    this.#problem = problem;
    this.#timer = setTimeout(() => void this.#connect(), pauseMs);
  }

  #drop(): void {
    const client = this.#client;
    this.#client = undefined;
    this.#connectedAtMs = undefined;
    this.#sending = false;
    this.#outbox.clear();
    if (client === undefined) return;
    client.removeAllListeners();
    // Errors that come late are no news, but without a listener they would end the process.
    client.on('error', () => {});
    client.end(true);
    // A half-open TCP connection would otherwise wait for its peer.
    client.stream?.destroy();
  }
}

/** Waits for `done`, at most `limitMs`. */
function bounded(limitMs: number, start: (done: () => void) => void): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, limitMs);
    start(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
