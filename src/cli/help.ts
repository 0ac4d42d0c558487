/** The texts at the end of `pi-swarm help`, and how each command shows its own examples. */
import type { Command } from 'commander';
import { EXIT } from '../errors.ts';

export const HELP_EXAMPLES = `
Examples:
  pi-swarm status                              how is the cluster?
  pi-swarm events --since 1d                   what happened to it?
  pi-swarm deploy whoami --replicas 5          run the demo, then: curl http://pi1/
  pi-swarm deploy nginx --publish 8080:80      run an image from a registry
  pi-swarm scale whoami=8                      more copies
  sudo pi-swarm invite                         bring in another Pi
  sudo pi-swarm doctor                         what is wrong with this Pi?

The control socket is --socket, else $PI_SWARM_SOCKET, else what the configuration
says (--config, else /etc/pi-swarm/config.yaml), else /run/pi-swarm/agent.sock.`;

const MEANING: Record<keyof typeof EXIT, string> = {
  ok: 'it is done',
  failure: 'a bug, or a failure that nobody foresaw: please report it',
  usage: 'wrong words on the command line, or a mistake in a file',
  notFound: 'what was asked for does not exist',
  unavailable: 'the agent, the engine or a manager could not be reached',
  refused: 'it was understood and refused; the message says why',
  timeout: 'it did not finish within its limit',
  environment: 'this machine lacks something: root, Linux, dockerd, a kernel feature',
  unhealthy: '`status` or `doctor` found an error, what was deployed keeps failing, or what was drained has no place',
};

export const EXIT_CODES = `
Exit codes:
${Object.entries(EXIT)
  .map(([name, code]) => `  ${code}  ${MEANING[name as keyof typeof EXIT]}`)
  .join('\n')}`;

/** Adds an `Examples:` block; one `command  what it does` on each line. */
export function withExamples(command: Command, lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${lines.map(line => `  ${line}`).join('\n')}`);
}
