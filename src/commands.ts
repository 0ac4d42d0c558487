/**
 * The commands that the control socket and peers can call. One that needs a manager runs here when this Pi is one, else a
 * manager among the peers runs it: forwarded once, never further.
 */

import { bound } from './commands/bound.ts';
import { deploy, prepareWhoami } from './commands/deploy.ts';
import { drain, drained } from './commands/drain.ts';
import { listEvents } from './commands/events.ts';
import { claim, comeBack, leave } from './commands/membership.ts';
import { rebalance } from './commands/rebalance.ts';
import { listServices, oneService, remove, scale } from './commands/services.ts';
import type { CommandContext, CommandDeps, CommandHandler, Commands } from './commands/types.ts';
import { isPiSwarmError, NotFoundError, PiSwarmError, RefusedError } from './errors.ts';

export type { CommandContext, CommandDeps, CommandHandler, Commands } from './commands/types.ts';

interface Rule {
  run(deps: CommandDeps, body: unknown): Promise<unknown>;
  /** Only a manager can do it. */
  manager?: boolean;
  /** Only the leader can do it. */
  leader?: boolean;
  /** Peers may ask for it, too. Everything else is for the command line of this Pi only. */
  peers?: boolean;
  /** How long a manager may take when it does it for us. */
  forwardMs?: number;
}

const RULES: Record<string, Rule> = {
  deploy: { run: deploy, manager: true, peers: true, forwardMs: 120_000 },
  scale: { run: scale, manager: true, peers: true },
  rm: { run: remove, manager: true, peers: true },
  services: { run: listServices, manager: true, peers: true },
  service: { run: oneService, manager: true, peers: true },
  drain: { run: drain, manager: true, peers: true },
  drained: { run: drained, manager: true, peers: true },
  bound: { run: bound, manager: true, peers: true },
  rebalance: { run: rebalance, leader: true, peers: true },
  'prepare-whoami': { run: prepareWhoami, peers: true },
  events: { run: listEvents },
  claim: { run: claim },
  return: { run: comeBack },
  leave: { run: leave },
};

/** At most this many managers are asked; a swarm has up to seven. */
const TRIES_MAX = 3;
const FORWARD_MS = 15_000;

export function createCommands(deps: CommandDeps): Commands {
  const commands: Commands = {};
  for (const [name, rule] of Object.entries(RULES)) commands[name] = handlerOf(deps, name, rule);
  return commands;
}

/** @throws NotFoundError for a name that is no command, else what the command throws. */
export async function runCommand(
  commands: Commands,
  name: string,
  body: unknown,
  context: CommandContext,
): Promise<unknown> {
  const handler = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (handler === undefined) {
    const cure = 'The Pis may run different versions: install the same release on all of them.';
    throw new NotFoundError(`this Pi’s agent knows no command ${name}`, cure);
  }
  return handler(body, context);
}

function handlerOf(deps: CommandDeps, name: string, rule: Rule): CommandHandler {
  return async (body, { from }) => {
    if (from !== 'local' && !rule.peers) {
      throw new RefusedError(
        `${name} can only be asked for on ${deps.self.name} itself`,
        `Log in to ${deps.self.name}.`,
      );
    }
    if (!rule.manager && !rule.leader) return rule.run(deps, body);
    if (rule.leader ? deps.isLeader() : deps.isManager()) {
      try {
        return await rule.run(deps, body);
      } catch (error) {
        // A manager that was promoted a moment ago, or that has just lost the leader; another one may do it.
        const passing = isPiSwarmError(error) && error.code === 'unavailable';
        if (!passing || from !== 'local' || deps.managers().length === 0) throw error;
      }
    }
    if (from !== 'local') {
      const what = rule.leader ? 'does not lead the swarm any more' : 'is not a manager any more';
      throw new PiSwarmError('unavailable', `${deps.self.name} ${what}`, 'Try again.');
    }
    return forward(deps, name, body, rule.forwardMs ?? FORWARD_MS);
  };
}

/** The first manager that answers decides, also when it says no; one that cannot be reached is passed over. */
async function forward(deps: CommandDeps, name: string, body: unknown, timeoutMs: number): Promise<unknown> {
  let last: unknown;
  for (const manager of deps.managers().slice(0, TRIES_MAX)) {
    try {
      return await deps.peers.request(manager, name, body, { timeoutMs });
    } catch (error) {
      if (!isPiSwarmError(error) || error.code !== 'unavailable') throw error;
      last = error;
    }
  }
  if (last !== undefined) throw last;
  throw noManager(deps);
}

function noManager({ snapshot }: CommandDeps): PiSwarmError {
  const { self, cluster, notices } = snapshot();
  if (!self.claimed) {
    const cure =
      'Bring it into a cluster first: sudo pi-swarm join TOKEN (TOKEN from `pi-swarm invite` on a Pi of the cluster).';
    return new PiSwarmError('unavailable', 'this Pi belongs to no cluster yet', cure);
  }
  if (self.swarm.state === 'none' && (self.intent === 'left' || self.intent === 'leave')) {
    return new PiSwarmError('unavailable', 'this Pi has left the cluster', 'Bring it back: sudo pi-swarm join');
  }
  if (self.engine.state !== 'ready') {
    const silent = notices.some(({ kind }) => kind === 'swarm-silent');
    const what = silent
      ? 'the Docker Engine of this Pi has lost touch with its swarm'
      : `the Docker Engine of this Pi ${self.engine.state === 'slow' ? 'is slow to answer' : 'does not answer'}`;
    return new PiSwarmError('unavailable', what, 'pi-swarm status says what to do; other Pis may answer meanwhile.');
  }
  if (self.swarm.state === 'none' || self.swarm.state === 'pending') {
    const cure = 'Wait a moment; pi-swarm status says how far it is.';
    return new PiSwarmError('unavailable', 'the swarm is still forming', cure);
  }
  const known = cluster.managers === 1 ? 'the one manager is' : `none of the ${cluster.managers} managers is`;
  return new PiSwarmError(
    'unavailable',
    `no manager with a majority can be reached (${known} in reach)`,
    'Running tasks go on. pi-swarm status says what is wrong and what to do.',
  );
}
