/**
 * F1 for a manager whose engine is lost to its swarm while the others go on. It was killed between becoming a manager and its first log entry: its Raft knows
 * nobody, nobody can tell it («sending message to an unrecognized member ID»), and whatever asks the swarm there hangs. Only coming back as a new node helps.
 */
import { abandon } from './formation.ts';
import { type ActivePeer, activePeers, type World } from './observe.ts';
import { majority } from './quorum.ts';
import { type Decision, wait } from './step.ts';

/** Managers' port in lists of managers. */
const MANAGER_PORT = 2377;

/** The leader gets its turn first (M2), then this. 90 s by default: no election takes so long, nor does a restart of all Pis after their leader is back. */
export const stuckLimitMs = (world: World): number => world.wish.replaceAfterMs * 1.5;

/**
 * The leader that demonstrably goes on without this manager, or undefined: then this engine's state may be needed, or nothing is wrong. That a majority is lost must
 * never be healed by this, so the others have to be a majority of all managers by themselves.
 */
export function leaderBeyond(world: World): ActivePeer | undefined {
  const swarmId = swarmOf(world);
  if (swarmId === undefined || !isSign(world)) return undefined;
  const others = activePeers(world).filter(
    ({ liveness, swarm }) =>
      liveness === 'alive' && swarm.swarmId === swarmId && swarm.role === 'manager' && swarm.quorum,
  );
  const leader = others.find(({ swarm }) => swarm.leader);
  if (leader === undefined) return undefined;
  const managers = new Set(leader.swarm.managers);
  if (!isManager(world) && !managers.has(`${world.self.address}:${MANAGER_PORT}`)) return undefined;
  const withoutMe = managers.size > 0 && others.length >= majority(managers.size);
  return withoutMe ? leader : undefined;
}

/** An engine that is slow in everything may have a slow SD card, and one that is away may be restarting: neither is a sign. */
const isSign = (world: World): boolean =>
  world.swarmSilent === true ||
  (world.engine === 'ready' && isManager(world) && world.swarm.state === 'active' && !world.swarm.quorum);

const isManager = ({ swarm }: World): boolean => swarm.state === 'active' && swarm.role === 'manager';

/** After a restart of the agent such an engine has never said where it is: then memory tells. */
function swarmOf({ swarm, memory }: World): string | undefined {
  if (swarm.state === 'active') return swarm.swarmId;
  return swarm.state === 'none' ? memory.swarmId : undefined;
}

/** This engine has been lost to its swarm for long enough. A Pi that only shuts down needs nothing of this. */
export function heal(world: World): Decision | undefined {
  const { memory, nowMs, since, stuckSinceMs, wish } = world;
  if (memory.intent === 'leave' && world.swarmSilent && nowMs - since.intentMs >= wish.drainTimeoutMs) {
    return { rule: 'L1', why: 'its engine does not answer for the swarm', steps: leaveByForce };
  }
  const limitMs = stuckLimitMs(world);
  const leader = leaderBeyond(world)?.status.name;
  if (leader === undefined || stuckSinceMs === undefined || nowMs - stuckSinceMs < limitMs) return undefined;
  const why = `its engine has been lost to the swarm for ${Math.round(limitMs / 1000)} s, and ${leader} leads it without this Pi`;
  if (memory.intent === 'leave') return { rule: 'L1', why, steps: leaveByForce };
  return memory.intent === 'stay' ? abandon('F1', why) : undefined;
}

/** While the engine says nothing of use. */
export function awaitEngine(world: World): Decision {
  const leader = leaderBeyond(world)?.status.name;
  if (leader === undefined) return wait('idle', `the engine is ${world.engine}`);
  return wait('F1', `the engine does not answer for its swarm, which ${leader} leads`);
}

export const leaveByForce: Decision['steps'] = [
  { action: 'leave', force: true },
  { action: 'remember', swarmId: undefined, swarmNodeId: undefined },
  { action: 'intend', intent: 'left' },
];
