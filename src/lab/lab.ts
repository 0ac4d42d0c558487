/**
 * A lab: several virtual Pis on this Linux machine. Each is a real Docker Engine and a real agent in namespaces of its
 * own, on a LAN of its own. Everything is below one directory and one control group; `down` leaves nothing behind.
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PiSwarmError, RefusedError } from '../errors.ts';
import { ENGINE_SOCKET, type PiOptions, preparePi, renewDisk, setAgentSwitch, writeHosts } from './disk.ts';
import { tailOf, waitForEngine } from './engine.ts';
import { type ExecOptions, execIn, type Place, type SpawnInOptions, spawnIn } from './enter.ts';
import { checkEnvironment } from './environment.ts';
import { joinLan, removeCable, setCable, splitLan } from './lan.ts';
import { labSubnet, laptopAddress, PIS_MAX, piAddress, piIndex, piName } from './names.ts';
import { optionsFor, type UpOptions, type WaitingOptions } from './options.ts';
import { agentRuns, insidePi, killPi, pokeSupervisor, shutDownPi } from './pi.ts';
import { type LabOptions, LabPlace } from './place.ts';
import { type CommandResult, isAlive, until } from './process.ts';
import type { LabRecord } from './record.ts';
import { type LabState, labState } from './state.ts';
import { makeLab, removeLab, startPis } from './up.ts';

export type { PiOptions } from './disk.ts';
export type { UpOptions } from './options.ts';
export type { LabState, PiState } from './state.ts';

export type LogKind = 'agent' | 'engine' | 'init';
const LOG_FILES = { agent: 'agent.log', engine: 'dockerd.log', init: 'init.log' } as const;

export class Lab {
  readonly place: LabPlace;

  /** Makes nothing yet. */
  constructor(options: LabOptions = {}) {
    this.place = new LabPlace(options);
  }

  get name(): string {
    return this.place.name;
  }

  /** Makes the lab and returns when all engines answer. What was made so far is removed when it fails or is aborted. */
  async up(options: UpOptions = {}): Promise<void> {
    checkEnvironment();
    const { pis = 3, signal, onProgress } = options;
    let made = false;
    try {
      const names = await this.place.exclusive(async () => {
        signal?.throwIfAborted();
        await makeLab(
          this.place,
          pis,
          pi => optionsFor(pi, options),
          () => {
            made = true;
          },
        );
        return Object.keys(this.place.read().pis);
      });
      await this.enginesUp(names, options);
      signal?.throwIfAborted();
      onProgress?.(`lab «${this.name}» is up: ${names.join(', ')} in ${labSubnet(this.name)}`);
    } catch (error) {
      if (made) await this.down();
      throw signal?.aborted === true ? signal.reason : error;
    }
  }

  private async enginesUp(pis: string[], { engineTimeoutMs = 60_000, signal, onProgress }: UpOptions): Promise<void> {
    const began = performance.now();
    const record = this.place.read();
    const wait = async (name: string) => {
      const init = this.place.running(record, name);
      const [socketPath, logFile] = [insidePi(init, ENGINE_SOCKET), this.logFile(name, 'engine')];
      await waitForEngine({ name, socketPath, logFile, isOn: () => isAlive(init), timeoutMs: engineTimeoutMs, signal });
      onProgress?.(
        `${name} (${this.address(name)}): engine up after ${((performance.now() - began) / 1000).toFixed(1)} s`,
      );
    };
    const results = await Promise.allSettled(pis.map(wait));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Removes the lab; also a half-made one. Idempotent. @returns whether there was one */
  async down(): Promise<boolean> {
    checkEnvironment();
    if (!existsSync(this.place.base) && !this.place.cgroup.exists()) return false;
    return this.place.exclusive(() => removeLab(this.place));
  }

  /** One more Pi; what is not said is as on pi1. @returns its name */
  async add(options: PiOptions & WaitingOptions = {}): Promise<string> {
    const name = await this.change(async record => {
      const index = Math.max(0, ...Object.values(record.pis).map(pi => pi.index)) + 1;
      if (index > PIS_MAX) throw new RefusedError(`A lab has at most ${PIS_MAX} Pis.`);
      const pi = piName(index);
      record.pis[pi] = { index };
      this.place.write(record);
      preparePi(this.place.piDirectory(pi), this.name, index, options, this.place.piDirectory(piName(1)));
      writeHosts(
        this.place.directory,
        this.name,
        Object.values(record.pis).map(other => other.index),
      );
      await startPis(this.place, record, [index]);
      return pi;
    });
    await this.enginesUp([name], options);
    return name;
  }

  /** Pulls the plug: no process of the Pi says goodbye to anybody. Its disk stays. No error when it is off already. */
  async powerCut(pi: string): Promise<void> {
    await this.change(async record => {
      const { init } = this.place.pi(record, pi);
      const lan = this.place.lan(record);
      if (isAlive(init)) {
        await setCable(lan, pi, false);
        await killPi(init);
      }
      await this.clearAfter(record, pi);
    });
  }

  /** `poweroff`: SIGTERM to the agent, then to the engine, each with 30 s (or what systemd gives them); then off. */
  async shutdown(pi: string): Promise<void> {
    // Not within the lock: a Pi may take a minute, and others go on meanwhile.
    await shutDownPi(this.place.running(this.place.read(), pi), pi);
    await this.change(record => this.clearAfter(record, pi));
  }

  private async clearAfter(record: LabRecord, pi: string): Promise<void> {
    await removeCable(this.place.lan(record), pi);
    await this.place.cgroup.remove(pi);
  }

  /** Same disk, same address, same MAC. Returns when the engine answers. No error when it is on already. */
  async powerOn(pi: string, options: WaitingOptions = {}): Promise<void> {
    await this.change(async record => {
      const { index, init } = this.place.pi(record, pi);
      if (isAlive(init)) return;
      await this.clearAfter(record, pi); // It may have gone off by itself.
      await startPis(this.place, record, [index]);
    });
    await this.enginesUp([pi], options);
  }

  /** A fresh card: the Pi, which must be off, loses all it had; flashed as before unless `options` say otherwise. */
  async wipe(pi: string, options?: PiOptions): Promise<void> {
    await this.change(async record => {
      const { index, init } = this.place.pi(record, pi);
      if (isAlive(init))
        throw new RefusedError(
          `${pi} is on: its card cannot be taken out.`,
          `First pull its plug: pi-swarm lab power-cut${this.place.nameOption} ${pi}`,
        );
      const directory = this.place.piDirectory(pi);
      if (options === undefined) renewDisk(directory);
      else preparePi(directory, this.name, index, options, directory);
    });
  }

  unplug(pi: string): Promise<void> {
    return this.cable(pi, false);
  }

  plug(pi: string): Promise<void> {
    return this.cable(pi, true);
  }

  private cable(pi: string, plugged: boolean): Promise<void> {
    return this.change(async record => {
      this.place.running(record, pi);
      await setCable(this.place.lan(record), pi, plugged);
    });
  }

  /** Pis of different groups do not reach each other any more; the first group keeps the laptop. Only Pis that are on. */
  split(...groups: string[][]): Promise<void> {
    return this.change(async record => {
      for (const pi of groups.flat()) this.place.running(record, pi);
      await splitLan(this.place.lan(record), groups);
    });
  }

  /** One LAN again. */
  join(): Promise<void> {
    return this.change(record => joinLan(this.place.lan(record)));
  }

  private async change<T>(work: (record: LabRecord) => Promise<T>): Promise<T> {
    checkEnvironment();
    this.place.read(); // Where there is no lab, not even a lock is made.
    return this.place.exclusive(() => work(this.place.read()));
  }

  /** Starts the agent now (within milliseconds) and from now on with the Pi. No error when it runs. */
  async startAgent(pi: string): Promise<void> {
    setAgentSwitch(this.place.piDirectory(pi), true);
    const init = this.place.running(this.place.read(), pi);
    const fact = async () => {
      if (agentRuns(init)) return true;
      await pokeSupervisor(init);
      return false;
    };
    await until(`The agent of ${pi} did not start within 10 s.`, fact, { timeoutMs: 10_000, everyMs: 10 });
  }

  /** Stops the agent and keeps it stopped, also after a power cycle. */
  async stopAgent(pi: string, signal: NodeJS.Signals = 'SIGTERM', timeoutMs = 60_000): Promise<void> {
    setAgentSwitch(this.place.piDirectory(pi), false);
    const init = this.place.running(this.place.read(), pi);
    if (agentRuns(init)) await this.signalAgent(pi, signal);
    await until(`The agent of ${pi} did not stop after ${signal}.`, () => !agentRuns(init), { timeoutMs });
  }

  /** The supervisor starts it again a second after it ended. */
  async signalAgent(pi: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.run(pi, ['sh', '-c', `kill -${signal.slice(3)} "$(cat /run/lab/agent.pid)"`]);
  }

  /** Runs a program in a Pi or on the `laptop` to its end; any exit code is fine. @throws TimeoutError (default 60 s) */
  async exec(pi: string, argv: readonly string[], options?: ExecOptions): Promise<CommandResult> {
    return execIn(this.locate(pi), argv, options);
  }

  /** Like `exec`; returns what it printed, without the last line's end, and throws unless it ended with 0. */
  async run(pi: string, argv: readonly string[], options?: ExecOptions): Promise<string> {
    const { code, stdout, stderr } = await this.exec(pi, argv, options);
    if (code === 0) return stdout.trimEnd();
    throw new PiSwarmError('failure', `«${argv.join(' ')}» on ${pi} ended with ${code}: ${(stderr || stdout).trim()}`);
  }

  /** Starts a program and returns at once; end it with `killInside`. */
  spawn(pi: string, argv: readonly string[], options?: SpawnInOptions): ChildProcess {
    return spawnIn(this.locate(pi), argv, options);
  }

  private locate(name: string): Place {
    const record = this.place.read();
    const laptop = name === 'laptop';
    const init = laptop ? this.place.lan(record) : this.place.running(record, name);
    return { name, init, groupFile: this.place.cgroup.joinFiles(laptop ? 'lan' : name).tracked };
  }

  /** Names of all Pis, also of those that are off. */
  pis(): string[] {
    return Object.keys(this.place.read().pis);
  }

  /** On the lab's LAN; `laptop` too. */
  address(pi: string): string {
    return pi === 'laptop' ? laptopAddress(this.name) : piAddress(this.name, piIndex(pi));
  }

  /** Unix socket of a running Pi's engine, usable from this machine. Changes with each power-on. */
  engine(pi: string): string {
    return this.inside(pi, ENGINE_SOCKET);
  }

  /** A path inside a running Pi, as this machine sees it: `/proc/PID/root/…`. */
  inside(pi: string, path = '/'): string {
    return insidePi(this.place.running(this.place.read(), pi), path);
  }

  /** A path on a Pi's card (`/var/…`, `/boot/…`, `/etc/pi-swarm/…`), also while it is off. */
  disk(pi: string, path = '/'): string {
    return join(this.place.piDirectory(pi), 'disk', path);
  }

  logFile(pi: string, kind: LogKind): string {
    return this.disk(pi, `/var/log/${LOG_FILES[kind]}`);
  }

  /** The last lines of a log, empty when there is none. */
  logs(pi: string, kind: LogKind = 'agent', lines = 40): string {
    return tailOf(this.logFile(pi, kind), lines);
  }

  status(): Promise<LabState> {
    return labState(this.place);
  }
}
