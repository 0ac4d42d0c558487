/** `pi-swarm agent` */
import { setFlagsFromString } from 'node:v8';
import { Command } from 'commander';
import { withExamples } from './help.ts';
import { type CommonOptions, configOf } from './options.ts';

/**
 * For a program that rests nearly always, memory counts and speed of code does not: without its two compilers V8 holds a
 * tenth less, also after weeks, and a burst does not leave a large young generation behind.
 */
const SMALL = ['--no-opt', '--no-sparkplug', '--semi-space-growth-factor=1'];

export function agentCommand(): Command {
  const command = new Command('agent').description(
    'Runs the agent in the foreground until it gets SIGTERM or SIGINT. Needs root. systemd does this at boot.',
  );
  command.action(async (_options, self: Command) => {
    for (const flag of SMALL) setFlagsFromString(flag);
    const options = self.optsWithGlobals<CommonOptions>();
    const { loadAgentConfig } = await import('../config.ts');
    const chosen = options.config ?? process.env['PI_SWARM_CONFIG'];
    const config = chosen ? await configOf(options) : await loadAgentConfig();
    const { runAgent } = await import('../run-agent.ts');
    await runAgent(options.socket === undefined ? config : { ...config, socket: options.socket });
  });
  return withExamples(command, [
    'sudo pi-swarm agent',
    'sudo pi-swarm agent --config ./pi-swarm.yaml',
    'journalctl -u pi-swarm -f            what the agent of this Pi is doing',
  ]);
}
