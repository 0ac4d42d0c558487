/** What the agent knows of the card it runs from: mistakes on the boot partition, a disk that went read-only, its name. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Config } from './config.ts';
import type { Notice } from './core/snapshot.ts';
import { SYNCHRONISED_FILE } from './io/clock.ts';
import { readNotices } from './machine/boot-notices.ts';
import { clockStep } from './machine/clock-step.ts';
import { renameMachine } from './machine/rename.ts';

/** A card that fails is noticed within this; reading a file of the kernel costs nothing. */
const LOOK_EVERY_MS = 15_000;
const CLOCK_EVERY_MS = 60_000;
const DATE_LIMIT_MS = 10_000;

export class Card {
  readonly #config: Config;
  #boot: Notice[] = [];
  #disk: Notice[] = [];
  /** It runs from the card image: name and clock of the machine are ours to set. */
  readonly #ours: boolean;
  #mayRename: boolean;
  #clockSetMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** @param environment of the unit: the image sets PI_SWARM_CARD, because its cards all begin alike */
  constructor(config: Config, environment: NodeJS.ProcessEnv = process.env) {
    this.#config = config;
    this.#ours = environment['PI_SWARM_CARD'] === '1';
    this.#mayRename = this.#ours;
  }

  async start(): Promise<void> {
    // The agent has looked at its own file itself, later than the first boot did.
    this.#boot = (await readNotices()).filter(({ text }) => !text.includes('/pi-swarm.yaml:'));
    this.#timer ??= setInterval(() => void this.#look(), LOOK_EVERY_MS).unref();
    await this.#look();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  mayRename(): boolean {
    return this.#mayRename;
  }

  /** Tried once: where it cannot be done, two Pis of one name are better than one that never joins. */
  async rename(to: string): Promise<void> {
    this.#mayRename = false;
    await renameMachine(to);
  }

  /** @param peersMs what the clocks of authenticated peers say; the machine's own is put forward where it is behind them */
  heedClocks(peersMs: readonly number[]): void {
    if (!this.#ours || performance.now() - this.#clockSetMs < CLOCK_EVERY_MS) return;
    const step = clockStep({ systemMs: Date.now(), synchronised: existsSync(SYNCHRONISED_FILE), peersMs });
    if (step === undefined) return;
    this.#clockSetMs = performance.now();
    // Where it fails, the agent's own certificates are judged rightly all the same (src/io/clock.ts).
    const set = ['date', '--utc', '--set', `@${Math.floor(step / 1000)}`];
    // By systemd: the agent's own unit may not.
    execFile('systemd-run', ['--quiet', '--collect', ...set], { timeout: DATE_LIMIT_MS }, () => {});
  }

  notices(): Notice[] {
    const { passedOver } = this.#config;
    const settings: Notice[] =
      passedOver === undefined
        ? []
        : [
            {
              severity: 'error',
              kind: 'boot-file',
              text: `The settings on the card are not used: ${passedOver}`,
              cure: 'Correct them (docs/config.md explains each), then: sudo systemctl restart pi-swarm',
            },
          ];
    return [...settings, ...this.#boot, ...this.#disk];
  }

  async #look(): Promise<void> {
    const mounts = await readFile('/proc/self/mounts', 'utf8').catch(() => '');
    this.#disk = readOnlyNotice(mounts, this.#config.stateDir);
  }
}

/**
 * The kernel mounts a failing card read-only. @param mounts of /proc/self/mounts: device, place, type, options … (fstab(5))
 */
export function readOnlyNotice(mounts: string, directory: string): Notice[] {
  const holding = mounts
    .split('\n')
    .map(line => line.split(' '))
    .filter(([, place = '']) => place === '/' || directory === place || directory.startsWith(`${place}/`))
    .sort(([, a = ''], [, b = '']) => a.length - b.length)
    .at(-1);
  if (!holding?.[3]?.split(',').includes('ro')) return [];
  const text = `The disk (${holding[0]}) is read-only: this Pi goes on as long as it can, and keeps nothing any more.`;
  const cure = 'Look at `dmesg`, then replace the SD card: most often it is worn out. A new start may help once more.';
  return [{ severity: 'error', kind: 'disk-read-only', text, cure }];
}
