/** A leader and its swarm, to look at again and again while Pis come and go: for the tables of H1. */
import { noticesOf } from '../../src/core/notices.ts';
import type { Facts, SwarmSettings, World } from '../../src/core/observe.ts';
import { heartbeatAt } from '../../src/core/patience.ts';
import { type Decision, sentences } from '../../src/core/step.ts';
import { turn } from '../../src/core/turn.ts';
import type { Peer, SwarmNode } from '../../src/core/world.ts';
import { leading, manager, node, nodeIdOf, TAG, WISH } from './build.ts';

export const MINUTE_MS = 60_000;
export const DAY_MS = 24 * 60 * MINUTE_MS;
const START_WALL_MS = Date.parse('2026-03-01T12:00:00Z');

/** pi1, the leader, looks at a swarm whose settings it changes for real. */
export class Shelf {
  nowMs = 1_000;
  wallMs = START_WALL_MS;
  wish = { ...WISH };
  peers: Peer[] | undefined;
  leader = true;
  settings: SwarmSettings | undefined = {
    dispatcherHeartbeatMs: 1_000,
    nodeCertExpiryMs: WISH.nodeCertExpiryMs,
    labels: { 'pi-swarm.tag': TAG },
  };
  /** How often the swarm was written to. */
  writes = 0;
  nodes: SwarmNode[];
  world: World | undefined;
  decision: Decision | undefined;

  constructor(pis = 4) {
    this.nodes = Array.from({ length: pis }, (_, index) =>
      index === 0 ? manager('pi1') : node(`pi${index + 1}`, index === 1 ? { role: 'manager', leader: false } : {}),
    );
    this.look();
  }

  get labels(): Record<string, string> {
    return this.settings?.labels ?? {};
  }

  get level(): string | undefined {
    return this.labels['pi-swarm.patience'];
  }

  get heartbeatMs(): number | undefined {
    return this.settings?.dispatcherHeartbeatMs;
  }

  /** Both clocks go on. */
  wait(ms: number): this {
    this.nowMs += ms;
    this.wallMs += ms;
    return this;
  }

  /** One turn of the leader, or of one that does not lead; `tune` is carried out. @returns it as a sentence, or nothing */
  look(): string[] {
    const nodes = this.leader ? this.nodes : this.nodes.map(it => ({ ...it, leader: it.hostname === 'pi2' }));
    const facts: Partial<Facts> = { nowMs: this.nowMs, wallMs: this.wallMs, wish: this.wish };
    if (this.settings !== undefined) facts.settings = structuredClone(this.settings);
    const now = leading(nodes, facts);
    if (this.settings === undefined) delete now.settings;
    const result = turn(this.peers === undefined ? now : { ...now, peers: this.peers }, this.world);
    this.world = result.world;
    this.decision = result.decision;
    for (const step of result.decision.steps) {
      if (step.action !== 'tune' || this.settings === undefined) continue;
      const { dispatcherHeartbeatMs, nodeCertExpiryMs } = step;
      this.settings = { dispatcherHeartbeatMs, nodeCertExpiryMs, labels: { ...this.labels, ...step.labels } };
      this.writes++;
    }
    return sentences(result.decision).filter(it => it.startsWith('tune '));
  }

  set(name: string, more: Partial<SwarmNode>): this {
    this.nodes = this.nodes.map(it => (it.hostname === name ? { ...it, ...more } : it));
    return this;
  }

  go(name: string): this {
    this.set(name, { state: 'down' }).look();
    return this;
  }

  back(name: string): this {
    this.set(name, { state: 'ready' }).look();
    return this;
  }

  flap(name: string, times = 1, downMs = 5_000): this {
    for (let time = 0; time < times; time++) this.go(name).wait(downMs).back(name).wait(1_000);
    return this;
  }

  /** A leader that was started a moment ago: it remembers nothing. */
  restart(): this {
    this.world = undefined;
    return this;
  }

  notices() {
    if (this.world === undefined) throw new Error('it has not looked yet');
    return noticesOf(this.world, { refusals: { count: 0 }, clockBehind: false, notices: [] });
  }
}

/** A leader that finds the swarm at that level, for so long. */
export const patient = (level: number, ageMs = 0, shelf = new Shelf()): Shelf => {
  shelf.settings = {
    dispatcherHeartbeatMs: heartbeatAt(1_000, level),
    nodeCertExpiryMs: WISH.nodeCertExpiryMs,
    labels: {
      'pi-swarm.tag': TAG,
      'pi-swarm.patience': String(level),
      'pi-swarm.patience-since': new Date(shelf.wallMs - ageMs).toISOString(),
      'pi-swarm.patience-node': nodeIdOf('pi3'),
    },
  };
  shelf.look();
  return shelf;
};
