/**
 * Why the agent is stopped, and what it does about it. Whoever stops it for good, the Pi or only the agent, wants its work
 * to go on elsewhere (L1); a restart and an upgrade leave everything where it is and take a second.
 */
import { existsSync } from 'node:fs';
import type { World } from './core/observe.ts';
import { messageOf } from './errors.ts';
import { jobOf, notify, systemState } from './io/systemd.ts';
import type { KeptMemory } from './keep-memory.ts';
import type { Logger } from './log.ts';

/** Made by whoever shuts a Pi down without systemd (the lab does). */
export const SHUTDOWN_FILE = '/run/pi-swarm/shutting-down';

/** `shutdown`: the Pi goes. `stop`: `systemctl stop`. `passing`: a restart, an upgrade, a signal from a person's hand. */
export type StopReason = 'shutdown' | 'stop' | 'passing';

/** @param unit the agent's systemd unit, when it is one */
export async function stopReason(unit = process.env['PI_SWARM_UNIT'], file = SHUTDOWN_FILE): Promise<StopReason> {
  if (existsSync(file)) return 'shutdown';
  const [state, job] = await Promise.all([systemState(), unit === undefined ? undefined : jobOf(unit)]);
  // The job of a shutdown is `stop`, too.
  if (state === 'stopping') return 'shutdown';
  return job === 'stop' ? 'stop' : 'passing';
}

const SENTENCE = {
  shutdown: 'the Pi shuts down: letting its work move first',
  stop: 'stopped for good: letting its work move first; the engine goes on, drained until the agent is started again',
  passing: 'stopping; the engine and its tasks go on',
} as const satisfies Record<StopReason, string>;

export interface StopperOptions {
  memory: KeptMemory;
  log: Logger;
  drainTimeoutMs: number;
  /** What closing takes after that, at most. */
  closeMs: number;
  wake(): void;
  reason?: () => Promise<StopReason>;
}

export class Stopper {
  readonly #options: StopperOptions;
  #stop: (() => void) | undefined;
  #signals = 0;

  constructor(options: StopperOptions) {
    this.#options = options;
  }

  /** SIGTERM may still let work move, bounded by `drainTimeoutMs`; SIGINT, or a second signal, ends at once. */
  async ask(signal: string, stop: () => void): Promise<void> {
    const { memory, log, drainTimeoutMs, closeMs, wake, reason = stopReason } = this.#options;
    const first = ++this.#signals === 1;
    this.#stop = stop;
    const why = first && signal === 'SIGTERM' ? await reason() : 'passing';
    if (first && this.#signals > 1) return;
    // Who has left has nothing to move, and stays away after the next start, too.
    const planned = why !== 'passing' && memory.now.intent !== 'left';
    log.info({ signal }, SENTENCE[planned ? why : 'passing']);
    if (!planned) return stop();
    setTimeout(stop, drainTimeoutMs + closeMs).unref();
    // For a drainTimeout that is longer than the unit allows; twice closeMs, because closing comes after this limit.
    void notify(`EXTEND_TIMEOUT_USEC=${(drainTimeoutMs + 3 * closeMs) * 1_000}`);
    // Leaving goes on to its end.
    if (memory.now.intent === 'stay') {
      await memory
        .change({ intent: 'shutdown' })
        .catch(error => log.warn({ error }, `could not keep the intent: ${messageOf(error)}`));
    }
    wake();
  }

  /** After each turn: a Pi that was stopped while it left may go when it has. */
  onTurn(intent: string): void {
    if (intent === 'left') this.#stop?.();
  }
}

/** Whether the engine may be on its way from manager to worker: it is not a manager that answers and is listed as one. */
export function mayBeDemoted(world: World | undefined): boolean {
  if (world === undefined || world.engine !== 'ready') return false;
  if (world.swarm.state !== 'active') return true;
  const { role, quorum, nodeId } = world.swarm;
  const listed = world.nodes?.find(node => node.nodeId === nodeId)?.role;
  return !(role === 'manager' && quorum && listed === 'manager');
}
