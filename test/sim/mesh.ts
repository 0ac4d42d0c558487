/** The routing mesh of one simulated Pi: it follows the table that it was given a moment later. */
import { type MeshTable, withoutDead } from '../../src/core/mesh.ts';
import type { MeshSink } from '../../src/mesh-feed.ts';

/** nft takes about so long on a Pi. */
const APPLY_MS = 150;

export class SimMesh implements MeshSink {
  readonly #now: () => number;
  #asked: string | undefined;
  #next: { table: MeshTable; atMs: number } | undefined;
  #table: MeshTable = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  update({ table, deadNodeIds }: Parameters<MeshSink['update']>[0]): void {
    const wanted = withoutDead(table, deadNodeIds);
    const asked = JSON.stringify(wanted);
    if (asked === this.#asked) return;
    this.#asked = asked;
    this.#next = { table: wanted, atMs: this.#now() + APPLY_MS };
  }

  inForce(): boolean {
    this.#settle();
    return this.#next === undefined;
  }

  /** Where a new connection to each published port may go from here: addresses on the ingress network. */
  targets(): Map<number, string[]> {
    this.#settle();
    return new Map(this.#table.map(port => [port.published, port.targets.map(({ address }) => address)]));
  }

  /** The rules are in the kernel's memory: a power cut takes them. */
  forget(): void {
    this.#asked = undefined;
    this.#next = undefined;
    this.#table = [];
  }

  #settle(): void {
    if (this.#next === undefined || this.#now() < this.#next.atMs) return;
    this.#table = this.#next.table;
    this.#next = undefined;
  }
}
