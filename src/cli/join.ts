/** `pi-swarm join` */
import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';
import { callAgent, fetchSnapshot } from '../control/client.ts';
import type { Snapshot } from '../core/snapshot.ts';
import { isPiSwarmError, UsageError } from '../errors.ts';
import { parseSecret } from '../io/secret.ts';
import { type Taken, takeSecret } from './claim.ts';
import { withExamples } from './help.ts';
import { type CommonOptions, socketOf } from './options.ts';
import { note, say } from './output.ts';
import { limitMsOf, waitFor } from './wait.ts';

interface JoinOptions extends CommonOptions {
  force?: boolean;
  detach?: boolean;
  timeout: string;
}

export function joinCommand(): Command {
  const command = new Command('join')
    .description(
      'Brings this Pi into a cluster. TOKEN comes from `sudo pi-swarm invite` on one of its Pis, or is the cluster secret.\nWith - it is read from standard input, so that it stands in no shell history and no list of processes.\nWithout TOKEN, a Pi that has left goes back to the cluster whose secret it holds; a Pi without secret asks for it.',
    )
    .argument('[token]', 'the token, or - to read it from standard input')
    .option('--force', 'overwrite the secret of another cluster')
    .option('-d, --detach', 'do not wait until it has joined')
    .option('--timeout <time>', 'how long to wait', '90s')
    .action(async (token: string | undefined, _options, self: Command) => {
      const options = self.optsWithGlobals<JoinOptions>();
      const limitMs = limitMsOf(options.timeout);
      const socket = await socketOf(options);
      const before = await glance(socket);
      const { agent, changed } = await enter(token, socket, options);
      if (!agent) {
        say('The secret is in place; this Pi joins as soon as the agent runs: sudo systemctl start pi-swarm');
        return;
      }
      // The agent still shows its old cluster for a moment.
      const left = changed && before?.self.claimed ? before.cluster.tag : undefined;
      if (!options.detach) await untilInside(socket, limitMs, left);
    });
  return withExamples(command, [
    'sudo pi-swarm join PISW1-…           with the token of `pi-swarm invite`',
    'sudo pi-swarm join -                 the same, read from standard input',
    'sudo pi-swarm join                   go back after `pi-swarm leave`',
  ]);
}

async function enter(token: string | undefined, socket: string, options: JoinOptions): Promise<Taken> {
  if (token === undefined) {
    const { self } = await fetchSnapshot(socket);
    if (self.claimed) {
      await callAgent(socket, 'return');
      return { agent: true, changed: false };
    }
  }
  const text = token === undefined ? await ask() : token === '-' ? await readAll() : token;
  // The checksum first: a typo is told before anything else happens.
  const secret = parseSecret(text);
  const taken = await takeSecret(secret, options);
  if (!taken.changed) note('This Pi has that secret already.');
  return taken;
}

async function ask(): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new UsageError(
      'which cluster? There is no token',
      'Give it: sudo pi-swarm join TOKEN, or pipe it into: pi-swarm join -',
    );
  }
  const line = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await line.question('Token (from `sudo pi-swarm invite` on a Pi of the cluster): ');
  } finally {
    line.close();
  }
}

/** A token is 80 characters; whatever is longer is not one. */
const INPUT_MAX = 4096;

async function readAll(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.length > INPUT_MAX)
      throw new UsageError('standard input holds more than a token', 'Pipe only the token: sudo pi-swarm invite');
  }
  return text;
}

/** @param left tag of the cluster that it is to be in no more */
async function untilInside(socket: string, limitMs: number, left: string | undefined): Promise<void> {
  const isInside = (seen: Snapshot | undefined) => isMember(seen) && seen?.cluster.tag !== left;
  let last: Snapshot | undefined;
  const snapshot = await waitFor<Snapshot | undefined>({
    what: 'this Pi to be in the swarm',
    limitMs,
    cure: 'It goes on trying. See how far it is: pi-swarm status; what hinders it: sudo pi-swarm doctor',
    look: async () => {
      last = await glance(socket);
      return last;
    },
    done: isInside,
    progress: seen =>
      seen === undefined ? 'the agent starts with its new secret' : isInside(seen) ? 'in the swarm' : seen.doing,
    why: () => last?.notices.find(notice => notice.severity !== 'info')?.text,
  });
  if (snapshot === undefined) return;
  const { self, cluster } = snapshot;
  const role = self.swarm.state === 'active' ? self.swarm.role : 'member';
  say(
    `${self.name} is in cluster ${cluster.tag.slice(0, 8)} as a ${role}; it has ${cluster.pis.length} ${cluster.pis.length === 1 ? 'Pi' : 'Pis'}.`,
  );
}

const isMember = (snapshot: Snapshot | undefined): boolean =>
  snapshot !== undefined &&
  snapshot.self.intent === 'stay' &&
  snapshot.self.claimed &&
  snapshot.self.swarm.state === 'active';

/** The agent may start anew to take its new secret: for that moment nobody answers. */
async function glance(socket: string): Promise<Snapshot | undefined> {
  try {
    return await fetchSnapshot(socket);
  } catch (error) {
    if (isPiSwarmError(error) && error.code === 'unavailable') return undefined;
    throw error;
  }
}
