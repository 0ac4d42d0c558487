/** What the agent remembers over restarts: `state.json` in its state directory. */
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Notice } from '../core/snapshot.ts';
import type { Memory } from '../core/world.ts';
import type { Store } from '../ports.ts';
import { ensurePrivateDirectory, readFileIfAny, writeFileAtomic } from './files.ts';

export const STATE_DIR = '/var/lib/pi-swarm';
const STATE_FILE = 'state.json';
const VERSION = 1;
/** Evidence for a person, not an archive: the last place is written over. */
const DAMAGED_MAX = 5;
const INTENTS: readonly unknown[] = ['stay', 'leave', 'shutdown', 'left'] satisfies Memory['intent'][];

const isTextIfAny = (value: unknown): boolean => value === undefined || typeof value === 'string';

/** One check for each field; the type makes sure that no new field is forgotten (unknown ones are dropped). */
const CHECKS: { [Field in keyof Required<Memory>]: (value: unknown) => boolean } = {
  swarmId: isTextIfAny,
  swarmNodeId: isTextIfAny,
  yieldingTo: isTextIfAny,
  renamedFrom: isTextIfAny,
  intent: value => INTENTS.includes(value),
};

export class FileStore implements Store {
  readonly #directory: string;
  readonly #path: string;
  readonly #notices: Notice[] = [];
  /** What is on the disk, as text: an SD card is not worn out by writing the same again. */
  #written: string | undefined;
  #waiting: { text: string; done: Promise<void> } | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(directory: string = STATE_DIR) {
    this.#directory = directory;
    this.#path = join(directory, STATE_FILE);
  }

  /** @throws EnvironmentError when the directory cannot be made or the file not be read. */
  async load(): Promise<Memory> {
    await ensurePrivateDirectory(this.#directory);
    const content = await readFileIfAny(this.#path);
    if (content === undefined) return { intent: 'stay' };
    const text = content.toString('utf8');
    const memory = parseState(text);
    if (memory === undefined) {
      await this.#keepAside();
      return { intent: 'stay' };
    }
    this.#written = text;
    return memory;
  }

  /**
   * Resolves when this memory, or a newer one, is on the disk. While one write runs, at most one more waits: the newest.
   * @throws EnvironmentError
   */
  save(memory: Memory): Promise<void> {
    const text = formatState(memory);
    if (this.#waiting !== undefined) {
      this.#waiting.text = text;
      return this.#waiting.done;
    }
    const turn = { text, done: Promise.resolve() };
    turn.done = this.#running
      .catch(() => undefined)
      .then(() => {
        this.#waiting = undefined;
        return this.#write(turn.text);
      });
    this.#waiting = turn;
    this.#running = turn.done;
    return turn.done;
  }

  /** What a person should know of the state directory; at most one notice for a damaged file. */
  notices(): Notice[] {
    return [...this.#notices];
  }

  async #write(text: string): Promise<void> {
    if (text === this.#written) return;
    await ensurePrivateDirectory(this.#directory);
    await writeFileAtomic(this.#path, text, 0o600);
    this.#written = text;
  }

  async #keepAside(): Promise<void> {
    const names = await readdir(this.#directory);
    const numbers = Array.from({ length: DAMAGED_MAX }, (_, index) => index + 1);
    const free = numbers.find(n => !names.includes(`${STATE_FILE}.damaged-${n}`)) ?? DAMAGED_MAX;
    const aside = `${this.#path}.damaged-${free}`;
    // On a read-only disk it stays where it is; starting with defaults matters more.
    const kept = await rename(this.#path, aside).then(
      () => `kept as ${aside}`,
      () => 'left where it is',
    );
    this.#notices.splice(0, 1, {
      severity: 'warning',
      kind: 'state-damaged',
      text: `${this.#path} was damaged and is ${kept}; this Pi started with an empty memory.`,
      cure: 'Nothing to do if it is in the swarm. If it happens again, the SD card may be dying: look at `dmesg`.',
    });
  }
}

const formatState = (memory: Memory): string => `${JSON.stringify({ version: VERSION, memory }, null, 2)}\n`;

/** Undefined where it is not what `formatState` writes, or of another version. */
function parseState(text: string): Memory | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(value) || value['version'] !== VERSION || !isRecord(value['memory'])) return undefined;
  const { memory } = value;
  return isMemory(memory) ? pick(memory) : undefined;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isMemory = (value: Record<string, unknown>): value is Record<string, unknown> & Memory =>
  Object.entries(CHECKS).every(([field, check]) => check(value[field]));

/** Only the fields we know, so that what others wrote into the file ends here. */
function pick(memory: Memory): Memory {
  const known = Object.entries(memory).filter(([field, value]) => Object.hasOwn(CHECKS, field) && value !== undefined);
  return { intent: memory.intent, ...Object.fromEntries(known) };
}
