/** `drain` and `drained`: a Pi gives its work away and takes none, until that is undone. On a manager. */
import * as z from 'zod';
import { LEAVING_LABEL, RETURN_LABEL } from '../core/observe.ts';
import type { SwarmNode } from '../core/world.ts';
import { NotFoundError, RefusedError, UsageError } from '../errors.ts';
import type { NodeChange } from '../ports.ts';
import { readBody } from './body.ts';
import { boundTo } from './bound.ts';
import type { CommandDeps, DrainAnswer, DrainReport } from './types.ts';

const drainBody = z.strictObject({ pi: z.string().min(1).max(253), undo: z.boolean().default(false) });
const drainedBody = z.strictObject({ node: z.string().min(1).max(64) });

/** Shorter beginnings of an id are more likely typing mistakes. */
const PREFIX_MIN = 5;

/**
 * Marks the Pi; the leader moves its work (`core/leaving`).
 * @returns DrainAnswer
 * @throws NotFoundError, UsageError for a name that two Pis have, RefusedError where it cannot be
 */
export async function drain(
  deps: Pick<CommandDeps, 'engine' | 'snapshot' | 'world'>,
  body: unknown,
): Promise<DrainAnswer> {
  const { pi, undo } = readBody(drainBody, body);
  const [nodes, tasks] = await Promise.all([deps.engine.nodes(), deps.engine.tasks()]);
  const names = new Map(deps.snapshot().cluster.pis.map(({ swarmNodeId, name }) => [swarmNodeId, name]));
  const nameOf = (node: SwarmNode): string => names.get(node.nodeId) ?? node.hostname;
  const node = find(nodes, pi, nameOf);
  const change = undo ? toUse(node, nameOf(node)) : toDrain(nodes, node, nameOf(node));
  const services = await deps.engine.services({ tasks, nodes });
  if (change !== undefined) await deps.engine.nodeUpdate(node.nodeId, change);
  const wish = deps.world()?.wish;
  return {
    node: node.nodeId,
    name: nameOf(node),
    changed: change !== undefined,
    off: node.state !== 'ready',
    already: change === undefined && node.availability === 'drain',
    running: Object.fromEntries(services.map(service => [service.name, service.running])),
    bound: boundTo(node.nodeId, nodes, services, tasks),
    ...(wish?.rebalance ? { shareAfterMs: wish.steadyForMs } : {}),
  };
}

function find(nodes: readonly SwarmNode[], word: string, nameOf: (node: SwarmNode) => string): SwarmNode {
  const wanted = word.toLowerCase().replace(/\.local$/, '');
  const named = nodes.filter(node => [nameOf(node), node.hostname].some(name => name.toLowerCase() === wanted));
  const starting = nodes.filter(({ nodeId }) => wanted.length >= PREFIX_MIN && nodeId.startsWith(wanted));
  const found = named.length > 0 ? named : starting;
  const [node] = found;
  if (node === undefined) {
    const known = nodes.map(nameOf).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
    throw new NotFoundError(`there is no Pi called ${word} in the swarm`, `There are: ${known.join(', ')}`);
  }
  if (found.length > 1) {
    const ids = found.map(({ nodeId, state }) => `${nodeId} (${state})`).join(', ');
    throw new UsageError(`${found.length} Pis are called ${word}`, `Write the id of the one you mean: ${ids}`);
  }
  return node;
}

function toDrain(nodes: readonly SwarmNode[], node: SwarmNode, name: string): NodeChange | undefined {
  const mark = node.labels[LEAVING_LABEL];
  if (mark === 'drain' || (mark === 'shutdown' && node.labels[RETURN_LABEL] === 'marked')) return undefined;
  if (mark === 'leave') throw isLeaving(name);
  if (mark === 'shutdown') return { labels: { [RETURN_LABEL]: 'marked' } };
  const others = nodes.filter(it => it !== node && it.state === 'ready' && it.availability === 'active');
  if (others.length === 0) {
    throw new RefusedError(
      `there is no other Pi that could take the work of ${name}`,
      'Power on another one, or let a drained one work again: pi-swarm drain PI --undo',
    );
  }
  const labels = { [LEAVING_LABEL]: 'drain' };
  // First no new work; what runs there moves before it stops.
  return node.availability === 'active' ? { availability: 'pause', labels } : { labels };
}

function toUse(node: SwarmNode, name: string): NodeChange | undefined {
  const mark = node.labels[LEAVING_LABEL];
  if (mark === 'leave') throw isLeaving(name);
  if (mark === 'shutdown') {
    return node.labels[RETURN_LABEL] === undefined ? undefined : { labels: { [RETURN_LABEL]: null } };
  }
  if (mark === undefined && node.availability === 'active') return undefined;
  return { availability: 'active', labels: { [LEAVING_LABEL]: null } };
}

const isLeaving = (name: string): RefusedError =>
  new RefusedError(
    `${name} is leaving the cluster`,
    'Once it has left nothing runs there. It comes back with: sudo pi-swarm join',
  );

/** How far a drain is. @returns DrainReport @throws NotFoundError where the Pi is gone */
export async function drained({ engine }: Pick<CommandDeps, 'engine'>, body: unknown): Promise<DrainReport> {
  const { node: nodeId } = readBody(drainedBody, body);
  const [nodes, tasks] = await Promise.all([engine.nodes(), engine.tasks()]);
  const node = nodes.find(it => it.nodeId === nodeId);
  if (node === undefined) throw new NotFoundError('that Pi is not in the swarm any more');
  const services = await engine.services({ tasks, nodes });
  const there = node.state === 'ready' ? tasks.filter(it => it.nodeId === nodeId && it.state === 'running') : [];
  const serviceTasks = services.map(service => ({
    service,
    count: there.filter(task => task.serviceId === service.id).length,
  }));
  return {
    marked: node.labels[LEAVING_LABEL] === 'drain' || node.labels[RETURN_LABEL] === 'marked',
    done: there.length === 0 && (node.availability === 'drain' || node.state === 'down'),
    there: serviceTasks
      .filter(({ count }) => count > 0)
      .map(({ service, count }) => ({ service: service.name, count })),
    short: services
      .filter(({ running, desired, replicas }) => replicas !== undefined && running < desired)
      .map(({ id, name, running, desired }) => {
        const waiting = tasks.find(it => it.serviceId === id && it.desired === 'running' && it.error !== undefined);
        return { service: name, running, desired, ...(waiting?.error ? { reason: waiting.error } : {}) };
      }),
  };
}
