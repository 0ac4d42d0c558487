/** Whether the agent is stopped because the whole Pi goes (L1), or only itself (an upgrade, a restart). */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Made by whoever shuts a Pi down without systemd (the lab does). */
export const SHUTDOWN_FILE = '/run/pi-swarm/shutting-down';
const ASK_MS = 2_000;

/** `systemctl is-system-running` says `stopping` from the moment that a poweroff or reboot has begun. */
export function isShuttingDown(file = SHUTDOWN_FILE): Promise<boolean> {
  if (existsSync(file)) return Promise.resolve(true);
  return new Promise(resolve => {
    execFile('systemctl', ['is-system-running'], { timeout: ASK_MS }, (_error, stdout) =>
      resolve(stdout.trim() === 'stopping'),
    );
  });
}
