/** `pi-swarm secret new|show` */
import { Command } from 'commander';
import { RefusedError } from '../errors.ts';
import { type ClusterSecret, formatSecret, generateSecret, readSecretFile } from '../io/secret.ts';
import { takeSecret } from './claim.ts';
import { withExamples } from './help.ts';
import { type CommonOptions, configOf, readingCommand } from './options.ts';
import { note, say, sayJson } from './output.ts';
import { ownSecret } from './own-secret.ts';

export function secretCommand(): Command {
  const command = new Command('secret').description(
    'The cluster secret: 256 random bits that all Pis of one cluster hold. Whoever has it owns the cluster.',
  );
  command.addCommand(newCommand());
  command.addCommand(showCommand());
  return command;
}

function newCommand(): Command {
  const command = new Command('new')
    .description('Makes a new cluster secret and prints it, or keeps it on this Pi.')
    .option('--write', 'keep it on this Pi (root) instead of printing it')
    .option('--force', 'with --write: overwrite the secret that is there')
    .action(async (_options, self: Command) => {
      const options = self.optsWithGlobals<CommonOptions & { write?: boolean; force?: boolean }>();
      const secret = generateSecret();
      if (options.write) await keep(secret, options);
      else say(formatSecret(secret));
    });
  return withExamples(command, [
    'pi-swarm secret new                  print one, to write it on SD cards',
    'sudo pi-swarm secret new --write     found a cluster with this Pi as its first',
  ]);
}

/** Through the agent where one runs (it must know), else straight into the file. */
async function keep(secret: ClusterSecret, options: CommonOptions & { force?: boolean }): Promise<void> {
  const { secretFile } = await configOf(options);
  const old = await readSecretFile(secretFile).catch(() => undefined);
  if (old !== undefined && !options.force) {
    throw new RefusedError(
      `${secretFile} holds a cluster secret already`,
      'With another secret this Pi knows the others no more, until they join with it too. If that is meant: sudo pi-swarm secret new --write --force',
    );
  }
  await takeSecret(secret, { ...options, force: true });
  say(`This Pi has a new cluster secret (${secretFile}).`);
  note('Bring other Pis in: sudo pi-swarm invite');
}

function showCommand(): Command {
  return readingCommand('show', ['sudo pi-swarm secret show'])
    .description('Prints the cluster secret of this Pi. Only for root.')
    .action(async (_options, self: Command) => {
      const options = self.optsWithGlobals<CommonOptions>();
      const secret = formatSecret(await ownSecret(options));
      if (options.json) sayJson({ secret });
      else say(secret);
    });
}
