/** What tests of whole clusters ask: Docker itself where it can tell, the agents where only they know. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { fetchSnapshot } from '../../src/control/client.ts';
import type { Snapshot } from '../../src/core/snapshot.ts';
import { formatSecret, generateSecret } from '../../src/io/secret.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { dockerOf, type HarnessOptions, waitFor } from './harness.ts';

export const AGENT_SOCKET = '/run/pi-swarm/agent.sock';

/** Pis of one new cluster. */
export const oneCluster = (options: HarnessOptions): HarnessOptions => ({
  secret: formatSecret(generateSecret()),
  ...options,
});

/** `GET /nodes`, as far as the tests care. */
export interface Node {
  id: string;
  name: string;
  role: 'leader' | 'manager' | 'worker';
  ready: boolean;
  availability: string;
  /** Managers: whether Raft reaches it. */
  reachable: boolean;
}

interface ApiNode {
  ID: string;
  Description: { Hostname: string };
  Spec: { Role: 'worker' | 'manager'; Availability: string };
  Status: { State: string };
  ManagerStatus?: { Leader?: boolean; Reachability?: string };
}

interface ApiTask {
  NodeID: string;
  Status: { State: string; ContainerStatus?: { ContainerID?: string } };
}

/** What the agent of a Pi shows. */
export const snapshotOf = (lab: Lab, pi: string): Promise<Snapshot> => fetchSnapshot(lab.inside(pi, AGENT_SOCKET));

/** Of the agent's process inside the Pi, or `none`: tells a new one from the one before. */
export function agentPid(lab: Lab, pi: string): string {
  try {
    return readFileSync(lab.inside(pi, '/run/lab/agent.pid'), 'utf8').trim();
  } catch {
    return 'none';
  }
}

async function firstAnswer<T>(pis: readonly string[], ask: (pi: string) => Promise<T>): Promise<T> {
  let last: unknown;
  for (const pi of pis) {
    try {
      return await ask(pi);
    } catch (error) {
      last = error; // A worker, or a manager without a majority: the next one.
    }
  }
  throw last;
}

/** The swarm's nodes as the first of `pis` that is a manager with a majority lists them. */
export function nodesOf(lab: Lab, pis: readonly string[] = lab.pis()): Promise<Node[]> {
  return firstAnswer(pis, async pi => {
    const nodes = (await dockerOf(lab, pi).listNodes()) as unknown as ApiNode[];
    return nodes.map(({ ID, Description, Spec, Status, ManagerStatus }) => ({
      id: ID,
      name: Description.Hostname,
      role: ManagerStatus?.Leader ? 'leader' : Spec.Role,
      ready: Status.State === 'ready',
      availability: Spec.Availability,
      reachable: ManagerStatus?.Reachability === 'reachable',
    }));
  });
}

export interface Task {
  pi: string;
  /** As whoami says it: the first 12 digits of the container's id. */
  container: string;
}

export const containersOf = (tasks: readonly Task[]): string[] => tasks.map(({ container }) => container);

/** Tasks of the service that run and are meant to, as the managers among `pis` list them. */
export function tasksOf(lab: Lab, service: string, pis: readonly string[] = lab.pis()): Promise<Task[]> {
  return firstAnswer(pis, async pi => {
    const engine = dockerOf(lab, pi);
    const filters = JSON.stringify({ service: [service], 'desired-state': ['running'] });
    const tasks = (await engine.listTasks({ filters })) as ApiTask[];
    const names = new Map((await nodesOf(lab, [pi])).map(({ id, name }) => [id, name]));
    return tasks
      .filter(({ Status }) => Status.State === 'running')
      .map(({ NodeID, Status }) => ({
        pi: names.get(NodeID) ?? NodeID,
        container: Status.ContainerStatus?.ContainerID?.slice(0, 12) ?? '',
      }));
  });
}

/** How many tasks of any service run on that node, also those that were told to stop, as the managers among `pis` list them. */
export function containersOn(lab: Lab, nodeId: string, pis: readonly string[] = lab.pis()): Promise<number> {
  return firstAnswer(pis, async pi => {
    const tasks = (await dockerOf(lab, pi).listTasks({ filters: JSON.stringify({ node: [nodeId] }) })) as ApiTask[];
    return tasks.filter(({ Status }) => Status.State === 'running').length;
  });
}

const rolesOf = (nodes: readonly Node[]): string =>
  nodes
    .map(({ role }) => role[0])
    .sort()
    .join('');

/** Exactly these Pis are in one swarm: all Ready and in use, one leader, so many managers that Raft reaches. */
export async function formed(lab: Lab, pis: readonly string[], managers: number, timeoutMs = 60_000): Promise<Node[]> {
  const roles = `l${'m'.repeat(managers - 1)}${'w'.repeat(pis.length - managers)}`;
  const look = async (): Promise<Node[]> => {
    const nodes = await nodesOf(lab, pis);
    // The leader calls a manager reachable before that one has its log: only then it answers itself.
    const managing = nodes.filter(({ role }) => role !== 'worker');
    await Promise.all(managing.map(({ name }) => dockerOf(lab, name).listNodes()));
    return nodes;
  };
  return waitFor(look, {
    what: `one swarm of ${pis.join(', ')} with ${managers} managers`,
    timeoutMs,
    everyMs: 200,
    is: nodes =>
      nodes
        .map(({ name }) => name)
        .sort()
        .join() === [...pis].sort().join() &&
      nodes.every(
        ({ ready, role, reachable, availability }) =>
          ready && availability === 'active' && reachable === (role !== 'worker'),
      ) &&
      rolesOf(nodes) === roles,
  });
}

/** So many tasks run on these Pis, and none is said to run anywhere else. */
export const running = (lab: Lab, count: number, pis: readonly string[], timeoutMs = 60_000): Promise<Task[]> =>
  waitFor(() => tasksOf(lab, 'whoami', pis), {
    what: `${count} tasks on ${pis.join(', ')}`,
    timeoutMs,
    is: tasks => tasks.length === count && tasks.every(({ pi }) => pis.includes(pi)),
  });

/** `I'm …` of each request, or curl's exit code where one failed. */
export async function answersOf(lab: Lab, pi: string, times: number): Promise<string[]> {
  const url = `http://${lab.address(pi)}/`;
  const script = `for i in $(seq ${times}); do curl -s --max-time 4 ${url} || echo "curl ended with $?"; done`;
  return (await lab.run('laptop', ['sh', '-c', script])).split('\n');
}

/** Each of these Pis answers, from all containers in turn; asked anew until the rules have followed the tasks. */
export async function answersEverywhere(
  lab: Lab,
  pis: readonly string[],
  containers: readonly string[],
  timeoutMs = 30_000,
): Promise<void> {
  const expected = containers.map(container => `I'm ${container}`).sort();
  for (const pi of pis) {
    await waitFor(() => answersOf(lab, pi, expected.length), {
      what: `an answer of each container from ${pi}: ${expected.join(', ')}`,
      timeoutMs,
      is: answers => [...answers].sort().join() === expected.join(),
    });
  }
  for (const pi of pis) expect((await answersOf(lab, pi, 2 * expected.length)).filter(failed)).toEqual([]);
}

export const failed = (answer: string): boolean => !answer.startsWith("I'm ");

/** Seconds since `begin`, with one digit. */
export const secondsSince = (begin: number): string => ((performance.now() - begin) / 1000).toFixed(1);

export const others = (lab: Lab, ...without: string[]): string[] => lab.pis().filter(pi => !without.includes(pi));

/** The first node with that role. @throws when there is none */
export function oneOf(nodes: readonly Node[], role: Node['role']): Node {
  const found = nodes.find(node => node.role === role);
  if (found === undefined) throw new Error(`there is no ${role}`);
  return found;
}
