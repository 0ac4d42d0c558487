/** What a Pi cannot give away, for those who think about taking its work off it. On a manager. */
import * as z from 'zod';
import { nodesFor } from '../core/spread.ts';
import type { SwarmNode, SwarmService, SwarmTask } from '../core/world.ts';
import { readBody } from './body.ts';
import type { BoundReport, CommandDeps } from './types.ts';

const boundBody = z.strictObject({ node: z.string().min(1).max(64) });

/** @param body { node } a swarm node id @returns BoundReport */
export async function bound({ engine }: Pick<CommandDeps, 'engine'>, body: unknown): Promise<BoundReport> {
  const { node } = readBody(boundBody, body);
  const [nodes, tasks] = await Promise.all([engine.nodes(), engine.tasks()]);
  return boundTo(node, nodes, await engine.services({ tasks, nodes }), tasks);
}

/**
 * Where we cannot know whether another Pi would do, another one does. A service with one task on every Pi loses nothing. That there is no other Pi at all is
 * not for this to say.
 */
export function boundTo(
  nodeId: string,
  nodes: readonly SwarmNode[],
  services: readonly SwarmService[],
  tasks: readonly SwarmTask[],
): BoundReport {
  const others = nodes.filter(node => node.nodeId !== nodeId);
  const runsThere = (service: SwarmService): boolean =>
    tasks.some(
      task =>
        task.serviceId === service.id &&
        task.nodeId === nodeId &&
        task.state === 'running' &&
        task.desired === 'running',
    );
  const there = services.filter(service => service.replicas !== undefined && runsThere(service));
  const isAlone = !others.some(({ state }) => state === 'ready');
  const only = there.filter(service => !isAlone && nodesFor(service, others)?.length === 0);
  return {
    only: only.map(({ name, constraints = [] }) => ({ service: name, constraints })),
    volumes: there
      .filter(service => service.localVolumes === true && !only.includes(service))
      .map(({ name }) => ({ service: name })),
  };
}
