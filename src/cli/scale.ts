/** `pi-swarm scale` */
import { Command } from 'commander';
import { UsageError } from '../errors.ts';
import { askLeader } from './ask.ts';
import { withExamples } from './help.ts';
import { type CommonOptions, socketOf } from './options.ts';
import { say } from './output.ts';
import { waitUntilRuns } from './running.ts';
import { limitMsOf } from './wait.ts';

interface ScaleOptions extends CommonOptions {
  detach?: boolean;
  timeout: string;
}

export function scaleCommand(): Command {
  const command = new Command('scale')
    .description('Changes how many copies of a service run, and waits until they do.')
    .argument('<service...>', 'NAME=NUMBER, several if you like; or NAME NUMBER')
    .option('-d, --detach', 'do not wait')
    .option('--timeout <time>', 'how long to wait', '60s')
    .action(async (words: string[], _options, self: Command) => {
      const options = self.optsWithGlobals<ScaleOptions>();
      const wishes = wishesOf(words);
      const limitMs = limitMsOf(options.timeout);
      const socket = await socketOf(options);
      for (const { name, replicas } of wishes) {
        const { before } = (await askLeader(socket, 'scale', { name, replicas }, { limitMs })) as { before: number };
        say(before === replicas ? `${name}: ${replicas} as before` : `${name}: ${before} → ${replicas}`);
      }
      if (options.detach) return;
      for (const { name } of wishes) await waitUntilRuns(socket, name, limitMs);
    });
  return withExamples(command, [
    'pi-swarm scale whoami=5',
    'pi-swarm scale whoami 5',
    'pi-swarm scale web=3 cache=1',
    'pi-swarm scale whoami=0           stop all copies, keep the service',
  ]);
}

/** More than any shelf of Pis can hold. */
const REPLICAS_MAX = 1000;

/** @throws UsageError */
export function wishesOf(words: readonly string[]): { name: string; replicas: number }[] {
  const [first = '', second = ''] = words;
  const pair = words.length === 2 && !first.includes('=') && !second.includes('=');
  return (pair ? [`${first}=${second}`] : words).map(word => {
    const [, name = '', number = ''] = /^([^=]+)=(-?\d+)$/.exec(word) ?? [];
    if (name === '') {
      throw new UsageError(
        `${word} does not say how many copies of what`,
        'Write NAME=NUMBER: pi-swarm scale whoami=5',
      );
    }
    const replicas = Number(number);
    if (replicas < 0 || replicas > REPLICAS_MAX) {
      throw new UsageError(
        `${name} cannot have ${number} copies: the number is from 0 to ${REPLICAS_MAX}`,
        `Write for example: pi-swarm scale ${name}=5`,
      );
    }
    return { name, replicas };
  });
}
