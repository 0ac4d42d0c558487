/** What the engines of a lab themselves say: demo and bench believe Docker, not pi-swarm. */
import { request } from 'node:http';
import { EngineError, messageOf } from '../src/errors.ts';
import type { Lab } from '../src/lab/lab.ts';

/** `GET /nodes`, as far as it is looked at here. */
export interface EngineNode {
  ID: string;
  Description: { Hostname: string };
  Spec: { Role: 'worker' | 'manager' };
  Status: { State: string };
  ManagerStatus?: { Leader?: boolean; Reachability?: string };
}

/** `GET /tasks`, as far as it is looked at here. */
interface EngineTask {
  NodeID: string;
  ServiceID: string;
  DesiredState: string;
  Status: { State: string };
}

/** One call to a Pi's engine over its socket, without a version prefix. @throws EngineError */
export function askEngine<T>(lab: Lab, pi: string, path: string, timeoutMs = 5000): Promise<T> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) =>
      reject(new EngineError(`The engine of ${pi} does not answer GET ${path}: ${messageOf(error)}`));
    const call = request({ socketPath: lab.engine(pi), path, timeout: timeoutMs, agent: false }, response => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', chunk => {
        text += chunk;
      });
      response.on('error', fail);
      response.on('end', () => {
        if (response.statusCode !== 200) fail(new Error(text.trim()));
        else resolve(JSON.parse(text) as T);
      });
    });
    call.on('timeout', () => call.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    call.on('error', fail);
    call.end();
  });
}

/** The nodes as the first of `pis` that is a manager with a quorum sees them; empty when none is. */
export async function nodesOf(lab: Lab, pis: readonly string[]): Promise<EngineNode[]> {
  for (const pi of pis) {
    try {
      return await askEngine<EngineNode[]>(lab, pi, '/nodes');
    } catch {
      // A worker, not in a swarm yet, or without a quorum: the next one.
    }
  }
  return [];
}

export const isReady = (node: EngineNode): boolean => node.Status.State === 'ready';
export const isLeader = (node: EngineNode): boolean => node.ManagerStatus?.Leader === true;

/** Managers that Raft reaches. */
export const countManagers = (nodes: readonly EngineNode[]): number =>
  nodes.filter(node => node.Spec.Role === 'manager' && node.ManagerStatus?.Reachability === 'reachable').length;

/** How many there should be (rule M1). */
export const managersFor = (pis: number): number => (pis >= 7 ? 5 : pis >= 3 ? 3 : pis);

/** All nodes Ready and as many as there are Pis. */
export function allReady(nodes: readonly EngineNode[], count: number): boolean {
  return nodes.length === count && nodes.every(isReady);
}

/** Host names of the Pis on which a task of the service runs and is meant to, one entry per task, asked of `pis`. */
export async function placesOf(lab: Lab, pis: readonly string[], service: string): Promise<string[]> {
  const filters = encodeURIComponent(JSON.stringify({ service: [service], 'desired-state': ['running'] }));
  for (const pi of pis) {
    try {
      const [nodes, tasks] = await Promise.all([
        askEngine<EngineNode[]>(lab, pi, '/nodes'),
        askEngine<EngineTask[]>(lab, pi, `/tasks?filters=${filters}`),
      ]);
      const names = new Map(nodes.map(node => [node.ID, node.Description.Hostname]));
      return tasks.filter(task => task.Status.State === 'running').map(task => names.get(task.NodeID) ?? task.NodeID);
    } catch {
      // The next one.
    }
  }
  return [];
}
