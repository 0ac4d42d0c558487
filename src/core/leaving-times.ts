/** How long Pis that go have been going. Pure memory from one turn to the next. */
import { LEAVING_LABEL } from './labels.ts';
import { isOutdated } from './move-times.ts';
import type { Facts, World } from './observe.ts';
import type { SwarmNode } from './world.ts';

/** Since when each leaving node takes no new work, by swarm node id. Who was only drained, and now goes, has its time from then on. */
export function leavingSince({ nodes, nowMs, wish }: Facts, before: World | undefined): Record<string, number> {
  // Through an election the time runs on; nobody takes longer than `drainTimeout` to go.
  const last = !before || isOutdated(before.moves, nowMs, wish.drainTimeoutMs) ? {} : before.leavingSinceMs;
  if (nodes === undefined) return last;
  const leaving = nodes.filter(node => markOf(node) !== undefined && node.availability !== 'active');
  return Object.fromEntries(
    leaving.map(node => {
      const old = before?.nodes?.find(({ nodeId }) => nodeId === node.nodeId);
      const same = old === undefined || markOf(old) === markOf(node);
      return [node.nodeId, (same ? last[node.nodeId] : undefined) ?? nowMs];
    }),
  );
}

const markOf = ({ labels }: SwarmNode): string | undefined => labels[LEAVING_LABEL];

/** Of `drainTimeout`: so much longer may it take where two Pis go at once. */
const HELD_SHARE = 0.3;

/**
 * How long, of that time, a service of the node has been on its way from another Pi: meanwhile its own tasks cannot move.
 * By swarm node id, in ms.
 */
export function heldBack(
  facts: Facts,
  since: Record<string, number>,
  before: World | undefined,
): Record<string, number> {
  const { nowMs, wish } = facts;
  return Object.fromEntries(
    Object.entries(since).map(([nodeId, sinceMs]) => {
      const last = before?.leavingSinceMs[nodeId] === sinceMs ? (before.heldBackMs[nodeId] ?? 0) : 0;
      const passedMs = nowMs - Math.max(before?.nowMs ?? nowMs, sinceMs);
      const heldMs = isHeld(facts, nodeId) ? last + passedMs : last;
      return [nodeId, Math.min(heldMs, wish.drainTimeoutMs * HELD_SHARE)];
    }),
  );
}

const isHeld = ({ services = [], tasks = [] }: Facts, node: string): boolean =>
  services.some(
    ({ id, move }) =>
      move !== undefined &&
      move.from !== node &&
      tasks.some(({ serviceId, nodeId, desired }) => serviceId === id && nodeId === node && desired === 'running'),
  );
