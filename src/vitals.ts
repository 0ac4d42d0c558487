/** The newest vitals of this Pi, read on a timer of their own: never in the path of a heartbeat or a turn. */
import type { Vitals } from './core/world.ts';
import type { Host } from './ports.ts';

/** What is shown is at most this old. */
const EVERY_MS = 5_000;

export class VitalsWatch {
  readonly #host: Host;
  #now: Vitals = {};
  #timer: NodeJS.Timeout | undefined;

  constructor(host: Host) {
    this.#host = host;
  }

  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.#read(), EVERY_MS);
    await this.#read();
  }

  now(): Vitals {
    return this.#now;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** The port never throws: what a machine cannot tell is left out. */
  async #read(): Promise<void> {
    const it = await this.#host.vitals();
    this.#now = {
      cpuPercent: it.cpuPercent,
      memoryPercent: it.memoryPercent,
      diskPercent: it.diskPercent,
      uptimeSeconds: it.uptimeSeconds,
      ...(it.temperatureCelsius === undefined ? {} : { temperatureCelsius: it.temperatureCelsius }),
      ...(it.throttled === undefined
        ? {}
        : { underVoltage: it.throttled.underVoltage, throttled: it.throttled.throttled }),
    };
  }
}
