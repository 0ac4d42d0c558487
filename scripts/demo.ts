/** `npm run demo`: three virtual Pis become one swarm, lose one, and get it back; then every trace is removed. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import { reportError } from '../src/cli/output.ts';
import { EXIT, isPiSwarmError, PiSwarmError, UsageError } from '../src/errors.ts';
import { defaultBundle } from '../src/lab/disk.ts';
import { Lab } from '../src/lab/lab.ts';
import { runBroker } from './broker.ts';
import { BROKER_PORT } from './demo/laptop.ts';
import { Story } from './demo/story.ts';
import { interfaceNames, tracesOf } from './demo/traces.ts';
import { paint, Show, seconds } from './show.ts';

const DEFAULT_NAME = 'demo';
const HELP = `npm run demo [-- OPTIONS]

  --pis N      how many virtual Pis, 3 to 9 (3)
  --name NAME  name of the lab (demo)
  --keep       leave the lab running at the end, and say how to look around
  --down       only take down what an earlier run left, by --keep or because it was killed
  --help       this

It needs root and Docker's dockerd, and installs what is missing after saying so.`;

interface Options {
  pis: number;
  name: string;
  keep: boolean;
  down: boolean;
  help: boolean;
}

/** @throws UsageError */
function optionsOf(args: string[]): Options {
  const flag = { type: 'boolean', default: false } as const;
  try {
    const { values } = parseArgs({
      args,
      options: {
        pis: { type: 'string', default: '3' },
        name: { type: 'string', default: DEFAULT_NAME },
        keep: flag,
        down: flag,
        help: { ...flag, short: 'h' },
      },
    });
    const pis = Number(values.pis);
    if (Number.isInteger(pis) && pis >= 3 && pis <= 9) return { ...values, pis };
    throw new Error(`--pis ${values.pis} is not a number from 3 to 9`);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), HELP);
  }
}

async function main(args: string[]): Promise<void> {
  if (args[0] === '--broker') return runBroker(BROKER_PORT, args[1] === 'stays');
  const options = optionsOf(args);
  const lab = new Lab({ name: options.name });
  if (options.help) return console.log(HELP);
  if (options.down)
    return console.log((await lab.down()) ? `Lab «${lab.name}» is gone.` : `There is no lab «${lab.name}».`);
  await demo(lab, options);
}

async function demo(lab: Lab, { pis, keep }: Options): Promise<void> {
  const show = new Show();
  const before = tracesOf(lab);
  if (before.length > 0) {
    throw new UsageError(
      `A lab «${lab.name}» is there already: ${before[0]}.`,
      `Take it down first: ${downCommand(lab)}`,
    );
  }
  const interfaces = interfaceNames();
  const stop = new AbortController();
  const onSignal = () => stop.abort(new Interrupted());
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  show.line();
  show.line(`  ${paint('bold', 'pi-swarm')}: ${pis} virtual Pis on this machine, no internet needed`);
  show.line(`  ${paint('dim', machine())}`);
  show.line();
  try {
    const interrupted = new Promise<never>((_, reject) => {
      stop.signal.addEventListener('abort', () => reject(stop.signal.reason), { once: true });
    });
    await Promise.race([Story.tell(lab, show, stop.signal, { pis, keep }), interrupted]);
    show.line();
    show.table(
      ['what', 'took'],
      show.times.map(({ title, ms }) => [title, seconds(ms)]),
    );
    show.line();
  } catch (error) {
    process.exitCode = error instanceof Interrupted ? 130 : isPiSwarmError(error) ? EXIT[error.code] : EXIT.failure;
    if (error instanceof Interrupted) show.breakOff('interrupted');
    show.line();
    if (error instanceof Interrupted) show.line(paint('yellow', '  Cleaning up.'));
    else explain(lab, show, error);
  }
  if (keep && !stop.signal.aborted && process.exitCode === undefined) return lookAround(lab, show);
  await removeEveryTrace(lab, show, interfaces);
}

const downCommand = (lab: Lab): string =>
  `npm run demo -- --down${lab.name === DEFAULT_NAME ? '' : ` --name ${lab.name}`}`;

class Interrupted extends Error {}

const machine = (): string =>
  [
    `Linux ${release()}, ${cpus().length} cores`,
    execFileSync('dockerd', ['--version'], { encoding: 'utf8' }).replace(/,.*\n/, ''),
    `Node ${process.versions.node}`,
  ].join(' · ');

function explain(lab: Lab, show: Show, error: unknown): void {
  reportError(error, false);
  for (const pi of safePis(lab)) {
    const log = lab.logs(pi, 'agent', 5);
    if (log !== '') show.command(`the last lines of the agent on ${pi}`, log);
  }
}

function safePis(lab: Lab): string[] {
  try {
    return lab.pis();
  } catch {
    return [];
  }
}

/** Says so only when it is true. */
async function removeEveryTrace(lab: Lab, show: Show, interfaces: string): Promise<void> {
  await show.stage('Remove every trace', async () => {
    await lab.down();
    const left = tracesOf(lab);
    if (interfaceNames() !== interfaces) left.push(`network interfaces: ${interfaces} before, ${interfaceNames()} now`);
    if (left.length > 0) throw new PiSwarmError('failure', `Still there: ${left.join('; ')}`);
    return { note: 'checked: no process, mount, interface or file is left', value: undefined };
  });
  show.line();
}

function lookAround(lab: Lab, show: Show): void {
  const command = `node ${relative(process.cwd(), defaultBundle())} lab`;
  const exec = `${command} exec --name ${lab.name}`;
  show.line(`  ${paint('bold', 'The lab stays up.')} Look around:`);
  for (const [what, line] of [
    ['how the cluster is', `${exec} pi1 -- pi-swarm status`],
    ['what Docker says', `${exec} pi1 -- docker node ls`],
    ['what runs on a Pi', `${exec} pi2 -- docker ps`],
    ['ask a Pi who it is', `${exec} laptop -- curl -s http://${lab.address('pi2')}/`],
    ['what goes over MQTT', `${exec} laptop -- mosquitto_sub -v -t 'pi-swarm/#'`],
    ['pull a plug', `${command} power-cut --name ${lab.name} pi2`],
    ['plug it in again', `${command} power-on --name ${lab.name} pi2`],
    ['take it all down', downCommand(lab)],
  ] as const) {
    if (line.includes('mosquitto_sub') && !existsSync('/usr/bin/mosquitto_sub')) continue;
    process.stdout.write(`    ${what.padEnd(20)} ${paint('cyan', line)}\n`);
  }
  show.line();
}

await main(process.argv.slice(2)).catch(error => reportError(error, false));
