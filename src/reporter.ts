/** What the agent shows: the snapshot for the command line, the page and MQTT. Workers ask the leader for the swarm's part. */
import type { World } from './core/observe.ts';
import { type ClusterView, type ShowContext, show } from './core/show.ts';
import type { Snapshot } from './core/snapshot.ts';
import type { Decision } from './core/step.ts';
import { settledNodes } from './core/unreachable.ts';
import type { PiStatus } from './core/world.ts';
import { readClusterView } from './peer-answers.ts';
import type { Peers } from './ports.ts';
import { leaderOf } from './swarm-peers.ts';

const FETCH_MS = 2_000;
/** A view this old is as good as a new one. */
const FRESH_MS = 1_000;
/** A view older than this is not shown any more. */
const STALE_MS = 30_000;

export interface ReporterPorts {
  peers(): Peers | undefined;
  now(): number;
  wall(): number;
  /** Leader only. */
  ownView(): ClusterView | undefined;
  context(): Pick<ShowContext, 'clockBehind' | 'notices' | 'engineVersion' | 'mesh' | 'mqtt'>;
}

export class Reporter {
  readonly #ports: ReporterPorts;
  #last: { world: World; decision: Decision; status: PiStatus } | undefined;
  #fetched: { atMs: number; view: ClusterView } | undefined;
  #fetching: Promise<void> | undefined;

  constructor(ports: ReporterPorts) {
    this.#ports = ports;
  }

  onTurn(world: World, decision: Decision, status: PiStatus): void {
    this.#last = { world, decision, status };
  }

  get world(): World | undefined {
    return this.#last?.world;
  }

  get status(): PiStatus | undefined {
    return this.#last?.status;
  }

  /** What others may see of the swarm; undefined where this Pi does not lead it. */
  viewForOthers(): ClusterView | undefined {
    const view = this.#ports.ownView();
    const world = this.#last?.world;
    return view && world ? { ...view, nodes: settledNodes({ ...world, nowMs: this.#ports.now() }, view.nodes) } : view;
  }

  /** As of now, without asking anybody. Undefined before the first turn. */
  current(): Snapshot | undefined {
    if (this.#last === undefined) return undefined;
    const { peers, now, wall, ownView, context } = this.#ports;
    const { world, decision, status } = this.#last;
    const fresh = this.#fetched && now() - this.#fetched.atMs < STALE_MS ? this.#fetched.view : undefined;
    const view = world.swarm.state === 'active' ? (ownView() ?? fresh) : undefined;
    const live: World = { ...world, nowMs: now(), wallMs: wall(), peers: peers()?.list() ?? [] };
    return show(live, {
      ...context(),
      refusals: peers()?.refusals() ?? { count: 0 },
      doing: decision,
      own: status,
      ...(view === undefined ? {} : { view }),
    });
  }

  /** With the leader's newest view, where this Pi is not the leader itself; bounded, and without it when it does not come. */
  async newest(): Promise<Snapshot | undefined> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = undefined;
    });
    await this.#fetching;
    return this.current();
  }

  async #fetch(): Promise<void> {
    const { peers, now, ownView } = this.#ports;
    const swarm = this.#last?.world.swarm;
    if (swarm?.state !== 'active' || ownView() !== undefined) return;
    if (this.#fetched && now() - this.#fetched.atMs < FRESH_MS) return;
    const leader = leaderOf(peers(), swarm.swarmId);
    if (leader === undefined) return;
    try {
      const view = readClusterView(await peers()?.request(leader.id, 'cluster-view', {}, { timeoutMs: FETCH_MS }));
      if (view) this.#fetched = { atMs: now(), view };
    } catch {
      // The snapshot then shows what this Pi knows by itself, and says that no leader answers.
    }
  }
}
