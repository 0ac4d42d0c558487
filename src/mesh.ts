/** Keeps this Pi's routing mesh as the tasks want it. One change at a time; of several wishes the latest is carried out. */
import { type MeshTable, meshVersion, soundTable, withoutDead } from './core/mesh.ts';
import { messageOf } from './errors.ts';
import { detectMesh, type MeshMode, NftMesh } from './io/nft.ts';

/** Rules may be flushed by others and the engine may restart: looked after this often, by the cheapest means. */
const CHECK_MS = 15_000;
/** After a failure, e.g. while the ingress network is still being made. */
const RETRY_MS = 1_000;

export interface MeshWish {
  table: MeshTable;
  /** Swarm node ids of Pis that liveness calls dead. */
  deadNodeIds: string[];
}

export interface MeshStatus {
  mode: MeshMode;
  ports: number;
  problem?: string;
}

export interface MeshOptions {
  /** `auto` looks at the kernel; `off` leaves published ports to Docker alone. */
  mode?: 'auto' | 'off' | MeshMode;
  execRoot?: string;
  log?: { info(fields: object, text: string): void; warn(fields: object, text: string): void };
  /** The last wish is in force. */
  onApplied?(): void;
  /** For tests. */
  rules?: Pick<NftMesh, 'apply' | 'remove' | 'generation' | 'present'>;
  detect?: typeof detectMesh;
  checkMs?: number;
  retryMs?: number;
}

export class MeshReconciler {
  readonly #options: MeshOptions;
  readonly #rules: NonNullable<MeshOptions['rules']>;
  #mode: MeshMode | undefined;
  #problem: string | undefined;
  #wanted: MeshTable = [];
  #asked: string | undefined;
  /** Version of what is in the kernel, and the ingress namespace it is in. */
  #applied: { version: string; generation: string } | undefined;
  /** What an earlier run of the agent left behind is not known. */
  #clean = false;
  #running: Promise<void> | undefined;
  #again = false;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: MeshOptions = {}) {
    this.#options = options;
    this.#rules = options.rules ?? new NftMesh(options.execRoot);
  }

  /** Cheap when nothing changed: call it as often as there is news. Never throws, never waits. */
  update(wish: MeshWish): void {
    if (this.#stopped) return;
    this.#wanted = soundTable(withoutDead(wish.table, wish.deadNodeIds));
    const version = meshVersion(this.#wanted);
    if (version === this.#asked) return;
    this.#asked = version;
    this.#kick();
  }

  status(): MeshStatus {
    const { mode } = this.#options;
    const guess: MeshMode = mode === undefined || mode === 'auto' || mode === 'off' ? 'none' : mode;
    return {
      mode: this.#mode ?? guess,
      ports: this.#wanted.length,
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
    };
  }

  /** Whether the last wish is in force (where the mesh is Docker's own, it always is); undefined where it cannot be. */
  inForce(): boolean | undefined {
    if (this.#problem !== undefined) return undefined;
    if (this.#running !== undefined || this.#asked === undefined) return false;
    return this.#mode !== 'nftables' || this.#wanted.length === 0 || this.#applied?.version === this.#asked;
  }

  /** Resolves when the last wish has been carried out, or has failed. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Without `remove` the rules stay: published ports go on answering while the agent restarts. */
  async stop(options: { remove?: boolean } = {}): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.settled();
    if (options.remove && this.#mode === 'nftables') await this.#rules.remove();
  }

  #kick(): void {
    clearTimeout(this.#timer);
    this.#again = true;
    this.#running ??= this.#work().finally(() => {
      this.#running = undefined;
      if (this.inForce()) this.#options.onApplied?.();
    });
  }

  async #work(): Promise<void> {
    let waitMs = this.#options.checkMs ?? CHECK_MS;
    while (this.#again && !this.#stopped) {
      this.#again = false;
      try {
        await this.#reconcile();
        this.#problem = this.#mode === 'none' ? this.#problem : undefined;
      } catch (error) {
        if (this.#problem === undefined) this.#options.log?.warn({ error: messageOf(error) }, 'routing mesh: not yet');
        this.#problem = messageOf(error);
        this.#applied = undefined;
        waitMs = this.#options.retryMs ?? RETRY_MS;
      }
    }
    if (this.#stopped) return;
    this.#timer = setTimeout(() => this.#kick(), waitMs);
    this.#timer.unref();
  }

  async #reconcile(): Promise<void> {
    const mode = await this.#detect();
    if (mode !== 'nftables') {
      // The mode may have been another one at the last start: nothing of ours may be left.
      if (!this.#clean) await this.#rules.remove();
      this.#clean = true;
      return;
    }
    const wanted = this.#wanted;
    const version = meshVersion(wanted);
    if (wanted.length === 0) {
      if (this.#applied !== undefined || !this.#clean) await this.#rules.remove();
      this.#applied = undefined;
      this.#clean = true;
      return;
    }
    const generation = await this.#rules.generation();
    if (generation === undefined) throw new Error("the swarm's ingress network is not there yet");
    const known = this.#applied?.version === version && this.#applied.generation === generation;
    if (known && (await this.#rules.present())) return;
    this.#clean = false;
    await this.#rules.apply(wanted);
    this.#applied = { version, generation };
    this.#options.log?.info({ ports: wanted.length, version }, 'routing mesh: rules applied');
  }

  async #detect(): Promise<MeshMode> {
    if (this.#mode !== undefined) return this.#mode;
    const { mode = 'auto' } = this.#options;
    if (mode === 'off') this.#mode = 'none';
    else if (mode !== 'auto') this.#mode = mode;
    else {
      const found = await (this.#options.detect ?? detectMesh)();
      this.#mode = found.mode;
      this.#problem = found.problem;
    }
    this.#options.log?.info({ mode: this.#mode }, 'routing mesh');
    return this.#mode;
  }
}
