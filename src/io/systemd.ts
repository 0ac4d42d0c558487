/** systemd, asked and told through its own programs: Node has no datagram sockets for sd_notify(3). */
import { execFile } from 'node:child_process';

/** An old Pi with a busy card takes a second to start a program. */
const ASK_MS = 5_000;

/** What `program` printed; empty where it is missing, fails or does not answer in time. */
function ask(program: string, words: string[]): Promise<string> {
  return new Promise(resolve => {
    execFile(program, words, { timeout: ASK_MS, killSignal: 'SIGKILL' }, (_error, stdout) => resolve(stdout.trim()));
  });
}

/** `stopping` from the moment that a poweroff, reboot, halt or kexec has begun; empty where systemd does not run. */
export const systemState = (): Promise<string> => ask('systemctl', ['is-system-running']);

/**
 * What systemd is doing with a unit: `stop`, `restart` …; undefined when there is no such job, as after `systemctl kill`.
 * Both of a restart's halves are one job `restart`, also those of try-restart and reload-or-restart.
 */
export async function jobOf(unit: string): Promise<string | undefined> {
  for (const line of (await ask('systemctl', ['list-jobs', '--no-legend', '--plain', unit])).split('\n')) {
    const [, name, type] = line.trim().split(/\s+/);
    if (name === unit) return type;
  }
  return undefined;
}

/** Tells systemd, when it listens: `READY=1`, `EXTEND_TIMEOUT_USEC=…` (sd_notify(3)). Never fails. */
export async function notify(state: string, environment = process.env): Promise<void> {
  if (environment['NOTIFY_SOCKET'] === undefined) return;
  await ask('systemd-notify', [state]);
}

/** However long the unit's limit is: telling systemd costs a process. */
const FEED_EVERY_MS = 60_000;

export interface WatchdogOptions {
  environment?: NodeJS.ProcessEnv;
  /** Monotonic milliseconds. */
  now?: () => number;
  tell?: (state: string) => Promise<void>;
}

/**
 * systemd's watchdog, where the unit has one (`WatchdogSec=`, sd_watchdog_enabled(3)): when it hears nothing for so long, it
 * ends the agent and starts it again. So only what has to go on may call `turned`, never a timer.
 */
export class Watchdog {
  readonly #everyMs: number | undefined;
  readonly #now: () => number;
  readonly #tell: (state: string) => Promise<void>;
  #toldMs = Number.NEGATIVE_INFINITY;
  #telling = false;

  constructor({ environment = process.env, now = () => performance.now(), tell = notify }: WatchdogOptions = {}) {
    this.#everyMs = feedEveryMs(environment);
    this.#now = now;
    this.#tell = tell;
  }

  /** The loop has come round: says so when it is time again. Costs nothing otherwise; never throws. */
  turned(): void {
    const now = this.#now();
    if (this.#everyMs === undefined || this.#telling || now - this.#toldMs < this.#everyMs) return;
    this.#toldMs = now;
    this.#telling = true;
    void this.#tell('WATCHDOG=1').finally(() => {
      this.#telling = false;
    });
  }
}

/** Four times within the limit at least; undefined where nobody watches, or somebody else is watched. */
function feedEveryMs(environment: NodeJS.ProcessEnv): number | undefined {
  const { WATCHDOG_USEC: limit, WATCHDOG_PID: pid = `${process.pid}` } = environment;
  const limitMs = Number(limit) / 1_000;
  if (pid !== `${process.pid}` || !(limitMs > 0)) return undefined;
  return Math.min(FEED_EVERY_MS, limitMs / 4);
}
