/** `pi-swarm doctor` */
import type { Command } from 'commander';
import { EXIT } from '../errors.ts';
import type { Check, DoctorFacts } from './doctor-check.ts';
import { clusterChecks } from './doctor-cluster.ts';
import { dockerChecks } from './doctor-docker.ts';
import { collectFacts } from './doctor-facts.ts';
import { machineChecks } from './doctor-machine.ts';
import { type CommonOptions, readingCommand } from './options.ts';
import { type Paint, paintFor, say, sayJson, wrap } from './output.ts';
import { columns } from './status.ts';

export function doctorCommand(): Command {
  return readingCommand('doctor', [
    'sudo pi-swarm doctor',
    'sudo pi-swarm doctor --quiet                  only what is wrong',
    'sudo pi-swarm doctor --json | jq \'.[] | select(.verdict == "error")\'',
  ])
    .description(
      'Checks this Pi: the machine, Docker, the kernel, the network, the agent; and says how to cure what is wrong.\nWorks without the agent; needs root to see everything. Ends with code 8 when it found an error.',
    )
    .option('-q, --quiet', 'show only what is wrong')
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions & { quiet?: boolean }>();
      const checks = allChecks(await collectFacts(options));
      const shown = options.quiet ? checks.filter(check => check.verdict !== 'ok') : checks;
      if (options.json) sayJson(shown);
      else for (const line of renderChecks(shown, paintFor(process.stdout), columns())) say(line);
      if (checks.some(check => check.verdict === 'error')) process.exitCode = EXIT.unhealthy;
    });
}

export const allChecks = (facts: DoctorFacts): Check[] => [
  ...machineChecks(facts),
  ...dockerChecks(facts),
  ...clusterChecks(facts),
];

const MARK = { ok: ['green', '✓'], warning: ['yellow', '!'], error: ['red', '✗'] } as const;

/** What is fine in one line each; what is not, with its cure below. A count at the end. */
export function renderChecks(checks: readonly Check[], paint: Paint, width: number): string[] {
  const lines: string[] = [];
  for (const { verdict, text, cure } of checks) {
    const [style, mark] = MARK[verdict];
    const [first = '', ...rest] = wrap(text, width - 2, '  ');
    lines.push(`${paint(style, mark)} ${first}`, ...rest);
    if (cure !== undefined) lines.push(...wrap(`  → ${cure}`, width, '    '));
  }
  const count = (verdict: Check['verdict']) => checks.filter(check => check.verdict === verdict).length;
  const [errors, warnings] = [count('error'), count('warning')];
  const total =
    errors + warnings === 0 ? 'Nothing is wrong.' : `${plural(errors, 'error')}, ${plural(warnings, 'warning')}.`;
  return lines.length === 0 ? [total] : [...lines, '', total];
}

const plural = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;
