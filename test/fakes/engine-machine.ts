/** What a fake engine is apart from its swarm: something that has power or not, hangs or not, and tells its listeners. */
import type { EngineState } from '../../src/core/world.ts';
import { EngineError } from '../../src/errors.ts';
import type { Engine } from '../../src/ports.ts';

type Change = Parameters<Parameters<Engine['onChange']>[0]>[0];

export class FakeMachine {
  readonly name: string;
  readonly architecture: string;
  readonly containers = new Set<string>();
  address: string;
  /** How long a task takes to start here, where it is not as everywhere: it has no image yet, say. */
  taskStartMs: number | undefined;
  readonly #linked: (a: FakeMachine, b: FakeMachine) => boolean;
  readonly #listeners: ((what: Change) => void)[] = [];
  readonly #pending = new Set<Change>();
  readonly #faults = new Map<string, Error[]>();
  #power = true;
  #hung = false;

  constructor(
    name: string,
    address: string,
    architecture: string,
    linked: (a: FakeMachine, b: FakeMachine) => boolean,
  ) {
    this.name = name;
    this.address = address;
    this.architecture = architecture;
    this.#linked = linked;
  }

  /** A power cut: containers die, the disk stays. */
  powerOff(): void {
    this.#power = false;
    this.containers.clear();
    this.emit('engine');
  }

  powerOn(): void {
    this.#power = true;
    this.emit('engine');
  }

  /** It takes calls and answers none. */
  hang(hung: boolean): void {
    this.#hung = hung;
  }

  /** The next call of this method throws. */
  failNext(method: keyof Engine, error: Error): void {
    this.#faults.set(method, [...(this.#faults.get(method) ?? []), error]);
  }

  runs(): boolean {
    return this.#power && !this.#hung;
  }

  reaches(other: FakeMachine): boolean {
    return other === this || (this.#power && other.#power && this.#linked(this, other));
  }

  emit(what: Change): void {
    this.#pending.add(what);
  }

  /** Listeners are called from `tick`, all changes of one kind as one. */
  flush(): void {
    const all = [...this.#pending];
    this.#pending.clear();
    for (const what of all) for (const listener of this.#listeners) listener(what);
  }

  state(): EngineState {
    return this.#power ? (this.#hung ? 'slow' : 'ready') : 'absent';
  }

  problem(): string | undefined {
    return this.state() === 'ready' ? undefined : `the Docker Engine on this Pi does not answer (fake ${this.name})`;
  }

  onChange(listener: (what: Change) => void): void {
    this.#listeners.push(listener);
  }

  async stop(): Promise<void> {
    this.#listeners.length = 0;
  }

  /** At the beginning of every call. @throws what `failNext` was given, or that the engine does not answer */
  protected call(method: keyof Engine): void {
    const fault = this.#faults.get(method)?.shift();
    if (fault !== undefined) throw fault;
    if (this.runs()) return;
    throw new EngineError(this.problem() ?? '', 'systemctl status docker', this.#hung ? { code: 'timeout' } : {});
  }
}
