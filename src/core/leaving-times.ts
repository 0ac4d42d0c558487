/** How long Pis that go have been going. Pure memory from one turn to the next. */
import { LEAVING_LABEL } from './labels.ts';
import type { Facts, World } from './observe.ts';
import type { SwarmNode } from './world.ts';

/** Since when each leaving node takes no new work, by swarm node id. Who was only drained, and now goes, has its time from then on. */
export function leavingSince({ nodes, nowMs }: Facts, before: World | undefined): Record<string, number> {
  if (nodes === undefined) return before?.leavingSinceMs ?? {};
  const leaving = nodes.filter(node => markOf(node) !== undefined && node.availability !== 'active');
  return Object.fromEntries(
    leaving.map(node => {
      const old = before?.nodes?.find(({ nodeId }) => nodeId === node.nodeId);
      const same = old === undefined || markOf(old) === markOf(node);
      return [node.nodeId, (same ? before?.leavingSinceMs[node.nodeId] : undefined) ?? nowMs];
    }),
  );
}

const markOf = ({ labels }: SwarmNode): string | undefined => labels[LEAVING_LABEL];
