/**
 * Virtual Pis that really boot: qemu in software emulation, each from a card of its own, all on one bridge in a network namespace
 * of its own. Nothing of this machine's network is touched, and nothing stays when it is closed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { command, commandOk } from '../../src/lab/process.ts';
import type { Machine } from './machines.ts';

export const NETWORK = '10.66.0';
const BRIDGE = 'lan';
const LAPTOP = `${NETWORK}.1`;
const CONSOLE_SHOWN = 40;
const EVERY_MS = 3_000;
const CONNECT_MS = 5 * 60_000;

export interface VirtualPi {
  name: string;
  address: string;
  mac: string;
  card: string;
  consoleLog: string;
}

export class Shelf {
  readonly directory: string;
  readonly #machine: Machine;
  readonly #running = new Map<string, ChildProcess>();
  readonly #connections = new Map<string, ChildProcess>();
  #network: ChildProcess | undefined;
  #dhcp: ChildProcess | undefined;

  constructor(directory: string, machine: Machine) {
    this.directory = directory;
    this.#machine = machine;
    mkdirSync(directory, { recursive: true });
  }

  /** The place of the n-th Pi (from 1): address and MAC are the same at each start, as with a router that remembers. */
  pi(index: number, card: string): VirtualPi {
    const name = `pi${index}`;
    const address = `${NETWORK}.${10 + index}`;
    const mac = `b8:27:eb:00:66:0${index}`;
    return { name, address, mac, card, consoleLog: `${this.directory}/${name}.console` };
  }

  /** Bridge and DHCP; no router and no name server, so that nothing waits for an internet that is not there. */
  async open(pis: readonly VirtualPi[]): Promise<void> {
    this.#network = spawn('unshare', ['--net', '--mount', '--propagation', 'private', 'sleep', 'infinity'], {
      stdio: 'ignore',
    });
    await this.until('the network namespace is there', 30_000, () => this.#hasOwnNetwork());
    const lines = [
      'link set lo up',
      `link add ${BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
      `address add ${LAPTOP}/24 dev ${BRIDGE}`,
      ...pis.flatMap(({ name }) => [
        `tuntap add ${name} mode tap`,
        `link set ${name} master ${BRIDGE}`,
        `link set ${name} up`,
      ]),
      `link set ${BRIDGE} up`,
    ];
    await commandOk(this.#inside(['ip', '-batch', '-']), { stdin: `${lines.join('\n')}\n`, timeoutMs: 60_000 });
    const hosts = pis.map(({ mac, address }) => `--dhcp-host=${mac},${address},infinite`);
    const [file = '', ...words] = this.#inside([
      ...[
        'dnsmasq',
        '--keep-in-foreground',
        '--conf-file=/dev/null',
        '--port=0',
        `--interface=${BRIDGE}`,
        '--bind-interfaces',
      ],
      ...[
        '--dhcp-authoritative',
        `--dhcp-range=${NETWORK}.100,${NETWORK}.120,infinite`,
        '--dhcp-option=3',
        '--dhcp-option=6',
      ],
      ...['--user=root', '--pid-file=', `--dhcp-leasefile=${this.directory}/leases`, ...hosts],
    ]);
    this.#dhcp = spawn(file, words, { stdio: ['ignore', 'ignore', openSync(`${this.directory}/dnsmasq.log`, 'a')] });
  }

  async #hasOwnNetwork(): Promise<boolean> {
    const mine = await command(['readlink', '/proc/self/ns/net']);
    const its = await command(['readlink', `/proc/${this.#network?.pid}/ns/net`]);
    return its.code === 0 && its.stdout !== mine.stdout;
  }

  #inside(argv: readonly string[]): [string, ...string[]] {
    return ['nsenter', `--net=/proc/${this.#network?.pid}/ns/net`, ...argv];
  }

  powerOn(pi: VirtualPi): void {
    const [file = '', ...words] = this.#inside(this.#machine.argv(pi));
    const log = openSync(`${this.directory}/${pi.name}.qemu`, 'a');
    this.#running.set(pi.name, spawn(file, words, { stdio: ['ignore', log, log] }));
  }

  /** As when somebody pulls the plug. */
  async powerCut(pi: VirtualPi): Promise<void> {
    const child = this.#running.get(pi.name);
    this.#running.delete(pi.name);
    await stop(child);
    await stop(this.#connections.get(pi.name));
  }

  /** On the Pi, as root. @throws when it does not answer or the command fails */
  async on(pi: VirtualPi, script: string, timeoutMs = 120_000): Promise<string> {
    await this.#connect(pi);
    return commandOk(this.#ssh(pi, ['-o', 'ControlMaster=no'], ['sudo sh -s']), { stdin: script, timeoutMs });
  }

  /** One connection for all commands: in emulation, an exchange of keys alone takes a Pi half a minute. */
  async #connect(pi: VirtualPi): Promise<void> {
    const socket = this.#controlPath(pi);
    if (alive(this.#connections.get(pi.name)) && existsSync(socket)) return;
    rmSync(socket, { force: true });
    const [file = '', ...words] = this.#ssh(pi, ['-M', '-N'], []);
    const log = openSync(`${this.directory}/${pi.name}.ssh.log`, 'w');
    const child = spawn(file, words, { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#connections.set(pi.name, child);
    const end = performance.now() + CONNECT_MS;
    while (!existsSync(socket)) {
      if (!alive(child) || performance.now() > end) {
        await stop(child);
        throw new Error(`no ssh: ${readFileSync(`${this.directory}/${pi.name}.ssh.log`, 'utf8').trim()}`);
      }
      await sleep(100);
    }
  }

  #controlPath(pi: VirtualPi): string {
    return `${this.directory}/${pi.name}.ssh`;
  }

  #ssh(pi: VirtualPi, words: string[], command: string[]): [string, ...string[]] {
    const options = [
      ...['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR', 'BatchMode=yes'],
      ...['ConnectTimeout=60', 'ServerAliveInterval=60', `ControlPath=${this.#controlPath(pi)}`],
    ].flatMap(option => ['-o', option]);
    return this.#inside(['ssh', '-i', `${this.directory}/key`, ...options, ...words, `pi@${pi.address}`, ...command]);
  }

  /** From the laptop, that is from outside of all Pis. */
  fromOutside(argv: readonly string[], timeoutMs = 60_000): Promise<{ code: number; stdout: string }> {
    return command(this.#inside(argv), { timeoutMs });
  }

  /**
   * Waits for a fact; what the question throws counts as «not yet». Ends early when a Pi that was powered on is dead.
   * @throws with the end of the consoles, when it takes longer than `limitMs`
   */
  async until<T>(what: string, limitMs: number, fact: () => Promise<T | undefined | false>): Promise<T> {
    const begin = performance.now();
    let last = 'it is not so';
    for (;;) {
      for (const [name, { exitCode, signalCode }] of this.#running) {
        if (exitCode !== null || signalCode !== null) throw this.#failed(`${name} is dead`, what);
      }
      try {
        const value = await fact();
        if (value !== undefined && value !== false) {
          console.log(`${Math.round((performance.now() - begin) / 1000)} s: ${what}`);
          return value;
        }
      } catch (error) {
        last = error instanceof Error ? error.message : String(error);
      }
      if (performance.now() - begin > limitMs)
        throw this.#failed(`not within ${Math.round(limitMs / 1000)} s: ${last}`, what);
      await sleep(EVERY_MS);
    }
  }

  #failed(why: string, what: string): Error {
    return new Error(`${what}: ${why}\n${[...this.#running.keys()].map(name => this.consoleEnd(name)).join('\n')}`);
  }

  consoleEnd(name: string): string {
    const text = (suffix: string) => {
      const path = `${this.directory}/${name}.${suffix}`;
      return existsSync(path) ? readFileSync(path, 'utf8') : '';
    };
    const lines = `${text('qemu')}${text('console')}`.split(/\r?\n/).slice(-CONSOLE_SHOWN);
    return `--- the console of ${name} ends:\n${lines.join('\n')}`;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running.values(), ...this.#connections.values()].map(stop));
    this.#running.clear();
    await stop(this.#dhcp);
    await stop(this.#network);
  }
}

const alive = (child: ChildProcess | undefined): child is ChildProcess =>
  child !== undefined && child.exitCode === null && child.signalCode === null;

async function stop(child: ChildProcess | undefined): Promise<void> {
  if (!alive(child)) return;
  const gone = new Promise(resolve => child.once('close', resolve));
  child.kill('SIGKILL');
  await gone;
}
