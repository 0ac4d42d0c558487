/** `pi-swarm agent` */
import { Command } from 'commander';
import { withExamples } from './help.ts';
import { type CommonOptions, configOf } from './options.ts';

export function agentCommand(): Command {
  const command = new Command('agent').description(
    'Runs the agent in the foreground until it gets SIGTERM or SIGINT. Needs root. systemd does this at boot.',
  );
  command.action(async (_options, self: Command) => {
    const options = self.optsWithGlobals<CommonOptions>();
    const config = await configOf(options);
    const { runAgent } = await import('../run-agent.ts');
    await runAgent(options.socket === undefined ? config : { ...config, socket: options.socket });
  });
  return withExamples(command, [
    'sudo pi-swarm agent',
    'sudo pi-swarm agent --config ./pi-swarm.yaml',
    'journalctl -u pi-swarm -f            what the agent of this Pi is doing',
  ]);
}
