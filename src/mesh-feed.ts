/** Feeds the routing mesh: the leader makes the table of published ports, the others fetch it when its version changes. */
import { leavingNodes } from './core/leaving.ts';
import { type MeshTable, meshTable, meshVersion, withoutSuspects } from './core/mesh.ts';
import type { World } from './core/observe.ts';
import { type ClusterView, deadNodes, suspectNodes } from './core/show.ts';
import { readMeshTable } from './peer-answers.ts';
import type { Peers } from './ports.ts';
import { leaderOf } from './swarm-peers.ts';

const FETCH_MS = 3_000;

/** No version: a table is on its way into the kernel. */
const ON_ITS_WAY = '-';

export interface MeshSink {
  /** Whether the last table is in force; undefined where none can be: nobody shall wait for that. */
  inForce(): boolean | undefined;
  update(wanted: { table: MeshTable; deadNodeIds: string[] }): void;
}

export interface MeshFeedPorts {
  sink: MeshSink;
  peers(): Peers | undefined;
  /** A fetch that failed: the next turn tries again. */
  trouble(what: string, error: unknown): void;
}

interface Versioned {
  version: string;
  table: MeshTable;
}

export class MeshFeed {
  readonly #ports: MeshFeedPorts;
  #current: Versioned | undefined;
  #made: { view: ClusterView; result: Versioned } | undefined;
  #fetching = false;
  #troubled = false;
  #world: World | undefined;

  constructor(ports: MeshFeedPorts) {
    this.#ports = ports;
  }

  /** On the leader: the version to tell the others. Made anew only when the lists are new. */
  versionOf(view: ClusterView): string {
    return this.#make(view).version;
  }

  /** The version that this Pi's published ports follow; until they do, none that anybody else has. Undefined: they never will. */
  applied(): string | undefined {
    if (this.#current === undefined) return undefined;
    const inForce = this.#ports.sink.inForce();
    if (inForce === undefined) return undefined;
    return inForce ? this.#current.version : ON_ITS_WAY;
  }

  /** What peers get for the command `mesh-table`. */
  answer(): Versioned | undefined {
    return this.#current;
  }

  /** After each turn of the loop. */
  onTurn(world: World, view: ClusterView | undefined): void {
    this.#world = world;
    const { swarm } = world;
    if (swarm.state !== 'active') {
      // An engine that is away for a moment keeps its rules; one that is in no swarm has nothing to publish.
      if (world.engine === 'ready' && (swarm.state === 'none' || swarm.state === 'foreign')) this.#clear();
      return;
    }
    if (swarm.leader && view) this.#current = this.#make(view);
    else void this.#fetch(swarm.swarmId);
    this.refresh();
  }

  /** A Pi died or came back: at once, without waiting for the loop, which may be held up by the engine. */
  refresh(): void {
    if (this.#world?.swarm.state !== 'active' || this.#current === undefined) return;
    const peers = this.#ports.peers()?.list() ?? [];
    const table = withoutSuspects(this.#current.table, suspectNodes(peers));
    this.#ports.sink.update({ table, deadNodeIds: deadNodes({ peers }) });
  }

  #clear(): void {
    this.#current = undefined;
    this.#ports.sink.update({ table: [], deadNodeIds: [] });
  }

  #make(view: ClusterView): Versioned {
    const { nodes, services, tasks } = view;
    const made = this.#made?.view;
    if (this.#made === undefined || made?.services !== services || made.tasks !== tasks || made.nodes !== nodes) {
      const table = meshTable(services, tasks, leavingNodes(nodes));
      this.#made = { view, result: { version: meshVersion(table), table } };
    }
    return this.#made.result;
  }

  async #fetch(swarmId: string): Promise<void> {
    const peers = this.#ports.peers();
    const leader = leaderOf(peers, swarmId);
    const version = leader?.status.meshVersion;
    if (peers === undefined || leader === undefined || version === undefined) return;
    if (this.#fetching || version === this.#current?.version) return;
    this.#fetching = true;
    try {
      const answer = await peers.request(leader.id, 'mesh-table', {}, { timeoutMs: FETCH_MS });
      this.#current = readMeshTable(answer) ?? this.#current;
      this.#troubled = false;
      this.refresh();
    } catch (error) {
      // Each turn tries again: one line for the first of a row is enough.
      if (!this.#troubled) this.#ports.trouble('could not fetch the published ports from the leader', error);
      this.#troubled = true;
    } finally {
      this.#fetching = false;
    }
  }
}
