/** What the command line says of itself, for the manual page and the completion: from the table of commands, never a copy. */
import type { Command } from 'commander';

export interface OptionText {
  /** As help shows it: `-f, --follow`, `--since <time>`. */
  term: string;
  text: string;
  /** `-f`, `--follow`. */
  words: string[];
  /** What follows it: a path, something else, or nothing. */
  value: 'path' | 'other' | 'none';
}

export interface CommandText {
  /** `pi-swarm lab up` */
  path: string;
  /** `pi-swarm deploy [options] <image> [command...]` */
  usage: string;
  description: string;
  options: OptionText[];
  subcommands: { name: string; summary: string }[];
  /** What stands after the options: examples, exit codes. */
  after: string;
}

/** The command and all below it, the upper before the lower. */
export function commandTexts(command: Command, parents: readonly string[] = []): CommandText[] {
  const names = [...parents, command.name()];
  const help = command.createHelp();
  const below = help.visibleCommands(command);
  const own: CommandText = {
    path: names.join(' '),
    usage: [...names, command.usage()].join(' '),
    description: command.description(),
    options: help.visibleOptions(command).map(option => ({
      term: help.optionTerm(option),
      text: help.optionDescription(option),
      words: [option.short, option.long].filter(word => word !== undefined),
      value: !option.required && !option.optional ? 'none' : /path|file|dir/i.test(option.flags) ? 'path' : 'other',
    })),
    subcommands: below.map(sub => ({ name: sub.name(), summary: help.subcommandDescription(sub) })),
    after: afterOf(command),
  };
  return [own, ...below.filter(sub => sub.name() !== 'help').flatMap(sub => commandTexts(sub, names))];
}

/** Texts that commander adds behind the help are events: they are there only when it is written. */
function afterOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: more => {
      text += more;
    },
  });
  command.outputHelp();
  return text.slice(command.helpInformation().length).trim();
}
