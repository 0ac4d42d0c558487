/** `pi-swarm deploy` */
import { Command } from 'commander';
import type { DeployBody } from '../commands/deploy.ts';
import type { DeployReport } from '../commands/types.ts';
import { UsageError } from '../errors.ts';
import { askLeader } from './ask.ts';
import {
  parseConstraint,
  parseEnv,
  parseLabel,
  parseMemory,
  parseMount,
  parseName,
  parsePublish,
  parseReplicas,
  parseRestartDelay,
} from './deploy-words.ts';
import { withExamples } from './help.ts';
import { type CommonOptions, socketOf } from './options.ts';
import { note, say } from './output.ts';
import { waitUntilRuns } from './running.ts';
import { limitMsOf } from './wait.ts';

interface DeployOptions extends CommonOptions {
  name?: string;
  replicas?: string;
  global?: boolean;
  publish?: string[];
  env?: string[];
  constraint?: string[];
  label?: string[];
  volume?: string[];
  network?: string[];
  memory?: string;
  restartDelay?: string;
  detach?: boolean;
  timeout: string;
}

/** `deploy whoami` makes an image on every Pi first. */
const CALL_MS = 140_000;

const collect = (word: string, before: string[] = []): string[] => [...before, word];

export function deployCommand(): Command {
  const command = new Command('deploy')
    .description(
      'Runs an image on the cluster and waits until it runs. The image `whoami` needs no internet: every Pi makes it on the spot.\nThe same deploy again changes nothing; to change a service, scale it, or rm and deploy it.',
    )
    .argument('<image>', '`whoami`, or an image as for docker run: nginx:1.27')
    .argument('[command...]', 'the command in the container, after --')
    .option('-n, --name <name>', 'name of the service (default: from the image)')
    .option('-r, --replicas <number>', 'how many copies (default: 1)')
    .option('--global', 'one on every Pi')
    .option('-p, --publish <port>', 'PUBLISHED:TARGET[/udp], on every Pi; whoami: 80:8000', collect)
    .option('-e, --env <variable>', 'NAME=VALUE', collect)
    .option('-c, --constraint <rule>', 'where it may run: node.hostname==pi2', collect)
    .option('-l, --label <label>', 'NAME=VALUE', collect)
    .option('-v, --volume <volume>', 'NAME:/PATH, or /FOLDER:/PATH[:ro]', collect)
    .option('--network <name>', 'an overlay network', collect)
    .option('-m, --memory <limit>', 'at most so much memory per copy: 64m')
    .option(
      '--restart-delay <time>',
      'before a failed copy is started again: 100ms, 5s (default: `restartDelay` of the settings, 100ms)',
    )
    .option('-d, --detach', 'do not wait until it runs')
    .option('--timeout <time>', 'how long to wait', '90s')
    .action(async (image: string, words: string[], _options, self: Command) => {
      const options = self.optsWithGlobals<DeployOptions>();
      const body = bodyOf(image, words, options);
      const limitMs = limitMsOf(options.timeout);
      await run(await socketOf(options), body, options.detach ? undefined : limitMs);
    });
  return withExamples(command, [
    'pi-swarm deploy whoami --replicas 5',
    'pi-swarm deploy whoami --publish 8080:8000 --name hello',
    'pi-swarm deploy nginx:1.27 --publish 8080:80 --replicas 3',
    'pi-swarm deploy redis --constraint node.hostname==pi2 --volume data:/data',
    'pi-swarm deploy alpine --name clock -- sh -c "while date; do sleep 60; done"',
  ]);
}

/** @throws UsageError */
export function bodyOf(image: string, words: readonly string[], options: Omit<DeployOptions, 'timeout'>): DeployBody {
  if (options.global && options.replicas !== undefined) {
    throw new UsageError(
      '--global and --replicas contradict each other',
      '--global runs one on every Pi; leave out one of the two.',
    );
  }
  return {
    image,
    name: options.name === undefined ? undefined : parseName(options.name),
    global: options.global === true,
    replicas: options.replicas === undefined ? undefined : parseReplicas(options.replicas),
    ports: options.publish?.map(word => parsePublish(image === 'whoami' && /^\d+$/.test(word) ? `${word}:8000` : word)),
    env: (options.env ?? []).map(word => parseEnv(word, process.env)),
    constraints: (options.constraint ?? []).map(parseConstraint),
    labels: Object.fromEntries((options.label ?? []).map(parseLabel)),
    mounts: (options.volume ?? []).map(parseMount),
    networks: options.network ?? [],
    restartDelayMs: options.restartDelay === undefined ? undefined : parseRestartDelay(options.restartDelay),
    memoryLimitBytes: options.memory === undefined ? undefined : parseMemory(options.memory),
    command: words.length === 0 ? undefined : [...words],
  };
}

async function run(socket: string, body: DeployBody, limitMs: number | undefined): Promise<void> {
  if (body.image === 'whoami') note('putting the whoami image on every Pi …');
  const report = (await askLeader(socket, 'deploy', body, { limitMs: limitMs ?? 0, callMs: CALL_MS })) as DeployReport;
  for (const warning of report.warnings) note(`! ${warning}`);
  say(report.unchanged ? `${report.name} is there already, just so` : `${report.name} created from ${report.image}`);
  if (limitMs === undefined) return;
  await waitUntilRuns(socket, report.name, limitMs);
  const port = report.ports.find(candidate => candidate.protocol === 'tcp' && candidate.mode === 'ingress');
  const [address] = report.addresses;
  if (port !== undefined && address !== undefined) {
    say(`try it, on any Pi: curl http://${address}${port.published === 80 ? '' : `:${port.published}`}/`);
  }
}
