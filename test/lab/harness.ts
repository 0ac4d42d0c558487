/** Labs for tests: made with a name and a directory of their own, and removed whatever happens. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import Docker from 'dockerode';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { messageOf } from '../../src/errors.ts';
import { Lab, type UpOptions } from '../../src/lab/lab.ts';

/** A name that no other lab has. */
export const labName = (): string => `t${randomBytes(4).toString('hex')}`;

export const labBase = (): string => mkdtempSync(join(tmpdir(), 'pi-swarm-lab-'));

export interface HarnessOptions extends UpOptions {
  name?: string;
  dir?: string;
}

/** Makes a lab, hands it to `use`, and removes it; when `use` fails, the logs of all Pis go to stderr first. */
export async function withLab<T>(options: HarnessOptions, use: (lab: Lab) => Promise<T>): Promise<T> {
  const base = options.dir ?? labBase();
  const lab = new Lab({ name: options.name ?? labName(), dir: base });
  try {
    await lab.up(options);
    return await use(lab);
  } catch (error) {
    printLogs(lab);
    throw error;
  } finally {
    await lab.down();
    if (options.dir === undefined) rmSync(base, { recursive: true, force: true });
  }
}

/** One lab for all tests of a `describe`, made before and removed after them. A failed test prints the Pis' logs. */
export function useLab(options: HarnessOptions): () => Lab {
  let lab: Lab | undefined;
  let base: string | undefined;
  const current = () => {
    if (lab === undefined) throw new Error('the lab is only there while tests run');
    return lab;
  };
  beforeAll(async () => {
    base = options.dir ?? labBase();
    lab = new Lab({ name: options.name ?? labName(), dir: base });
    await lab.up(options);
  }, 90_000);
  afterEach(context => {
    if (context.task.result?.state === 'fail' && lab !== undefined) printLogs(lab);
  });
  afterAll(async () => {
    await lab?.down();
    if (base !== undefined && options.dir === undefined) rmSync(base, { recursive: true, force: true });
  }, 60_000);
  return current;
}

/** The ends of all logs, for a person who looks at a failed test. */
export function printLogs(lab: Lab, lines = 30): void {
  if (!existsSync(lab.place.directory)) return;
  for (const pi of lab.pis()) {
    for (const kind of ['init', 'engine', 'agent'] as const) {
      const text = lab.logs(pi, kind, lines);
      if (text !== '') process.stderr.write(`\n--- ${pi} ${kind} ---\n${text}\n`);
    }
  }
}

export interface WaitForOptions<T> {
  /** Completes «waited … s for ». */
  what: string;
  timeoutMs?: number;
  everyMs?: number;
  /** When the value is as it should be; default: it is truthy. */
  is?: (value: T) => boolean;
}

/** Reads `fact` until it is as it should be. An error counts as «not yet». The message ends with the last value seen. */
export async function waitFor<T>(fact: () => T | Promise<T>, options: WaitForOptions<T>): Promise<T> {
  const { what, timeoutMs = 30_000, everyMs = 100, is = Boolean } = options;
  const began = performance.now();
  for (;;) {
    let seen: string;
    try {
      const value = await fact();
      if (is(value)) return value;
      seen = inspect(value, { depth: 6, breakLength: 120 });
    } catch (error) {
      seen = `error: ${messageOf(error)}`;
    }
    const waitedMs = performance.now() - began;
    if (waitedMs > timeoutMs)
      throw new Error(`waited ${(waitedMs / 1000).toFixed(1)} s for ${what}; last seen: ${seen}`);
    await new Promise(resolve => setTimeout(resolve, everyMs));
  }
}

/** dockerode on a Pi's engine. Make a new one after a power cycle. */
export const dockerOf = (lab: Lab, pi: string): Docker => new Docker({ socketPath: lab.engine(pi), timeout: 10_000 });

/** The `docker` command in a Pi; returns what it printed. */
export const docker = (lab: Lab, pi: string, ...words: string[]): Promise<string> => lab.run(pi, ['docker', ...words]);

/** Puts an image called `busybox` on Pis, from this machine's static busybox. */
export async function loadBusybox(lab: Lab, ...pis: string[]): Promise<void> {
  const script = `set -e
    mkdir -p /tmp/busybox/bin && cp "$(command -v busybox)" /tmp/busybox/bin/busybox
    for name in sh sleep cat echo wget httpd; do ln -sf busybox /tmp/busybox/bin/$name; done
    tar -C /tmp/busybox -c . | docker import - busybox:latest && rm -r /tmp/busybox`;
  await Promise.all(pis.map(pi => lab.run(pi, ['sh', '-c', script])));
}
