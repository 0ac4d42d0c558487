/** M4: a leader that may fail at any moment hands over while it can (docs/decisions.md). Pure; `core/managers` acts on it. */
import { type Ailment, ailmentOf } from './ailments.ts';
import { visiblePeers, type World } from './observe.ts';
import { isOnTheMove } from './steady.ts';
import type { Decision } from './step.ts';
import type { SwarmNode } from './world.ts';

/** Node label: when its Pi gave leadership away because it was unwell, ms since 1970. Any leader can read it. */
export const HANDED_OVER_LABEL = 'pi-swarm.handed-over';

/** Not for what passes by itself: the engine has been seen to decide nothing for 25 s while it hands over. */
const AFTER_MS = 30_000;
/** The managers of a hot shelf would pass leadership round. */
const EVERY_MS = 3_600_000;
/** What makes a Pi slow, or ends it at any moment. A full disk does not get emptier on another leader. */
const WEAKENING: readonly Ailment[] = ['under-voltage', 'throttled', 'hot'];

/** Whether this node is the leader, this Pi, and should be it no longer. */
export function stepsDown(world: World, node: SwarmNode): boolean {
  const { swarm, nodes = [], services } = world;
  const isOwn = swarm.state === 'active' && swarm.leader && swarm.nodeId === node.nodeId;
  if (!isOwn || weaknessOf(world, node) === undefined || hasHandedOver(world, nodes)) return false;
  const others = nodes.filter(it => it !== node && it.role === 'manager' && it.reachable && it.state === 'ready');
  if (others.length < 2 || !others.some(other => isWell(world, other))) return false;
  // While leadership moves nothing is decided: not while anything is under way.
  const calm = services?.every(({ running, desired, move, updating }) => running >= desired && !move && !updating);
  return calm === true && !nodes.some(it => isOnTheMove(world, it));
}

export function handOver(world: World, node: SwarmNode): Decision {
  const ref = { node: node.nodeId, name: node.hostname || node.nodeId };
  return {
    rule: 'M4',
    why: `the leader is ${weaknessOf(world, node)}, and another manager is well`,
    steps: [
      { action: 'label', ...ref, labels: { [HANDED_OVER_LABEL]: `${world.wallMs}` } },
      { action: 'demote', ...ref },
    ],
  };
}

/** What weakens it now, and has for long enough. */
function weaknessOf(world: World, { nodeId }: SwarmNode): Ailment | undefined {
  return WEAKENING.find(ailment => {
    const { unwellSinceMs, calmSinceMs } = world.care.health[nodeId]?.[ailment] ?? {};
    return unwellSinceMs !== undefined && calmSinceMs === undefined && world.nowMs - unwellSinceMs >= AFTER_MS;
  });
}

/** Clocks differ, and some were wrong: a time that is far off, in either direction, says nothing. */
const hasHandedOver = (world: World, nodes: SwarmNode[]): boolean =>
  nodes.some(({ labels }) => Math.abs(world.wallMs - Number(labels[HANDED_OVER_LABEL])) < EVERY_MS);

const isWell = (world: World, { nodeId }: SwarmNode): boolean =>
  ailmentOf(world.care, nodeId) === undefined &&
  visiblePeers(world).some(
    ({ liveness, status }) => liveness === 'alive' && 'nodeId' in status.swarm && status.swarm.nodeId === nodeId,
  );
