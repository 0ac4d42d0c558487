/** `pi-swarm rm` */
import { Command } from 'commander';
import { callAgent } from '../control/client.ts';
import { EXIT, isPiSwarmError } from '../errors.ts';
import { withExamples } from './help.ts';
import { type CommonOptions, socketOf } from './options.ts';
import { reportError, say } from './output.ts';

export function rmCommand(): Command {
  const command = new Command('rm')
    .description('Removes services. Their containers stop; volumes stay.')
    .argument('<service...>', 'names of services')
    .option('-f, --force', 'a service that does not exist is no error')
    .action(async (names: string[], _options, self: Command) => {
      const options = self.optsWithGlobals<CommonOptions & { force?: boolean }>();
      const socket = await socketOf(options);
      for (const name of new Set(names)) {
        try {
          await callAgent(socket, 'rm', { name });
          say(`removed ${name}`);
        } catch (error) {
          // One that is missing must not keep the others.
          if (!isPiSwarmError(error) || error.code !== 'notFound') throw error;
          if (options.force) continue;
          reportError(error, options.debug === true);
          process.exitCode = EXIT.notFound;
        }
      }
    });
  return withExamples(command, ['pi-swarm rm whoami', 'pi-swarm rm web cache']);
}
