/** `pi-swarm status` */
import type { Command } from 'commander';
import { fetchSnapshot } from '../control/client.ts';
import type { Snapshot } from '../core/snapshot.ts';
import { EXIT, PiSwarmError } from '../errors.ts';
import { type CommonOptions, readingCommand, socketOf } from './options.ts';
import { paintFor, say, sayJson } from './output.ts';
import { renderStatus } from './render.ts';

const WATCH_EVERY_MS = 1000;
const CLEAR = '\u001b[H\u001b[2J';

interface StatusOptions extends CommonOptions {
  watch?: boolean;
}

export function statusCommand(): Command {
  return readingCommand('status', [
    'pi-swarm status',
    'pi-swarm status --watch',
    'pi-swarm status --json | jq .cluster.state',
  ])
    .description(
      'How the cluster is, in one screen: the Pis, what runs, what is wrong and what to do.\nEnds with code 8 when something is wrong that needs a person.',
    )
    .option('-w, --watch', 'show it anew each second, until Ctrl-C')
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<StatusOptions>();
      const socket = await socketOf(options);
      if (options.watch) await watch(socket, options);
      else {
        const snapshot = await fetchSnapshot(socket);
        print(snapshot, options);
        if (isUnhealthy(snapshot)) process.exitCode = EXIT.unhealthy;
      }
    });
}

/** Something is wrong that does not cure itself. */
export const isUnhealthy = (snapshot: Snapshot): boolean =>
  snapshot.cluster.state === 'down' || snapshot.notices.some(notice => notice.severity === 'error');

function print(snapshot: Snapshot, options: StatusOptions): void {
  if (options.json) sayJson(snapshot);
  else for (const line of renderStatus(snapshot, { paint: paintFor(process.stdout), width: columns() })) say(line);
}

/** Not wider than 120: long lines are hard to read; not narrower than what the table needs. */
export const columns = (): number => Math.min(120, Math.max(60, process.stdout.columns ?? 80));

/** Until Ctrl-C, or until the reader goes away. */
async function watch(socket: string, options: StatusOptions): Promise<void> {
  let over = false;
  const stop = () => {
    over = true;
  };
  process.once('SIGINT', stop);
  process.stdout.once('error', stop);
  while (!over) {
    const shown = await fetchSnapshot(socket).catch((error: unknown) => {
      if (error instanceof PiSwarmError && error.code === 'unavailable') return error;
      throw error;
    });
    if (process.stdout.isTTY) process.stdout.write(CLEAR);
    if (shown instanceof PiSwarmError) say(`${shown.message}\n${shown.cure ?? ''}`);
    else print(shown, options);
    for (let waited = 0; waited < WATCH_EVERY_MS && !over; waited += 100) await new Promise(go => setTimeout(go, 100));
  }
}
