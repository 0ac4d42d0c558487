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
