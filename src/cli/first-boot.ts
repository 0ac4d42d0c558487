/** `pi-swarm first-boot`: what the card image runs at each start. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Command } from 'commander';
import { withExamples } from './help.ts';
import { say } from './output.ts';

export function firstBootCommand(): Command {
  const command = new Command('first-boot').description(
    'Of the card image: makes what must be different on every card where it is missing, takes the cluster secret off the boot partition, and checks the settings there. Runs at each start, before anything else; may be run again at any time. Needs root.',
  );
  command.action(async () => {
    const [{ firstBoot, PLACES }, { inWords, showOnConsoles, writeNotices }] = await Promise.all([
      import('../machine/first-boot.ts'),
      import('../machine/boot-notices.ts'),
    ]);
    const setHostname = async (name: string): Promise<void> => {
      await promisify(execFile)('hostname', [name], { timeout: 10_000 });
    };
    const notices = await firstBoot(PLACES, { setHostname, say });
    await writeNotices(notices);
    await showOnConsoles(notices);
    say(notices.length === 0 ? 'the settings on the card are right' : inWords(notices).trimEnd());
  });
  return withExamples(command, ['sudo pi-swarm first-boot', 'journalctl -b -u pi-swarm-first-boot']);
}
