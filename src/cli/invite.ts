/** `pi-swarm invite` */
import type { Command } from 'commander';
import { formatSecret } from '../io/secret.ts';
import { type CommonOptions, readingCommand } from './options.ts';
import { note, say, sayJson } from './output.ts';
import { ownSecret } from './own-secret.ts';

export function inviteCommand(): Command {
  return readingCommand('invite', [
    'sudo pi-swarm invite                                      then on the new Pi: sudo pi-swarm join TOKEN',
    'sudo pi-swarm invite | ssh pi4 sudo pi-swarm join -       without showing it',
  ])
    .description(
      'Prints the token with which another Pi joins this cluster.\nThe token is the cluster secret itself: whoever holds it owns the cluster, now and later. Hand it over like a key, and keep it out of chats and tickets. Needs root.',
    )
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions>();
      const token = formatSecret(await ownSecret(options));
      if (options.json) {
        sayJson({ token });
        return;
      }
      // Only the token goes to stdout, so that it can be piped into `join -`.
      if (process.stdout.isTTY)
        note('On the new Pi (whoever holds this line owns the cluster: keep it to yourself):\n');
      say(process.stdout.isTTY ? `sudo pi-swarm join ${token}` : token);
    });
}
