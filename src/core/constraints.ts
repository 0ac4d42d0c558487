/** Where swarm lets a service run: placement constraints and platforms, by the swarm's own rules. Pure. */
import type { SwarmNode } from './world.ts';

export interface Constraint {
  key: string;
  equal: boolean;
  value: string;
}

/** `node.labels.ssd == true` and `node.role!=manager`; undefined for what is neither (swarmkit `manager/constraint`, Parse). */
export function parseConstraint(text: string): Constraint | undefined {
  const [, key = '', operator = '', value = ''] = /^\s*([a-z_][a-z0-9\-_.]*?)\s*(==|!=)(.*)$/i.exec(text) ?? [];
  return key === '' ? undefined : { key, equal: operator === '==', value: value.trim() };
}

/**
 * Whether the swarm would let this node run it; undefined where we cannot know: labels of engines and addresses are not in
 * what we read. Keys and values are compared without regard to case, and a label that is not there is empty (swarmkit,
 * `NodeMatches`).
 */
export function holds({ key, equal, value }: Constraint, node: SwarmNode): boolean | undefined {
  const is = wordOf(key, node);
  if (is === 'unknown') return undefined;
  if (is === undefined) return false;
  return (is.toLowerCase() === value.toLowerCase()) === equal;
}

/** The node's word for that key; undefined for a key that no node has. */
function wordOf(key: string, node: SwarmNode): string | undefined {
  const label = /^node\.labels\.(.+)$/i.exec(key)?.[1];
  if (label !== undefined) return Object.hasOwn(node.labels, label) ? (node.labels[label] ?? '') : '';
  if (/^engine\.labels\../i.test(key)) return 'unknown';
  switch (key.toLowerCase()) {
    case 'node.id':
      return node.nodeId;
    case 'node.hostname':
      return node.hostname;
    case 'node.role':
      return node.role;
    case 'node.platform.os':
      return node.os;
    case 'node.platform.arch':
      return node.architecture;
    case 'node.ip':
      return 'unknown';
    default:
      return undefined;
  }
}

const NAMES = new Map([
  ['x86_64', 'amd64'],
  ['aarch64', 'arm64'],
]);
const normal = (architecture: string): string => NAMES.get(architecture) ?? architecture;

/** Empty parts fit everything (swarmkit `scheduler/filter.go`, PlatformFilter). */
export const platformFits = (
  platforms: readonly { os: string; architecture: string }[] | undefined,
  node: SwarmNode,
): boolean =>
  platforms === undefined ||
  platforms.length === 0 ||
  platforms.some(
    ({ os, architecture }) =>
      (os === '' || os === node.os) && (architecture === '' || normal(architecture) === normal(node.architecture)),
  );
