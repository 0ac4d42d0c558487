/** `pi-swarm leave` */
import { Command } from 'commander';
import type { BoundReport } from '../commands/types.ts';
import { callAgent, fetchSnapshot } from '../control/client.ts';
import type { Snapshot } from '../core/snapshot.ts';
import { isPiSwarmError, RefusedError } from '../errors.ts';
import { boundText, volumesText } from './bound-words.ts';
import { withExamples } from './help.ts';
import { type CommonOptions, socketOf } from './options.ts';
import { note, say } from './output.ts';
import { limitMsOf, waitFor } from './wait.ts';

interface LeaveOptions extends CommonOptions {
  force?: boolean;
  detach?: boolean;
  timeout: string;
}

export function leaveCommand(): Command {
  const command = new Command('leave')
    .description(
      'Takes this Pi out of the cluster: its work moves to the others, then it leaves the swarm.\nIt keeps the cluster secret and does not come back by itself; `sudo pi-swarm join` brings it back.',
    )
    .option('--force', 'also when services would end: this is the last Pi, or no other one may run them')
    .option('-d, --detach', 'do not wait until it is out')
    .option('--timeout <time>', 'how long to wait', '120s')
    .action(async (_options, self: Command) => {
      const options = self.optsWithGlobals<LeaveOptions>();
      const limitMs = limitMsOf(options.timeout);
      const socket = await socketOf(options);
      const before = await fetchSnapshot(socket);
      if (hasLeft(before)) return say(`${before.self.name} has left already. To bring it back: sudo pi-swarm join`);
      if (options.force !== true) await refuseWhatWouldEnd(socket, before);
      await callAgent(socket, 'leave', { force: options.force === true });
      if (options.detach) return;
      const { self: pi } = await waitFor<Snapshot>({
        what: 'this Pi to leave',
        limitMs,
        cure: 'It goes on trying: pi-swarm status. To stay after all: sudo pi-swarm join',
        look: () => fetchSnapshot(socket),
        done: hasLeft,
        progress,
        why: seen => seen?.doing,
      });
      say(`${pi.name} has left the cluster. To bring it back: sudo pi-swarm join`);
    });
  return withExamples(command, [
    'sudo pi-swarm leave',
    'sudo pi-swarm leave --force',
    'sudo pi-swarm leave --timeout 5m',
  ]);
}

/** Where no manager answers nobody knows, and going is not held up by that. */
async function refuseWhatWouldEnd(socket: string, { self }: Snapshot): Promise<void> {
  if (self.swarm.state !== 'active' || self.intent === 'leave') return;
  const passes = ['unavailable', 'timeout', 'notFound'];
  const report = (await callAgent(socket, 'bound', { node: self.swarm.nodeId }).catch((error: unknown) => {
    if (isPiSwarmError(error) && passes.includes(error.code)) return undefined;
    throw error;
  })) as BoundReport | undefined;
  for (const { service } of report?.volumes ?? []) note(`! ${volumesText(service, self.name)}`);
  if (report === undefined || report.only.length === 0) return;
  throw new RefusedError(
    report.only.map(it => `${boundText(it, self.name)} and would end`).join('\n'),
    'Let it run on another Pi first (rm, then deploy it anew). If that is meant: sudo pi-swarm leave --force',
  );
}

const hasLeft = ({ self }: Snapshot): boolean => self.intent === 'left' && self.swarm.state === 'none';

const HANDING_OVER = 'handing over to the other managers';

/** What a person wants to know of a Pi that goes: how much work is still on it, and whether others wait for it. */
export function progress(snapshot: Snapshot): string {
  const { self, doing } = snapshot;
  if (hasLeft(snapshot)) return 'left';
  const { swarm } = self;
  if (swarm.state !== 'active') return doing;
  if (self.tasks > 0) return `draining ${self.tasks} ${self.tasks === 1 ? 'task' : 'tasks'}`;
  return swarm.role === 'manager' && !doing.includes(HANDING_OVER) ? `${HANDING_OVER} (${doing})` : doing;
}
