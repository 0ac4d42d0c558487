/** The real bundle as a child process, against the real control socket with fakes behind it. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandDeps, runCommand } from '../../src/commands.ts';
import { type ControlServer, startControl } from '../../src/control.ts';
import type { Snapshot } from '../../src/core/snapshot.ts';
import type { FakeManager } from './fakes.ts';
import { snapshotOf } from './fixtures.ts';

export interface Outcome {
  code: number;
  out: string;
  err: string;
}

/** One bundle, and a fresh directory with its own configuration, secret and socket for each test. */
export class Program {
  readonly path: string;
  readonly #home: string;
  #server: ControlServer | undefined;
  directory = '';
  socket = '';
  config = '';

  static async build(): Promise<Program> {
    const home = await mkdtemp(join(tmpdir(), 'pi-swarm-cli-'));
    const builder: { bundle(outfile: string): Promise<unknown> } = await import(
      new URL('../../scripts/build.mjs', import.meta.url).href
    );
    const program = new Program(home);
    await builder.bundle(program.path);
    return program;
  }

  private constructor(home: string) {
    this.#home = home;
    this.path = join(home, 'pi-swarm.mjs');
  }

  async fresh(): Promise<void> {
    this.directory = await mkdtemp(join(this.#home, 'pi-'));
    this.socket = join(this.directory, 'agent.sock');
    this.config = join(this.directory, 'config.yaml');
    await writeFile(
      this.config,
      `secretFile: ${this.directory}/secret\nsocket: ${this.socket}\nstateDir: ${this.directory}/state\n`,
    );
  }

  run(words: string[], options: { input?: string; env?: NodeJS.ProcessEnv } = {}): Promise<Outcome> {
    return new Promise(resolve => {
      const env = { ...process.env, NO_COLOR: '1', PI_SWARM_CONFIG: this.config, ...options.env };
      const child = execFile(process.execPath, [this.path, ...words], { env, timeout: 60_000 }, (error, out, err) => {
        resolve({ code: error === null ? 0 : Number(error.code), out, err });
      });
      child.stdin?.end(options.input ?? '');
    });
  }

  /** An agent, as far as the command line sees one. */
  async serve(
    manager: FakeManager,
    snapshot: () => Snapshot = () => snapshotOf({ pis: 3 }),
    more: Partial<CommandDeps> = {},
  ): Promise<void> {
    const secretFile = join(this.directory, 'secret');
    const commands = manager.commands({ snapshot, secretFile, pickUpSecret: async () => undefined, ...more });
    this.#server = await startControl(this.socket, {
      snapshot,
      command: (name, body) => runCommand(commands, name, body, { from: 'local' }),
    });
  }

  async stop(): Promise<void> {
    await this.#server?.stop();
    this.#server = undefined;
  }

  remove(): Promise<void> {
    return rm(this.#home, { recursive: true, force: true });
  }
}
