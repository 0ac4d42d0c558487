/** `npm run bench`: the project's measures as a table, each row beside its reference in the same run. */
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { reportError } from '../src/cli/output.ts';
import { UsageError } from '../src/errors.ts';
import { Lab } from '../src/lab/lab.ts';
import { weight } from './bench/agent.ts';
import { failover, formation } from './bench/cluster.ts';
import { planned } from './bench/leave.ts';
import { type BenchContext, LAB_NAME, median, type Row } from './bench/measure.ts';
import { paint, Show } from './show.ts';

const HELP = `npm run bench [-- OPTIONS]

  --rounds N   how often each is measured (5)
  --quick      two rounds and a shorter rest: 12 minutes instead of 30
  --only PART  formation, failover, leader, planned or agent; may be repeated
  --json       machine-readable, on standard output
  --help       this`;

const PARTS = {
  formation: async (context: BenchContext) => [...(await formation(context, 3)), ...(await formation(context, 5))],
  failover: (context: BenchContext) => failover(context, 'another'),
  leader: (context: BenchContext) => failover(context, 'leader'),
  planned,
  agent: weight,
} satisfies Record<string, (context: BenchContext) => Promise<Row[]>>;
type Part = keyof typeof PARTS;

const isPart = (word: string): word is Part => word in PARTS;

async function main(args: string[]): Promise<void> {
  const flag = { type: 'boolean', default: false } as const;
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string' },
      quick: flag,
      json: flag,
      only: { type: 'string', multiple: true, default: Object.keys(PARTS) },
      help: { ...flag, short: 'h' },
    },
  });
  if (values.help) return console.log(HELP);
  const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
  const parts = values.only.filter(isPart);
  if (!(Number.isInteger(rounds) && rounds > 0 && parts.length === values.only.length)) {
    throw new UsageError('bench did not understand its options.', HELP);
  }
  const stop = new AbortController();
  const onSignal = () => stop.abort(new Error('interrupted; the lab is taken down'));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  await new Lab({ name: LAB_NAME }).down();
  const machine = describeMachine();
  const rows = await measure(parts, { rounds, quick: values.quick, signal: stop.signal });
  if (values.json) console.log(JSON.stringify({ machine, rounds, rows: rows.map(withVerdict) }, null, 2));
  else print(machine, rounds, rows);
}

async function measure(parts: Part[], options: Omit<BenchContext, 'progress'>): Promise<Row[]> {
  const rows: Row[] = [];
  for (const part of parts) {
    // On stderr: what a program reads stays JSON.
    const progress = (text: string) => process.stderr.write(`${paint('dim', `  … ${text}`)}\n`);
    rows.push(...(await PARTS[part]({ ...options, progress })));
  }
  return rows;
}

function describeMachine(): Record<string, string | number> {
  return {
    cores: cpus().length,
    processor: cpus()[0]?.model ?? 'unknown',
    memoryGb: Math.round(totalmem() / 1e9),
    kernel: release(),
    engine: execFileSync('dockerd', ['--version'], { encoding: 'utf8' }).trim(),
    node: process.versions.node,
  };
}

const worst = (values: readonly number[]): number => Math.max(...values);

/** `undefined` where there is no target. */
function verdict({ ours, reference, target }: Row): boolean | undefined {
  return target?.keeps(target.of === 'worst' ? worst(ours) : median(ours), median(reference.values));
}

const withVerdict = (row: Row) => ({
  what: row.what,
  unit: row.unit,
  ours: { values: row.ours, median: median(row.ours), worst: worst(row.ours) },
  reference: row.reference.values.length === 0 ? null : { ...row.reference, median: median(row.reference.values) },
  target: row.target?.text ?? null,
  kept: verdict(row) ?? null,
});

const DIGITS: Record<Row['unit'], number> = { ms: 0, s: 1, MB: 2, '%': 2, 'req.': 0 };

function print(machine: Record<string, string | number>, rounds: number, rows: Row[]): void {
  const show = new Show();
  show.line();
  for (const [name, value] of Object.entries(machine)) show.line(`  ${name.padEnd(10)} ${value}`);
  show.line(`  ${'rounds'.padEnd(10)} ${rounds}`);
  show.line();
  show.table(
    ['', 'median', 'worst', 'unit', 'ref.', 'worst', 'reference', 'target', ''],
    rows.map(row => {
      const figure = (value: number) => (Number.isFinite(value) ? value.toFixed(DIGITS[row.unit]) : 'never');
      const { values, what } = row.reference;
      const beside = values.length === 0 ? ['–', '–'] : [figure(median(values)), figure(worst(values))];
      const kept = verdict(row);
      const mark = kept === undefined ? '' : kept ? paint('green', '✔') : paint('red', '✘');
      const mine = [row.what, figure(median(row.ours)), figure(worst(row.ours)), row.unit];
      return [...mine, ...beside, what, row.target?.text ?? '', mark];
    }),
  );
  show.line();
  for (const line of LEGEND) show.line(`  ${paint('dim', line)}`);
  show.line();
}

const LEGEND = [
  'script: docker swarm init and join, one after the other, without a pause; three Pis as managers',
  'stock: the same swarm by hand, docker service create with the same image and default settings',
  'power cut: of a Pi that runs replicas; where nothing is said, not the Raft leader',
  'planned leave: 2,000 requests or more from outside, a connection each, to all Pis in turn',
  'drain: docker node update --availability drain on stock services; as the kernel may lack ip_vs,',
  '  their published ports are served by the agents there, too',
  'even again: no Pi has two tasks more than another; stock: agents off, looked at once for 90 s',
  'dockerd: what the Docker Engine of the same Pi uses meanwhile; memory and core: one value a Pi',
];

await main(process.argv.slice(2)).catch(error => reportError(error, false));
