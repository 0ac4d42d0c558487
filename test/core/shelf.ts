/** A swarm on which the steps of the rules take effect, second by second, while its Pis feel well or not. */
import type { Facts, World } from '../../src/core/observe.ts';
import { sentences } from '../../src/core/step.ts';
import { turn } from '../../src/core/turn.ts';
import type { Intent, SwarmNode, SwarmTask, Vitals } from '../../src/core/world.ts';
import { leading, manager, service } from './build.ts';

export const HOT: Vitals = { temperatureCelsius: 84 };
/** Cooler than its limit, but not yet better. */
export const WARM: Vitals = { temperatureCelsius: 77 };
export const COOL: Vitals = { temperatureCelsius: 50 };

/** A swarm on which each turn's steps take effect; every Pi's vitals, and what waits, are set by the test. */
export class Shelf {
  nodes: SwarmNode[];
  vitals: Record<string, Vitals> = {};
  intents: Record<string, Intent> = {};
  tasks: SwarmTask[] = [];
  more: Partial<Facts> = {};
  world: World | undefined;
  /** The steps of each turn that wanted any. */
  said: string[] = [];
  /** Writes to nodes for the health of their Pis. */
  writes = 0;
  nowMs = 1_000_000;

  constructor(nodes: SwarmNode[]) {
    this.nodes = nodes;
  }

  facts(): Facts {
    const now = leading(this.nodes, { tasks: this.tasks, services: [service('web')], ...this.more });
    const { pi1 } = this.vitals;
    const peers = now.peers.map(it => {
      const { name, intent } = it.status;
      return { ...it, status: { ...it.status, vitals: this.vitals[name] ?? {}, intent: this.intents[name] ?? intent } };
    });
    return {
      ...now,
      nowMs: this.nowMs,
      wallMs: 1e12 + this.nowMs,
      peers,
      self: pi1 === undefined ? now.self : { ...now.self, vitals: pi1 },
    };
  }

  turn(): void {
    const { world, decision } = turn(this.facts(), this.world);
    this.world = world;
    if (decision.steps.length > 0) this.said.push(...sentences(decision));
    for (const step of decision.steps) {
      if (step.action === 'promote') {
        this.nodes = this.nodes.map(it =>
          it.nodeId === step.node ? { ...it, role: 'manager', voter: true, reachable: true } : it,
        );
      }
      if (step.action !== 'pause' && step.action !== 'activate' && step.action !== 'label') continue;
      const availability = { pause: 'pause', activate: 'active', label: undefined }[step.action] as 'pause' | undefined;
      this.writes += 1;
      this.nodes = this.nodes.map(it => (it.nodeId === step.node ? changed(it, step.labels, availability) : it));
    }
  }

  /** A turn each second; what it said meanwhile. */
  for(seconds: number): string[] {
    this.said = [];
    for (let second = 0; second < seconds; second += 1) {
      this.nowMs += 1_000;
      this.turn();
    }
    return this.said;
  }

  at(name: string): SwarmNode {
    const found = this.nodes.find(({ hostname }) => hostname === name);
    if (found === undefined) throw new Error(`no ${name}`);
    return found;
  }
}

function changed(
  it: SwarmNode,
  change: Record<string, string | null>,
  availability?: SwarmNode['availability'],
): SwarmNode {
  const labels = Object.entries({ ...it.labels, ...change }).filter(
    (entry): entry is [string, string] => entry[1] !== null,
  );
  return { ...it, labels: Object.fromEntries(labels), availability: availability ?? it.availability };
}

export const three = () => new Shelf([manager('pi1'), manager('pi2'), manager('pi3')]);
export const waiting = (serviceId = 'web'): SwarmTask => ({
  id: 'waits',
  serviceId,
  nodeId: '',
  slot: 9,
  state: 'pending',
  desired: 'running',
});
