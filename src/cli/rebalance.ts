/** `pi-swarm rebalance` */
import { Command } from 'commander';
import type { RebalanceReport } from '../commands/types.ts';
import { callAgent } from '../control/client.ts';
import { duration } from '../core/rebalance.ts';
import { withExamples } from './help.ts';
import { type CommonOptions, socketOf } from './options.ts';
import { note, say, sayJson } from './output.ts';
import { limitMsOf, passing, waitFor } from './wait.ts';

interface RebalanceOptions extends CommonOptions {
  dryRun?: boolean;
  timeout: string;
}

export function rebalanceCommand(): Command {
  const command = new Command('rebalance')
    .description(
      'Evens out the load now: tasks move from full Pis to empty ones, and new ones run before old ones stop. The cluster does so by itself when all Pis have been up for a while (settings rebalance, steadyFor).\nLeft where they are: services that run on every Pi; those with local volumes, constraints or placement preferences, unless their label pi-swarm.rebalance says on; those where it says off.',
    )
    .option('--dry-run', 'only show what would move')
    .option('--json', 'print JSON instead, for programs')
    .option('--timeout <time>', 'how long to wait', '120s')
    .action(async (_options, self: Command) => {
      const options = self.optsWithGlobals<RebalanceOptions>();
      const limitMs = limitMsOf(options.timeout);
      const socket = await socketOf(options);
      const ask = async (dryRun: boolean) => (await callAgent(socket, 'rebalance', { dryRun })) as RebalanceReport;
      const first = await ask(options.dryRun === true);
      if (options.dryRun || isDone(first)) return show(first, options.json === true);
      if (!options.json) for (const line of planText(first)) say(line);
      const moved = new Moved();
      const last = await waitFor<RebalanceReport>({
        what: 'the load to be even',
        limitMs,
        look: passing(async () => moved.watch(await ask(false))),
        done: isDone,
        progress,
        why: seen => seen?.waits,
        cure: 'What is moving goes on. pi-swarm rebalance --dry-run says what is left to do; pi-swarm status, what is wrong.',
      });
      if (options.json) sayJson({ ...last, moved: moved.all });
      else say('done: the load is even');
    });
  return withExamples(command, [
    'pi-swarm rebalance --dry-run             what would move?',
    'pi-swarm rebalance                       move it now',
    'docker service update --label-add pi-swarm.rebalance=off web',
  ]);
}

/** What was on its way while we looked. */
class Moved {
  readonly all: RebalanceReport['moving'] = [];
  #before: string[] = [];

  watch(report: RebalanceReport): RebalanceReport {
    const now = report.moving.map(move => ({ move, key: `${move.from} ${move.service}` }));
    this.all.push(...now.filter(({ key }) => !this.#before.includes(key)).map(({ move }) => move));
    this.#before = now.map(({ key }) => key);
    return report;
  }
}

const isEven = ({ plan, moving }: RebalanceReport): boolean => plan.length === 0 && moving.length === 0;

/** What is incomplete now may turn out to be uneven. */
const isDone = (report: RebalanceReport): boolean => isEven(report) && report.waits === undefined;

function show(report: RebalanceReport, json: boolean): void {
  if (json) {
    sayJson(report);
    return;
  }
  for (const line of planText(report)) say(line);
  for (const { service, count, from } of report.moving) say(`${service}: ${tasks(count)} from ${from}, on the way`);
  if (isEven(report)) say('nothing to move: the load is even');
  else if (report.byItselfInMs !== undefined) sayWhen(report.byItselfInMs);
  else if (report.waits !== undefined) say(`not yet: ${report.waits}`);
  else if (!report.automatic) say(`not by itself: the configuration says \`rebalance: false\`; ${NOW}`);
  for (const { service, why } of report.leftAlone) note(`${service} stays where it is: ${why}`);
}

const NOW = '`pi-swarm rebalance` does it now';

function sayWhen(ms: number): void {
  if (ms > 0) say(`by itself in ${duration(ms)}; ${NOW}`);
}

const planText = ({ plan }: RebalanceReport): string[] =>
  plan.map(({ service, count, from, to }) => `${service}: ${tasks(count)} from ${from} to ${counted(to)}`);

const tasks = (count: number): string => (count === 1 ? '1 task' : `${count} tasks`);

/** `pi2×2 pi3` */
const counted = (names: readonly string[]): string =>
  [...new Set(names)]
    .map(name => ({ name, count: names.filter(it => it === name).length }))
    .map(({ name, count }) => (count === 1 ? name : `${name}×${count}`))
    .join(' ');

function progress({ plan, moving, waits }: RebalanceReport): string {
  if (moving.length > 0) {
    return moving
      .map(({ service, count, from }) => `moving ${tasks(count)} of ${service} away from ${from}`)
      .join(', ');
  }
  const left = plan.length === 1 ? '1 move left' : `${plan.length} moves left`;
  // Without its seconds: a new line each second tells nothing.
  if (waits !== undefined) return `waiting: ${waits.replace(/[:;,][^:;,]*\d+ of \d+ s$/, '')}`;
  return plan.length === 0 ? '' : left;
}
