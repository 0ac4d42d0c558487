/** What only peers ask for, beside the commands of the command line: how to join, the published ports, the leader's view. */
import type { ClusterView } from './core/show.ts';
import type { SwarmStatus } from './core/world.ts';
import { PiSwarmError, RefusedError } from './errors.ts';
import type { Engine } from './ports.ts';

export interface PeerCommandPorts {
  engine: Pick<Engine, 'workerToken'>;
  name: string;
  swarm(): SwarmStatus;
  /** This swarm is giving way to another one (F3): nobody may join it. */
  dissolving(): boolean;
  /** IPv4 of this Pi, as the swarm advertises it. */
  address(): string | undefined;
  mesh(): unknown;
  view(): ClusterView | undefined;
  /** What happened, for those who have not heard it. */
  chronicle(request: unknown): unknown;
}

type Handler = (body?: unknown) => Promise<unknown> | unknown;

export function peerCommands(ports: PeerCommandPorts): Record<string, Handler> {
  return {
    'join-token': () => admit(ports),
    'mesh-table': () => ports.mesh() ?? {},
    'cluster-view': () => ports.view() ?? {},
    chronicle: body => ports.chronicle(body),
  };
}

/** The worker token only: managers are made by promotion, so a stolen answer cannot vote. */
async function admit(ports: PeerCommandPorts): Promise<{ token: string; managers: string[] }> {
  const swarm = ports.swarm();
  if (swarm.state !== 'active' || swarm.role !== 'manager' || !swarm.quorum) {
    throw new PiSwarmError(
      'unavailable',
      `${ports.name} is not a manager with a majority`,
      'Another manager will be asked.',
    );
  }
  if (ports.dissolving()) throw new RefusedError(`the swarm of ${ports.name} is joining another one`);
  const own = ports.address();
  const managers = [
    ...(own === undefined ? [] : [`${own}:2377`]),
    ...swarm.managers.filter(it => it !== `${own}:2377`),
  ];
  return { token: await ports.engine.workerToken(), managers };
}
