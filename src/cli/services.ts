/** `pi-swarm services` */
import type { Command } from 'commander';
import type { ServiceReport } from '../commands/types.ts';
import { callAgent } from '../control/client.ts';
import { type CommonOptions, readingCommand, socketOf } from './options.ts';
import { cut, paintFor, say, sayJson, table } from './output.ts';
import { portsText } from './render.ts';

export function servicesCommand(): Command {
  return readingCommand('services', ['pi-swarm services', 'pi-swarm services --json | jq ".[].running"'])
    .description('Lists the services: how many copies run of how many wished, their ports, and on which Pis they run.')
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions>();
      const services = (await callAgent(await socketOf(options), 'services')) as ServiceReport[];
      if (options.json) sayJson(services);
      else if (services.length === 0) say('No service runs. Start the demo: pi-swarm deploy whoami');
      else for (const line of renderServices(services)) say(line);
    });
}

export function renderServices(services: readonly ServiceReport[], paint = paintFor(process.stdout)): string[] {
  const header = ['NAME', 'IMAGE', 'RUNNING', 'PORTS', 'WHERE'].map(title => paint('dim', title));
  const rows = services.map(service => [
    service.name,
    cut(service.image, 40),
    runningText(service, paint),
    portsText(service.ports),
    whereText(service.where),
  ]);
  return table([header, ...rows]);
}

function runningText({ running, desired, replicas }: ServiceReport, paint: ReturnType<typeof paintFor>): string {
  const text = `${running}/${desired}${replicas === undefined ? ' global' : ''}`;
  return paint(running >= desired ? 'green' : 'yellow', text);
}

/** `pi1×2 pi3`, by name, with numbers in names in their order. */
export function whereText(where: Readonly<Record<string, number>>): string {
  const names = Object.keys(where).sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return names.length === 0 ? '–' : names.map(name => (where[name] === 1 ? name : `${name}×${where[name]}`)).join(' ');
}
