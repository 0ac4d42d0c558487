/** `pi-swarm nodes` */
import type { Command } from 'commander';
import { fetchSnapshot } from '../control/client.ts';
import { type CommonOptions, readingCommand, socketOf } from './options.ts';
import { paintFor, say, sayJson } from './output.ts';
import { renderPis } from './render.ts';
import { columns } from './status.ts';

export function nodesCommand(): Command {
  return readingCommand('nodes', ['pi-swarm nodes', 'pi-swarm nodes --json | jq -r ".[].address"'])
    .description('Lists the Pis of the cluster; the one you are on carries a *.')
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions>();
      const { cluster } = await fetchSnapshot(await socketOf(options));
      if (options.json) sayJson(cluster.pis);
      else for (const line of renderPis(cluster.pis, { paint: paintFor(process.stdout), width: columns() })) say(line);
    });
}
