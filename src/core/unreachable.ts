/** Managers that Raft cannot reach: how many more may go is what a person should know before they do. Pure. */
import type { World } from './observe.ts';
import { majority } from './quorum.ts';
import type { Notice } from './snapshot.ts';
import type { SwarmNode } from './world.ts';

/** A Pi that becomes a manager is one before Raft has reached it, for a second or some. */
const RISING_MS = 10_000;

/**
 * A member of Raft that does not answer it, for longer than a promotion takes. Only managers see for how long; a worker takes the leader's word, who has
 * waited for it (`settledNodes`).
 */
export function isUnreachable(world: World, node: SwarmNode): boolean {
  if (node.role !== 'manager' || !node.voter || node.reachable) return false;
  if (world.nodes === undefined) return true;
  const since = world.trouble[node.nodeId]?.unreachableSinceMs;
  return since !== undefined && world.nowMs - since >= RISING_MS;
}

/** What the leader tells others of the nodes: who is only becoming a manager does not count as one that is lost. */
export const settledNodes = (world: World, nodes: readonly SwarmNode[]): SwarmNode[] =>
  nodes.map(node =>
    node.voter && !node.reachable && !isUnreachable(world, node) ? { ...node, reachable: true } : node,
  );

/** One for all of them. None where the swarm has stopped deciding already: that has a notice of its own. */
export function unreachableNotices(world: World, nodes: readonly SwarmNode[]): Notice[] {
  const lost = nodes.filter(node => isUnreachable(world, node));
  if (lost.length === 0 || world.since.orphanMs !== undefined) return [];
  const voters = nodes.filter(node => node.voter);
  const spare = voters.length - lost.length - majority(voters.length);
  const [one, who] = lost.length === 1 ? ['a manager', 'it'] : ['managers', 'them'];
  const last = spare <= 0 ? 'one more goes' : `${spare + 1} more go`;
  const text = `${lost.map(node => node.hostname).join(' and ')}, ${one}, cannot be reached: when ${last}, the swarm stops deciding.`;
  const cure = `Check ${who}: power, network, \`systemctl status docker\`. Where that does not help, \`sudo systemctl restart docker\` there; other Pis become managers instead by themselves, if there are any.`;
  return [{ severity: 'warning', kind: 'manager-unreachable', text, cure }];
}
