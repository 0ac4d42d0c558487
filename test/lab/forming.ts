/** Clusters that are formed again and again on the same Pis. */
import type { Snapshot } from '../../src/core/snapshot.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { formed, type Node, secondsSince, snapshotOf } from './cluster.ts';
import { waitFor } from './harness.ts';

/** What a person reads: `pi-swarm status --json`, whatever its exit code. */
export async function statusOf(lab: Lab, pi: string): Promise<Snapshot> {
  const { stdout, stderr } = await lab.exec(pi, ['pi-swarm', 'status', '--json']);
  if (stdout === '') throw new Error(`pi-swarm status on ${pi}: ${stderr}`);
  return JSON.parse(stdout) as Snapshot;
}

/** The agent's socket answers, and it has looked around once. */
export const agentIsUp = (lab: Lab, pi: string): Promise<Snapshot> =>
  waitFor(() => snapshotOf(lab, pi), { what: `the agent of ${pi}`, everyMs: 50 });

export const kindsOf = (snapshot: Snapshot): string[] => snapshot.notices.map(({ kind }) => kind);

/** Names of the Pis that it shows, in order. */
export const pisOf = (snapshot: Snapshot): string[] => snapshot.cluster.pis.map(({ name }) => name).sort();

/** Each of these Pis, asked by itself, hears all of them, shows exactly them as one sound swarm and has no more to do. @returns its id */
export async function agreed(lab: Lab, pis: readonly string[], timeoutMs = 20_000): Promise<string> {
  const views = await waitFor(() => Promise.all(pis.map(pi => snapshotOf(lab, pi))), {
    what: `${pis.join(', ')} to agree that they are one swarm`,
    timeoutMs,
    is: snapshots =>
      new Set(snapshots.map(({ cluster }) => cluster.swarmId)).size === 1 &&
      snapshots.every(snapshot => snapshot.cluster.state === 'ok' && pisOf(snapshot).join() === [...pis].sort().join()),
  });
  return views[0]?.cluster.swarmId ?? '';
}

/** Waits until these Pis are one swarm, in Docker's eyes and in each agent's, and says how long it took. */
export async function becomeOne(lab: Lab, pis: readonly string[], managers: number, what: string): Promise<Node[]> {
  const began = performance.now();
  await formed(lab, pis, managers);
  const formedAfter = secondsSince(began);
  await agreed(lab, pis);
  console.info(`${what}: formed after ${formedAfter} s, all agree after ${secondsSince(began)} s`);
  // That many managers for good, not only on the way to more.
  return formed(lab, pis, managers, 1_000);
}

/** Every Pi with a fresh card, its engine up and its agent off; all on one LAN. */
export async function startOver(lab: Lab): Promise<void> {
  await Promise.all(
    lab.pis().map(async pi => {
      await lab.powerCut(pi);
      await lab.wipe(pi, { agent: false });
      await lab.powerOn(pi);
    }),
  );
}

export const startAgents = (lab: Lab, pis: readonly string[] = lab.pis()): Promise<unknown> =>
  Promise.all(pis.map(pi => lab.startAgent(pi)));

/** How often the agents of these Pis have carried out a step, by their logs. */
export const timesDone = (lab: Lab, step: string): number =>
  lab.pis().reduce((sum, pi) => sum + lab.logs(pi, 'agent', 500).split(`"msg":"${step}: done"`).length - 1, 0);
