/** The manual page pi-swarm(1), from the same texts as `pi-swarm help`. */
import type { CommandText, OptionText } from './help-texts.ts';

export interface ManualOptions {
  version: string;
  /** Seconds since 1970: the date in the page's last line. */
  epochSeconds: number;
}

const ENVIRONMENT = [
  ['PI_SWARM_CONFIG', 'the configuration file, as --config'],
  ['PI_SWARM_SOCKET', 'the control socket, as --socket'],
  ['NO_COLOR', 'when it is set, output has no colours'],
] as const;

const FILES = [
  ['/etc/pi-swarm/config.yaml', 'settings, all optional; each is explained in /usr/share/doc/pi-swarm/config.md'],
  ['/boot/firmware/pi-swarm.yaml', 'the same, on the boot partition of the card; its keys go over those of the first'],
  ['/etc/pi-swarm/secret', 'the cluster secret, for root only: who has it owns the cluster'],
  ['/var/lib/pi-swarm', 'the key of this Pi and what it remembers, for root only'],
  ['/run/pi-swarm/agent.sock', 'the control socket, for root and the group pi-swarm'],
] as const;

/** @returns man(7) source, UTF-8 */
export function manualPage(texts: readonly CommandText[], { version, epochSeconds }: ManualOptions): string {
  const [top, ...commands] = texts;
  if (top === undefined) throw new Error('there is no command to write a manual for');
  const date = new Date(epochSeconds * 1000).toISOString().slice(0, 10);
  const [, examples = '', codes = ''] = /^Examples:\n([\s\S]*)\n\nExit codes:\n([\s\S]*)$/.exec(top.after) ?? [];
  const [sample = '', socket = ''] = examples.split('\n\n');
  return [
    `.TH PI\\-SWARM 1 ${date} "pi\\-swarm ${plain(version)}" "User Commands"`,
    '.SH NAME',
    'pi\\-swarm \\- Raspberry Pis that find each other and become one Docker swarm',
    '.SH SYNOPSIS',
    `.B ${plain(top.usage)}`,
    '.SH DESCRIPTION',
    paragraph(
      `${top.description} On each Pi an agent runs (systemd starts it as pi-swarm.service); all other commands ask the agent ` +
        'of the Pi that they are typed on, manager or worker. Those that read have --json.',
    ),
    '.SH OPTIONS',
    optionList(top.options),
    '.PP',
    paragraph(socket),
    '.SH COMMANDS',
    ...top.subcommands.map(({ name, summary }) => term(name, summary)),
    '.PP',
    'In full:',
    ...commands.flatMap(commandSection),
    '.SH EXAMPLES',
    literal(sample),
    '.SH EXIT STATUS',
    ...codes.split('\n').map(line => {
      const [, code = '', meaning = ''] = /^\s*(\d+)\s+(.*)$/.exec(line) ?? [];
      return term(code, meaning);
    }),
    '.SH ENVIRONMENT',
    ...ENVIRONMENT.map(([name, what]) => term(name, what)),
    '.SH FILES',
    ...FILES.map(([name, what]) => term(name, what)),
    '.SH SEE ALSO',
    '.BR docker (1),',
    '.BR journalctl (1),',
    '.BR systemctl (1)',
    '.PP',
    'Installation, settings, security, MQTT and what to do when something is wrong: /usr/share/doc/pi\\-swarm.',
    '',
  ].join('\n');
}

function commandSection({ path, usage, description, options, subcommands, after }: CommandText): string[] {
  const examples = after.replace(/^Examples:\n/, '');
  return [
    `.SS ${plain(path)}`,
    `.B ${plain(usage)}`,
    '.PP',
    paragraph(description),
    ...subcommands.filter(({ name }) => name !== 'help').map(({ name, summary }) => term(name, summary)),
    optionList(options.filter(({ words }) => !words.includes('--help'))),
    ...(examples === '' ? [] : ['.PP', 'Examples:', literal(examples)]),
  ].filter(line => line !== '');
}

const optionList = (options: readonly OptionText[]): string =>
  options.map(({ term: name, text }) => term(name, text)).join('\n');

const term = (name: string, text: string): string => `.TP\n.B ${plain(name)}\n${paragraph(text)}`;

/** Lines that were broken by hand flow again; an empty line stays one. */
const paragraph = (text: string): string =>
  text
    .split(/\n\n+/)
    .map(part => plain(part.replace(/\s*\n\s*/g, ' ')))
    .join('\n.sp\n');

const literal = (text: string): string =>
  `.PP\n.RS 2\n.nf\n${text
    .split('\n')
    .map(line => plain(line.replace(/^ {2}/, '')))
    .join('\n')}\n.fi\n.RE`;

/** Text as it is: what roff would take for an escape, a typographic quote or a request is written in its own way. */
const plain = (text: string): string =>
  text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/'/g, '\\(aq')
    .replace(/`/g, '\\(ga')
    .replace(/\^/g, '\\(ha')
    .replace(/~/g, '\\(ti')
    .replace(/^\./, '\\&.');
