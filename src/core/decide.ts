/** Which steps bring the world to the wish. Pure and total: every world has an answer, and most often it is to wait. */
import { abandon, form, merge, mergeVerdict, swarmLabels } from './formation.ts';
import { nurse } from './health.ts';
import { delistedBy, goodbye, hasList, REMOVED_GRACE_MS, tend } from './leaving.ts';
import { forget, manage } from './managers.ts';
import { advance, rescue } from './moving.ts';
import { rename } from './names.ts';
import { activePeers, type World } from './observe.ts';
import { patienceOf } from './patience.ts';
import { rebalance } from './rebalance.ts';
import { type Decision, wait } from './step.ts';
import { awaitEngine, heal, leaveByForce } from './stuck.ts';
import type { ActiveSwarm } from './world.ts';

export function decide(world: World): Decision {
  const decision = judge(world);
  // Where nothing is ours to move, a shutdown waits for nothing.
  const free = decision.rule === 'idle' && world.memory.intent === 'shutdown';
  return free ? { ...decision, mayStop: true } : decision;
}

function judge(world: World): Decision {
  const { swarm, memory } = world;
  if (world.tag === undefined) return wait('idle', 'no cluster secret: this Pi is unclaimed');
  if (world.engine !== 'ready') return whileEngineIsAway(world);
  switch (swarm.state) {
    case 'foreign':
      return wait('idle', 'the engine is in a swarm that this cluster did not make');
    case 'locked':
      return wait('idle', 'the swarm is locked: `docker swarm unlock` opens it');
    case 'none':
      return outside(world);
    case 'pending':
    case 'error':
      return stuck(world, swarm);
    case 'active':
      return remember(world, swarm) ?? inside(world, swarm, memory.intent);
  }
}

function whileEngineIsAway(world: World): Decision {
  if (world.memory.intent === 'shutdown') {
    // One late answer of a busy engine must not cost the work that was about to move.
    const gone = world.engine === 'absent' || world.nowMs - world.since.engineReadyMs >= slowLimitMs(world);
    return gone ? { ...awaitEngine(world), mayStop: true } : { ...awaitEngine(world), rule: 'L1' };
  }
  return heal(world) ?? awaitEngine(world);
}

const slowLimitMs = ({ wish }: World): number => Math.min(15_000, wish.drainTimeoutMs / 2);

function outside(world: World): Decision {
  switch (world.memory.intent) {
    case 'left':
      return wait('idle', 'this Pi has left; `pi-swarm join` brings it back');
    case 'leave':
      return { rule: 'L1', why: 'it is in no swarm any more', steps: [{ action: 'intend', intent: 'left' }] };
    case 'shutdown':
      return { rule: 'L1', why: 'it is in no swarm', steps: [], mayStop: true };
    case 'stay':
      return rename(world) ?? makeImage(world) ?? form(world);
  }
}

/**
 * The engine wants to be in a swarm and is not: a join that hangs, a Pi that was removed or replaced while it was away,
 * certificates that ended. With a manager in sight it can start anew; without one it waits, for its state may be needed.
 */
function stuck(world: World, swarm: { state: 'pending' | 'error'; nodeId: string; reason: string }): Decision {
  if (world.memory.intent === 'leave') return { rule: 'L1', why: swarm.reason, steps: leaveByForce };
  if (world.memory.intent === 'shutdown') return { rule: 'L1', why: swarm.reason, steps: [], mayStop: true };
  const managers = activePeers(world).filter(peer => peer.liveness === 'alive' && peer.swarm.quorum);
  const manager = managers.find(hasList) ?? managers[0];
  if (manager === undefined)
    return wait('F1', `the engine is ${swarm.state} (${swarm.reason}) and no manager is in sight`);
  const { members, name } = manager.status;
  if (hasList(manager) && !members?.includes(swarm.nodeId) && world.nowMs - world.since.swarmMs >= REMOVED_GRACE_MS) {
    return abandon('F1', `${name} does not list this Pi: it was removed while it was away`);
  }
  if (world.nowMs - world.since.swarmMs < world.wish.stuckAfterMs) {
    return wait('F1', `the engine is ${swarm.state}: ${swarm.reason}`);
  }
  const seconds = Math.round(world.wish.stuckAfterMs / 1000);
  return abandon('F1', `the engine has been ${swarm.state} for ${seconds} s beside a manager (${swarm.reason})`);
}

function remember(world: World, swarm: ActiveSwarm): Decision | undefined {
  const { memory } = world;
  if (memory.swarmId === swarm.swarmId && memory.swarmNodeId === swarm.nodeId) return undefined;
  const steps: Decision['steps'] = [{ action: 'remember', swarmId: swarm.swarmId, swarmNodeId: swarm.nodeId }];
  return { rule: 'F1', why: 'this Pi is in a swarm', steps };
}

function inside(world: World, swarm: ActiveSwarm, intent: World['memory']['intent']): Decision {
  if (intent === 'left') {
    const steps: Decision['steps'] = [{ action: 'intend', intent: 'stay' }];
    return { rule: 'F1', why: 'it had left, but it is in a swarm again', steps };
  }
  return (
    removed(world, swarm) ??
    heal(world) ??
    merge(world, swarm) ??
    lead(world, swarm) ??
    (intent === 'stay' ? undefined : goodbye(world, swarm, intent)) ??
    makeImage(world) ??
    wait('idle', idleBecause(world, swarm))
  );
}

/** The leader does not list this engine: somebody removed it, perhaps while it was away. It comes back as a new node. */
function removed(world: World, swarm: ActiveSwarm): Decision | undefined {
  const leader = world.memory.intent === 'stay' ? delistedBy(world, swarm) : undefined;
  if (leader === undefined) return undefined;
  return abandon('F1', `${leader}, the leader, does not list this Pi any more`);
}

/** What only the leader's agent does, and only with quorum: the others would do the same a moment later. */
function lead(world: World, swarm: ActiveSwarm): Decision | undefined {
  const { nodes } = world;
  if (!swarm.leader || !swarm.quorum || nodes === undefined) return undefined;
  return (
    tune(world) ??
    advance(world) ??
    tend(world, nodes) ??
    rescue(world, nodes) ??
    forget(world, nodes) ??
    nurse(world, nodes) ??
    acting(manage(world, nodes)) ??
    rebalance(world)
  );
}

/** A rule of the leader that only waits must not keep this Pi from its own leaving. */
const acting = (decision: Decision | undefined): Decision | undefined =>
  decision !== undefined && decision.steps.length > 0 ? decision : undefined;

/** The swarm's settings are the configuration's, with H1's patience: also after somebody has changed them by hand. */
function tune(world: World): Decision | undefined {
  const { settings, wish, tag } = world;
  if (settings === undefined || tag === undefined) return undefined;
  const patience = patienceOf(world, settings);
  const labels = { ...swarmLabels(tag), ...patience.labels };
  const marked = Object.entries(labels).every(([key, value]) => settings.labels[key] === value);
  const { nodeCertExpiryMs } = wish;
  const { heartbeatMs: dispatcherHeartbeatMs, why = "the swarm's settings are not those of the configuration" } =
    patience;
  if (
    marked &&
    settings.dispatcherHeartbeatMs === dispatcherHeartbeatMs &&
    settings.nodeCertExpiryMs === nodeCertExpiryMs
  ) {
    return undefined;
  }
  const rule = patience.why === undefined ? 'M0' : 'H1';
  return { rule, why, steps: [{ action: 'tune', dispatcherHeartbeatMs, nodeCertExpiryMs, labels }] };
}

function makeImage(world: World): Decision | undefined {
  const image = world.missingImages[0];
  if (image === undefined) return undefined;
  return {
    rule: 'I1',
    why: 'the cluster runs it and no registry may be there',
    steps: [{ action: 'make-image', image }],
  };
}

function idleBecause(world: World, swarm: ActiveSwarm): string {
  if (world.since.orphanMs !== undefined) return 'no manager with quorum answers';
  if (mergeVerdict(world).verdict === 'alarm') return 'two swarms have services: a person has to choose';
  if (!swarm.leader) return 'all is well';
  const moving = (world.services ?? []).filter(({ move }) => move !== undefined).map(({ name }) => name);
  if (moving.length > 0) return `tasks of ${moving.join(', ')} are moving`;
  const waiting = world.nodes && manage(world, world.nodes);
  return waiting?.why ?? 'all is well';
}
