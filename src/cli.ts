/** The command line: a table of commands, of which only the one that was asked for is loaded. */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError, Option } from 'commander';
import { EXIT_CODES, HELP_EXAMPLES } from './cli/help.ts';
import { reportError } from './cli/output.ts';
import { EXIT, UsageError } from './errors.ts';
import { VERSION } from './version.ts';

interface Entry {
  summary: string;
  /** Gives the command, ready to be parsed. */
  load(): Promise<Command>;
}

export const COMMANDS: Record<string, Entry> = {
  status: {
    summary: 'how the cluster is, what is wrong and what to do',
    load: async () => (await import('./cli/status.ts')).statusCommand(),
  },
  nodes: { summary: 'list the Pis', load: async () => (await import('./cli/nodes.ts')).nodesCommand() },
  services: {
    summary: 'list what runs, and where',
    load: async () => (await import('./cli/services.ts')).servicesCommand(),
  },
  events: {
    summary: 'what happened to the cluster, and how long it took',
    load: async () => (await import('./cli/events.ts')).eventsCommand(),
  },
  deploy: {
    summary: 'run an image on the cluster',
    load: async () => (await import('./cli/deploy.ts')).deployCommand(),
  },
  scale: { summary: 'change how many copies run', load: async () => (await import('./cli/scale.ts')).scaleCommand() },
  rm: { summary: 'remove services', load: async () => (await import('./cli/rm.ts')).rmCommand() },
  drain: {
    summary: 'take the work off a Pi, for a while',
    load: async () => (await import('./cli/drain.ts')).drainCommand(),
  },
  rebalance: {
    summary: 'even out the load',
    load: async () => (await import('./cli/rebalance.ts')).rebalanceCommand(),
  },
  invite: {
    summary: 'print what another Pi needs to join',
    load: async () => (await import('./cli/invite.ts')).inviteCommand(),
  },
  join: { summary: 'bring this Pi into a cluster', load: async () => (await import('./cli/join.ts')).joinCommand() },
  leave: {
    summary: 'take this Pi out of the cluster',
    load: async () => (await import('./cli/leave.ts')).leaveCommand(),
  },
  secret: {
    summary: 'make or show a cluster secret',
    load: async () => (await import('./cli/secret.ts')).secretCommand(),
  },
  doctor: {
    summary: 'check this Pi and say how to cure what is wrong',
    load: async () => (await import('./cli/doctor.ts')).doctorCommand(),
  },
  agent: {
    summary: 'run the agent (systemd does this)',
    load: async () => (await import('./cli/agent.ts')).agentCommand(),
  },
  'first-boot': {
    summary: 'make this card unlike every other (the image does this)',
    load: async () => (await import('./cli/first-boot.ts')).firstBootCommand(),
  },
  flash: {
    summary: 'write an SD card, or change the settings on one',
    load: async () => (await import('./cli/flash.ts')).flashCommand(),
  },
  lab: { summary: 'virtual Pis on this machine', load: async () => (await import('./cli/lab.ts')).labCommand() },
  version: { summary: 'print the version', load: async () => (await import('./cli/version.ts')).versionCommand() },
};

/** Options that stand before or after the command. */
export function globalOptions(): Option[] {
  return [
    new Option('--socket <path>', 'the agent’s control socket'),
    new Option('--config <path>', 'the configuration file'),
    new Option('--debug', 'show the stack of errors'),
  ];
}

/** The program with `loaded` commands in full and the others as names, enough for help and parsing. */
export async function makeProgram(loaded: (name: string) => boolean): Promise<Command> {
  const program = new Command('pi-swarm')
    .description('Raspberry Pis that find each other and become one Docker swarm.')
    .version(VERSION, '-V, --version', 'print the version')
    .enablePositionalOptions()
    .showSuggestionAfterError(true)
    .showHelpAfterError('More: pi-swarm help, or pi-swarm help COMMAND')
    .configureHelp({ helpWidth: 80 })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'pi-swarm: ')) })
    .addHelpText('after', `${HELP_EXAMPLES}\n${EXIT_CODES}`);
  for (const option of globalOptions()) program.addOption(option);
  program.addOption(new Option('--json', 'print JSON (status, nodes, services, doctor …)'));
  for (const [name, entry] of Object.entries(COMMANDS)) {
    const command = loaded(name) ? await entry.load() : new Command(name);
    prepare(command.description(command.description() || entry.summary).summary(entry.summary), program);
    program.addCommand(command);
  }
  return program;
}

/** What every command shares; commander does not hand these down by itself to commands made elsewhere. */
function prepare(command: Command, program: Command, parent: readonly string[] = []): void {
  command.copyInheritedSettings(program);
  command.showHelpAfterError(`More: pi-swarm ${[...parent, 'help', command.name()].join(' ')}`);
  const own = new Set(command.options.map(option => option.long));
  for (const option of globalOptions()) if (!own.has(option.long)) command.addOption(option.hideHelp());
  for (const sub of command.commands) prepare(sub, program, [...parent, command.name()]);
}

/** Runs the command line `words` (without node and script). Sets `process.exitCode`; never ends the process. */
export async function main(words: readonly string[]): Promise<void> {
  quietOnClosedPipe();
  const debug = words.includes('--debug');
  try {
    const wanted = commandIn(words);
    if (wanted === 'undrain') throw noUndrain();
    const program = await makeProgram(name => name === wanted);
    program.exitOverride();
    for (const command of everyCommand(program)) command.exitOverride();
    if (words.length === 0) {
      program.outputHelp();
      return;
    }
    await program.parseAsync([...words], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    else reportError(error, debug);
  }
}

const noUndrain = (): UsageError =>
  new UsageError("unknown command 'undrain'", 'To let a Pi work again: pi-swarm drain PI --undo');

/** The command that these words ask for, or ask about (`help deploy`). */
function commandIn(words: readonly string[]): string | undefined {
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--socket' || word === '--config') rest.shift();
    else if (word !== 'help' && !word.startsWith('-')) return word;
  }
  return undefined;
}

function* everyCommand(command: Command): Generator<Command> {
  for (const sub of command.commands) {
    yield sub;
    yield* everyCommand(sub);
  }
}

/** `pi-swarm nodes | head -1` ends quietly: the reader is gone and that is fine. */
function quietOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
}

/** npm and the .deb call the bundle through a symbolic link; tests import this file and call `main` themselves. */
function isEntry(): boolean {
  const script = process.argv[1];
  try {
    return script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url);
  } catch {
    return false;
  }
}

if (isEntry()) await main(process.argv.slice(2));
