/**
 * A LAN of network namespaces for tests: one namespace holds a bridge (the switch), each Pi is a namespace with `eth0` in it.
 * Nothing of it is visible in the machine's own network; removing the namespaces removes everything.
 */
import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { describe } from 'vitest';
import { bundleTo } from '../guard/bundle.ts';
import { namePrefix } from '../guard/mark.ts';

const canMakeNamespaces = process.platform === 'linux' && process.getuid?.() === 0;

/**
 * Only root on Linux may make namespaces, bridges and engines. `npm test` ends with one message where it cannot, so there nothing of this is
 * skipped; `npx vitest` by hand, as a user, skips it and counts it.
 */
export const describeOnNamespaces = describe.skipIf(!canMakeNamespaces);

const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });

let lans = 0;

export class NetnsLan {
  readonly #prefix = `${namePrefix()}${process.pid}-${lans++}`;
  readonly #switch = `${this.#prefix}-sw`;
  readonly #pis: string[] = [];
  readonly #processes: NetnsProcess[] = [];

  constructor() {
    ip('netns', 'add', this.#switch);
    ip('-n', this.#switch, 'link', 'add', 'br0', 'type', 'bridge');
    ip('-n', this.#switch, 'link', 'set', 'br0', 'up');
  }

  /** Adds a Pi with `eth0` at 10.77.0.`number`, after what `first` puts there. Returns the name of its namespace. */
  addPi(number: number, first?: (namespace: string) => void): string {
    const name = `${this.#prefix}-${number}`;
    ip('netns', 'add', name);
    this.#pis.push(name);
    first?.(name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
    ip('link', 'add', 'eth0', 'netns', name, 'type', 'veth', 'peer', 'name', `p${number}`, 'netns', this.#switch);
    ip('-n', this.#switch, 'link', 'set', `p${number}`, 'master', 'br0', 'up');
    ip('-n', name, 'address', 'add', `10.77.0.${number}/24`, 'dev', 'eth0');
    ip('-n', name, 'link', 'set', 'eth0', 'up');
    return name;
  }

  in(namespace: string, ...args: string[]): void {
    ip('-n', namespace, ...args);
  }

  /** Pulls or plugs the cable at the switch: the Pi loses its carrier. */
  cable(number: number, state: 'up' | 'down'): void {
    ip('-n', this.#switch, 'link', 'set', `p${number}`, state);
  }

  /** New connections to this Pi's port are dropped without a word; what it begins itself passes. */
  firewall(number: number, port: number): void {
    const rules = `table inet t { chain in { type filter hook input priority 0; tcp dport ${port} ct state new drop; }; }`;
    execFileSync('ip', ['netns', 'exec', `${this.#prefix}-${number}`, 'nft', '-f', '-'], { input: rules });
  }

  run(namespace: string, script: string, options: unknown): NetnsProcess {
    const child = new NetnsProcess(namespace, script, options);
    this.#processes.push(child);
    return child;
  }

  async remove(): Promise<void> {
    await Promise.all(this.#processes.map(child => child.kill()));
    for (const name of [...this.#pis, this.#switch]) ip('netns', 'delete', name);
  }
}

/** A script in a namespace that prints one JSON object a line. */
export class NetnsProcess {
  readonly lines: Record<string, unknown>[] = [];
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #gone: Promise<void>;

  constructor(namespace: string, script: string, options: unknown) {
    const args = ['netns', 'exec', namespace, process.execPath, script, JSON.stringify(options)];
    this.#child = spawn('ip', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#gone = new Promise(resolve => this.#child.once('close', () => resolve()));
    createInterface({ input: this.#child.stdout }).on('line', line => this.lines.push(JSON.parse(line)));
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  say(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  ended(): Promise<void> {
    return this.#gone;
  }

  async kill(): Promise<void> {
    // `ip netns exec` replaces itself by node: the pid is the script's own.
    if (this.running) this.#child.kill('SIGKILL');
    await this.#gone;
  }
}

/** Bundles a script for children. */
export async function bundleScript(entry: string): Promise<{ path: string; remove(): void }> {
  const directory = mkdtempSync(join(tmpdir(), 'pisw-test-'));
  const path = join(directory, 'script.mjs');
  await bundleTo(path, entry);
  return { path, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

/** Waits for a fact. @throws when it does not come true within the limit */
export async function until(what: string, fact: () => unknown, limitMs = 15_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!fact()) {
    if (Date.now() > deadline) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}
