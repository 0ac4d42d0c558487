/** `pi-swarm drain` */
import { Command } from 'commander';
import type { DrainAnswer, DrainReport } from '../commands/types.ts';
import { callAgent } from '../control/client.ts';
import { PiSwarmError, RefusedError } from '../errors.ts';
import { boundText, volumesText } from './bound-words.ts';
import { withExamples } from './help.ts';
import { type CommonOptions, socketOf } from './options.ts';
import { note, say } from './output.ts';
import { limitMsOf, passing, waitFor } from './wait.ts';

interface DrainOptions extends CommonOptions {
  undo?: boolean;
  detach?: boolean;
  timeout: string;
}

export function drainCommand(): Command {
  const command = new Command('drain')
    .description(
      'Takes the work off a Pi and keeps new work away, until --undo: other Pis run it before it stops there. The Pi stays in the cluster, also through a reboot.\nIt ends with code 0 when nothing runs there any more and everything runs elsewhere, with 8 when something has no place elsewhere, and with 6 at its limit.',
    )
    .argument('<pi>', 'name of the Pi, this one or another')
    .option('--undo', 'let it work again')
    .option('-d, --detach', 'do not wait')
    .option('--timeout <time>', 'how long to wait', '120s')
    .action(async (pi: string, _options, self: Command) => {
      const options = self.optsWithGlobals<DrainOptions>();
      const limitMs = limitMsOf(options.timeout);
      const socket = await socketOf(options);
      const undo = options.undo === true;
      const answer = (await callAgent(socket, 'drain', { pi, undo })) as DrainAnswer;
      if (undo) return say(undoneText(answer));
      const { name } = answer;
      const back = `To let it work again: pi-swarm drain ${name} --undo`;
      if (answer.off) return say(`${name} is off; it will get no work when it is back. ${back}`);
      if (answer.already) return say(`${name} is drained already. ${back}`);
      // A manager of an older release does not say it.
      for (const it of answer.bound?.only ?? []) note(`! ${boundText(it, name)}: it waits until ${name} works again`);
      for (const { service } of answer.bound?.volumes ?? []) note(`! ${volumesText(service, name)}`);
      if (!options.detach) await waitUntilEmpty(socket, answer, limitMs);
      else say(`${name} gives its work away. ${back}`);
    });
  return withExamples(command, [
    'pi-swarm drain pi3                 take the work off pi3, for example to clean its fan',
    'pi-swarm drain pi3 --undo          let it work again',
  ]);
}

function undoneText({ name, changed, off, shareAfterMs }: DrainAnswer): string {
  if (!changed) return `${name} is not drained`;
  if (off) return `${name} is off; it works again when it is back`;
  const when = shareAfterMs === undefined ? '' : `in about ${Math.round(shareAfterMs / 1000)} s, or at once `;
  return `${name} works again; it gets its share ${when}by: pi-swarm rebalance`;
}

/** What cannot move first (local volumes) is stopped, and then has to start elsewhere. */
const START_LIMIT_MS = 10_000;

async function waitUntilEmpty(socket: string, { node, name, running }: DrainAnswer, limitMs: number) {
  let atFirst: number | undefined;
  let emptySinceMs: number | undefined;
  const isToBlame = ({ service, ...now }: Short): boolean => now.running < (running?.[service] ?? now.desired);
  let before: Short[] = [];
  const last = await waitFor<DrainReport>({
    what: `${name} to give its work away`,
    limitMs,
    look: passing(async () => {
      const seen = (await callAgent(socket, 'drained', { node })) as DrainReport;
      if (!seen.marked) {
        throw new RefusedError(
          `somebody lets ${name} work again`,
          `To take its work off it after all: pi-swarm drain ${name}`,
        );
      }
      atFirst ??= tasksOf(seen);
      before = seen.short.filter(it => !isToBlame(it));
      return { ...seen, short: seen.short.filter(isToBlame) };
    }),
    done: ({ done, short }) => {
      if (!done) emptySinceMs = undefined;
      else emptySinceMs ??= performance.now();
      return emptySinceMs !== undefined && (short.length === 0 || performance.now() - emptySinceMs >= START_LIMIT_MS);
    },
    progress: seen => progress(seen, atFirst ?? 0),
    why: seen => (seen === undefined || seen.there.length === 0 ? undefined : `${thereText(seen)} there still`),
    cure: `It goes on. To let it work again: pi-swarm drain ${name} --undo`,
  });
  if (before.length > 0) note(`incomplete before that already: ${before.map(shortText).join('; ')}`);
  if (last.short.length === 0) {
    return say(`nothing runs on ${name} any more. To let it work again: pi-swarm drain ${name} --undo`);
  }
  note(`nothing runs on ${name} any more`);
  throw new PiSwarmError(
    'unhealthy',
    last.short.map(shortText).join('\n'),
    `What only ${name} can run waits for it: pi-swarm drain ${name} --undo`,
  );
}

type Short = DrainReport['short'][number];

const tasksOf = ({ there }: DrainReport): number => there.reduce((sum, { count }) => sum + count, 0);

const shortText = ({ service, running, desired, reason }: Short): string =>
  `${service}: ${running} of ${desired} run${reason === undefined ? '' : `, the swarm says: ${reason}`}`;

const thereText = ({ there }: DrainReport): string =>
  `${there.map(({ service }) => service).join(', ')} ${there.length === 1 ? 'runs' : 'run'}`;

function progress(seen: DrainReport, atFirst: number): string {
  if (seen.done) return ['nothing runs there any more', ...seen.short.map(shortText)].join('; ');
  if (atFirst === 0) return 'no new work gets there';
  const moved = Math.max(0, atFirst - tasksOf(seen));
  return `${moved} of ${atFirst} ${atFirst === 1 ? 'task' : 'tasks'} moved`;
}
