/** `services`, `service`, `scale`, `rm`: what runs, and how much of it. On a manager. */
import * as z from 'zod';
import { meshTable, meshVersion } from '../core/mesh.ts';
import type { SwarmNode, SwarmService, SwarmTask } from '../core/world.ts';
import { NotFoundError, RefusedError } from '../errors.ts';
import { readBody, replicaCount, serviceName } from './body.ts';
import type { CommandDeps, ServiceDetail, ServiceReport } from './types.ts';

const nameBody = z.strictObject({ name: serviceName });
const scaleBody = z.strictObject({ name: serviceName, replicas: replicaCount });

/** Task states that end a task without it having done its work (swarmkit api/types.proto, TaskState). */
const FAILED = new Set(['failed', 'rejected', 'orphaned']);
const FAILURES_SHOWN = 5;

type Deps = Pick<CommandDeps, 'engine'>;

/** @returns ServiceReport[], by name */
export async function listServices({ engine }: Deps): Promise<ServiceReport[]> {
  const [tasks, nodes] = await Promise.all([engine.tasks(), engine.nodes()]);
  const services = await engine.services({ tasks, nodes });
  const names = namesOf(nodes);
  return services.map(service => report(service, tasks, names)).sort((a, b) => a.name.localeCompare(b.name));
}

/** @returns ServiceDetail @throws NotFoundError */
export async function oneService(
  { engine, meshApplied }: Deps & Pick<CommandDeps, 'meshApplied'>,
  body: unknown,
): Promise<ServiceDetail> {
  const { name } = readBody(nameBody, body);
  const [tasks, nodes] = await Promise.all([engine.tasks(), engine.nodes()]);
  const services = await engine.services({ tasks, nodes });
  const service = find(services, name);
  const names = namesOf(nodes);
  const failed = tasks.filter(task => task.serviceId === service.id && FAILED.has(task.state));
  const pending = tasks.filter(task => task.serviceId === service.id && task.state === 'pending' && task.error);
  const failures = [...failed, ...pending].slice(-FAILURES_SHOWN).map(task => ({
    task: task.id,
    pi: names.get(task.nodeId) ?? 'no Pi',
    state: task.state,
    reason: task.error ?? task.state,
  }));
  const detail: ServiceDetail = { ...report(service, tasks, names), failures, failed: failed.length };
  if (service.ports.some(port => port.mode === 'ingress')) {
    const version = meshVersion(meshTable(services, tasks));
    const applied = meshApplied();
    detail.open = { pis: applied.filter(it => it === version).length, of: applied.length };
  }
  return detail;
}

/** @returns { name, before, replicas } @throws NotFoundError, RefusedError for a service with one task on every Pi */
export async function scale(
  { engine }: Deps,
  body: unknown,
): Promise<{ name: string; before: number; replicas: number }> {
  const { name, replicas } = readBody(scaleBody, body);
  const service = find(await engine.services(), name);
  if (service.replicas === undefined) {
    const cure = `It has no number of copies. To give it one: pi-swarm rm ${name}, then deploy it without --global.`;
    throw new RefusedError(`${name} runs once on every Pi (--global)`, cure);
  }
  if (service.replicas !== replicas) await engine.serviceScale(name, replicas);
  return { name, before: service.replicas, replicas };
}

/** @throws NotFoundError */
export async function remove({ engine }: Deps, body: unknown): Promise<{ name: string }> {
  const { name } = readBody(nameBody, body);
  find(await engine.services(), name);
  await engine.serviceRemove(name);
  return { name };
}

function find(services: readonly SwarmService[], name: string): SwarmService {
  const found = services.find(service => service.name === name);
  if (found !== undefined) return found;
  const names = services.map(service => service.name).sort();
  const cure =
    names.length === 0 ? 'No service runs. Start one: pi-swarm deploy whoami' : `There are: ${names.join(', ')}`;
  throw new NotFoundError(`there is no service ${name}`, cure);
}

const namesOf = (nodes: readonly SwarmNode[]): Map<string, string> =>
  new Map(nodes.map(node => [node.nodeId, node.hostname]));

function report(service: SwarmService, tasks: readonly SwarmTask[], names: ReadonlyMap<string, string>): ServiceReport {
  const where: Record<string, number> = {};
  for (const task of tasks) {
    if (task.serviceId !== service.id || task.state !== 'running' || task.desired !== 'running') continue;
    const pi = names.get(task.nodeId) ?? task.nodeId;
    where[pi] = (where[pi] ?? 0) + 1;
  }
  const { id, name, image, replicas, running, desired, ports } = service;
  return { id, name, image, ...(replicas === undefined ? {} : { replicas }), running, desired, ports, where };
}
