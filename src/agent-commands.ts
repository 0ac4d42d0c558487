/** Everything that can be asked of an agent: the command line's commands, and what only peers ask for. */
import { type CommandContext, type CommandDeps, createCommands, runCommand } from './commands.ts';
import type { Config } from './config.ts';
import type { Snapshot } from './core/snapshot.ts';
import type { Intent, NodeId } from './core/world.ts';
import { WHOAMI_IMAGE, WHOAMI_PORT } from './io/whoami.ts';
import { type PeerCommandPorts, peerCommands } from './peer-commands.ts';
import type { Engine, Peers } from './ports.ts';
import { managersOf, membersOf } from './swarm-peers.ts';

export type RunCommand = (from: CommandContext['from'], name: string, body: unknown) => Promise<unknown>;

export interface AgentCommandPorts extends Omit<PeerCommandPorts, 'name' | 'engine'> {
  self: { id: NodeId; name: string };
  engine: Engine;
  config: Config;
  peers(): Peers | undefined;
  /** @throws PiSwarmError while the Pi belongs to no cluster */
  claimed(): { peers: Peers };
  snapshot(): Snapshot;
  /** The version that this Pi's published ports follow. */
  meshApplied(): string | undefined;
  requestIntent(intent: Intent): Promise<void>;
  ensureWhoami(): Promise<void>;
  events: CommandDeps['events'];
  world: CommandDeps['world'];
  askRebalance: CommandDeps['askRebalance'];
  pickUpSecret(): Promise<void>;
}

export function agentCommands(ports: AgentCommandPorts): RunCommand {
  const { self, engine, config, swarm } = ports;
  const forPeers = peerCommands({ ...ports, name: self.name });
  const commands = createCommands({
    self,
    engine,
    peers: { list: () => ports.peers()?.list() ?? [], request: (...it) => ports.claimed().peers.request(...it) },
    snapshot: ports.snapshot,
    isManager: () => {
      const it = swarm();
      return it.state === 'active' && it.quorum;
    },
    isLeader: () => {
      const it = swarm();
      return it.state === 'active' && it.leader;
    },
    world: ports.world,
    askRebalance: ports.askRebalance,
    managers: () => {
      const it = swarm();
      return it.state === 'active' ? managersOf(ports.peers(), it.swarmId) : [];
    },
    meshApplied: () => {
      const it = swarm();
      const others = it.state === 'active' ? membersOf(ports.peers(), it.swarmId) : [];
      return [ports.meshApplied(), ...others.map(({ status }) => status.meshApplied)];
    },
    requestIntent: ports.requestIntent,
    whoami: { image: WHOAMI_IMAGE, port: WHOAMI_PORT, ensure: ports.ensureWhoami },
    secretFile: config.secretFile,
    pickUpSecret: ports.pickUpSecret,
    restartDelayMs: config.restartDelayMs,
    events: ports.events,
  });
  return async (from, name, body) => {
    const own = from !== 'local' && Object.hasOwn(forPeers, name) ? forPeers[name] : undefined;
    return own ? own(body) : runCommand(commands, name, body, { from });
  };
}
