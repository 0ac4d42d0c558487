/** `pi-swarm lab`: virtual Pis on this machine. */
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { parse } from 'yaml';
import { ConfigError, messageOf, NotFoundError, UsageError } from '../errors.ts';
import { Lab, type LabState, type LogKind, type PiState, type UpOptions } from '../lab/lab.ts';
import { baseDirectory, listLabs } from '../lab/place.ts';
import { withExamples } from './help.ts';
import { note, say, sayJson, table } from './output.ts';

interface LabWords {
  name?: string;
  dir?: string;
}

const MEBIBYTE = 1024 * 1024;

export function labCommand(): Command {
  const lab = new Command('lab')
    .description(
      'Virtual Pis on this Linux machine: each a real Docker Engine and a real agent in namespaces of its own, on a LAN ' +
        'of its own. Needs root. Nothing of this machine is changed; `lab down` removes every trace.',
    )
    .enablePositionalOptions();
  for (const command of [upCommand(), statusCommand(), execCommand(), logsCommand(), downCommand()])
    lab.addCommand(command);
  for (const command of powerCommands()) lab.addCommand(command);
  return withExamples(lab, [
    'sudo pi-swarm lab up --pis 3                     three Pis, powered on at once',
    'sudo pi-swarm lab exec pi1 -- pi-swarm status    look at the cluster from pi1',
    'sudo pi-swarm lab exec laptop -- curl http://pi2 reach them from beside them',
    'sudo pi-swarm lab power-cut pi2                  pull its plug',
    'sudo pi-swarm lab power-on pi2                   plug it in again',
    'sudo pi-swarm lab logs pi1 | tail                what its agent did',
    'sudo pi-swarm lab down                           remove everything',
  ]);
}

function withLabOptions(command: Command): Command {
  return command
    .option('--name <name>', 'the lab', 'lab')
    .option('--dir <path>', 'where labs are kept (else $PI_SWARM_LAB_DIR, else /var/lib/pi-swarm-lab)');
}

const labOf = (words: LabWords): Lab => new Lab({ name: words.name, dir: words.dir });

interface UpWords extends LabWords {
  pis: number;
  agents: boolean;
  secretFile?: string;
  config?: string;
}

function upCommand(): Command {
  return withLabOptions(new Command('up').description('make a lab and power its Pis on'))
    .option('--pis <number>', 'how many', wholeNumber, 3)
    .option('--no-agents', 'engines only')
    .option('--secret-file <path>', 'a cluster secret for all Pis (default: a new one)')
    .option('--config <path>', 'the configuration (YAML) for all Pis')
    .action(async (words: UpWords) => {
      const began = performance.now();
      const lab = labOf(words);
      const given = { pis: words.pis, agents: words.agents, config: configFrom(words.config) };
      const finished = await interruptible(async signal => {
        await lab.up({ ...given, secret: await secretFrom(words.secretFile), signal, onProgress: note });
      });
      if (!finished) return;
      const named = words.name === undefined || words.name === 'lab' ? '' : ` --name ${words.name}`;
      say(
        `${words.pis} ${words.pis === 1 ? 'Pi' : 'Pis'} after ${((performance.now() - began) / 1000).toFixed(1)} s. Look around:`,
      );
      say(`  pi-swarm lab exec${named} pi1 -- ${words.agents ? 'pi-swarm status' : 'docker info'}`);
      say(`  pi-swarm lab power-cut${named} pi${Math.min(2, words.pis)}`);
      say(`  pi-swarm lab down${named}`);
    });
}

/** Ctrl-C and SIGTERM abort `work`, which then cleans up. @returns whether it came to its end */
async function interruptible(work: (signal: AbortSignal) => Promise<void>): Promise<boolean> {
  const interrupt = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => {
    note('interrupted: removing what was made so far');
    process.exitCode = signal === 'SIGINT' ? 130 : 143;
    interrupt.abort(new Error('interrupted'));
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    await work(interrupt.signal);
    process.exitCode = undefined; // An interrupt that came too late changes nothing.
    return true;
  } catch (error) {
    if (error !== interrupt.signal.reason) throw error;
    return false;
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

async function secretFrom(file?: string): Promise<string> {
  const { formatSecret, generateSecret, parseSecret } = await import('../io/secret.ts');
  if (file === undefined) return formatSecret(generateSecret());
  return formatSecret(parseSecret(readText(file).trim()));
}

function configFrom(file?: string): UpOptions['config'] {
  if (file === undefined) return undefined;
  const text = readText(file);
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new ConfigError(`${file}: ${messageOf(error)}`);
  }
  if (value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value))
    throw new ConfigError(`${file}:1:1: expected settings, one per line`);
  return value as Record<string, unknown>;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw new NotFoundError(`There is no file ${file}.`, 'Give the path of one that is there.');
    throw new NotFoundError(
      `${file} cannot be read: ${messageOf(error)}`,
      'Give the path of a file that root may read.',
    );
  }
}

function statusCommand(): Command {
  return withLabOptions(new Command('status').description('the Pis of a lab, their power, engines and cables'))
    .option('--json', 'print JSON')
    .action(async (words: LabWords & { json?: boolean }) => {
      const state = await labOf(words).status();
      if (words.json) sayJson(state);
      else for (const line of statusLines(state)) say(line);
    });
}

export function statusLines({ name, directory, subnet, laptop, lan, pis }: LabState): string[] {
  const memory = (bytes?: number) => (bytes === undefined ? '' : `${Math.round(bytes / MEBIBYTE)} MiB`);
  const cable = (pi: PiState) =>
    pi.segment === undefined || pi.segment === 'lan' ? pi.cable : `${pi.cable} (${pi.segment})`;
  const rows = pis.map(pi => [pi.name, pi.address, pi.power, pi.engine, pi.agent, cable(pi), memory(pi.memoryBytes)]);
  return [
    `Lab «${name}» in ${directory}; LAN ${subnet} ${lan === 'up' ? `with the laptop at ${laptop}` : 'is gone: run lab down, then up'}`,
    ...table([['PI', 'ADDRESS', 'POWER', 'ENGINE', 'AGENT', 'CABLE', 'MEMORY'], ...rows]),
  ];
}

function execCommand(): Command {
  return withLabOptions(new Command('exec').description('run a command in a Pi, or on the `laptop` beside them'))
    .argument('<pi>', 'pi1, pi2 … or laptop')
    .argument('<command...>')
    .passThroughOptions()
    .action(async (pi: string, argv: string[], words: LabWords) => {
      // Commander hands `--` on; it only says where our own options end.
      const child = labOf(words).spawn(pi, argv[0] === '--' ? argv.slice(1) : argv, { stdio: 'inherit' });
      // Ctrl-C reaches the command by the terminal itself; we stay to pass its exit code on.
      const stay = () => {};
      process.on('SIGINT', stay);
      process.exitCode = await new Promise<number>((resolve, reject) => {
        child.on('error', reject);
        child.on('close', code => resolve(code ?? 1));
      }).finally(() => process.off('SIGINT', stay));
    });
}

function powerCommands(): Command[] {
  const actions: [string, string, string, (lab: Lab, pi: string) => Promise<void>][] = [
    [
      'power-cut',
      'pull the plug: the Pi is gone at once, its card stays',
      'is without power',
      (lab, pi) => lab.powerCut(pi),
    ],
    [
      'power-on',
      'power on, with the card and the address it had',
      'is on and its engine answers',
      (lab, pi) => lab.powerOn(pi),
    ],
    ['shutdown', 'shut down in order, then power off', 'has shut down', (lab, pi) => lab.shutdown(pi)],
    ['unplug', 'pull the network cable only', 'has no network', (lab, pi) => lab.unplug(pi)],
    ['plug', 'plug the network cable in again', 'has its network back', (lab, pi) => lab.plug(pi)],
    ['wipe', 'give a Pi that is off a freshly flashed card', 'has a fresh card', (lab, pi) => lab.wipe(pi)],
  ];
  return actions.map(([verb, description, done, act]) =>
    withLabOptions(new Command(verb).description(description))
      .argument('<pi...>')
      .action(async (pis: string[], words: LabWords) => {
        const began = performance.now();
        const lab = labOf(words);
        for (const pi of pis) {
          await act(lab, pi);
          say(`${pi} ${done} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
        }
      }),
  );
}

function logsCommand(): Command {
  return withLabOptions(new Command('logs').description("a Pi's agent log, also while it is off"))
    .argument('<pi>')
    .option('--engine', "the engine's log instead")
    .option('--init', 'what was started and ended, and when')
    .option('-n, --lines <number>', 'the last lines only', wholeNumber, 200)
    .action((pi: string, words: LabWords & { engine?: boolean; init?: boolean; lines: number }) => {
      const kind: LogKind = words.engine ? 'engine' : words.init ? 'init' : 'agent';
      const lab = labOf(words);
      if (!lab.pis().includes(pi))
        throw new NotFoundError(`Lab «${lab.name}» has no ${pi}.`, `It has ${lab.pis().join(', ')}.`);
      say(lab.logs(pi, kind, words.lines));
    });
}

function downCommand(): Command {
  return withLabOptions(new Command('down').description('remove a lab and every trace of it; also a half-made one'))
    .option('--all', 'every lab in the directory')
    .action(async (words: LabWords & { all?: boolean }, self: Command) => {
      if (words.all && self.getOptionValueSource('name') === 'cli') throw new UsageError('Either --all or --name.');
      const names = words.all ? listLabs(baseDirectory(words.dir)) : [words.name];
      if (names.length === 0) say('There is no lab.');
      for (const name of names) {
        const lab = labOf({ name, dir: words.dir });
        say(
          (await lab.down())
            ? `Lab «${lab.name}» is gone, with everything it had made.`
            : `There is no lab «${lab.name}».`,
        );
      }
    });
}

function wholeNumber(text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a whole number from 1.');
}
