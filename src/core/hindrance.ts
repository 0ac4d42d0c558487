/** Why tasks are not moved now to even out the load: something is not as it will be in a moment. Pure. */
import { isChanging, refOf } from './managers.ts';
import type { World } from './observe.ts';
import type { Steadiness } from './steady.ts';
import type { SwarmNode, SwarmService } from './world.ts';

/** A service that is incomplete for longer than this does not get complete by waiting; the others need not wait for it. */
const BROKEN_AFTER_MS = 60_000;

/**
 * The first thing that has to pass, as a sentence; undefined: now is a good time.
 * @param asked somebody waits for it: what is calm need not have been so for long
 */
export function hindrance(world: World, asked: boolean): string | undefined {
  const { nodes, services, steady } = world;
  if (nodes === undefined || services === undefined || steady === undefined) return 'the leader has only just looked';
  return (
    first(services, service => busy(world, steady, service)) ??
    first(nodes, node => unsteady(world, steady, node, asked)) ??
    first(nodes, node => (isChanging(node) ? `${refOf(node).name} becomes a ${node.role}` : undefined)) ??
    (asked ? undefined : resting(world, steady))
  );
}

/** In how long everything will have been calm for long enough, if nothing happens until then. */
export function calmInMs({ nowMs, wish }: World, { nodes, movedMs }: Steadiness): number {
  const here = Object.values(nodes).filter(({ state }) => state === 'here');
  const ends = here.map(({ sinceMs }) => sinceMs + wish.steadyForMs);
  return Math.max(nowMs, ...ends, movedMs === undefined ? 0 : movedMs + wish.rebalanceEveryMs) - nowMs;
}

function first<T>(all: readonly T[], why: (it: T) => string | undefined): string | undefined {
  for (const it of all) {
    const reason = why(it);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

function unsteady(world: World, steady: Steadiness, node: SwarmNode, asked: boolean): string | undefined {
  const { state, sinceMs } = steady.nodes[node.nodeId] ?? { state: 'unsure', sinceMs: world.nowMs };
  const { name } = refOf(node);
  const ms = world.nowMs - sinceMs;
  const isSuspect = world.peers.some(
    ({ liveness, status }) =>
      liveness === 'suspect' && status.swarm.state === 'active' && status.swarm.nodeId === node.nodeId,
  );
  switch (state) {
    case 'here':
      if (isSuspect) return `${name} is not heard at the moment`;
      return asked || ms >= world.wish.steadyForMs
        ? undefined
        : `${name} is not steady yet: ${seconds(ms)} of ${seconds(world.wish.steadyForMs)} s`;
    case 'away':
      // A reboot takes less. Who stays away for longer must not keep the others from their share.
      return ms >= world.wish.replaceAfterMs
        ? undefined
        : `${name} is down; it is waited for, ${seconds(ms)} of ${seconds(world.wish.replaceAfterMs)} s`;
    case 'going':
      return `${name} is leaving`;
    case 'silent':
      return ms >= world.wish.replaceAfterMs ? undefined : `the agent of ${name} is not heard`;
    case 'unsure':
      return `the swarm does not know yet whether ${name} is up`;
  }
}

function busy(world: World, steady: Steadiness, service: SwarmService): string | undefined {
  const { state = 'unsettled', brokenSinceMs = world.nowMs } = steady.services[service.id] ?? {};
  const brokenFor = world.nowMs - brokenSinceMs;
  switch (state) {
    case 'full':
      return undefined;
    case 'moving':
      return `${service.name} is moving`;
    case 'updating':
      return brokenFor >= BROKEN_AFTER_MS ? undefined : `${service.name} is being updated`;
    case 'unsettled':
      return brokenFor >= BROKEN_AFTER_MS
        ? undefined
        : `${service.name} is not complete: ${service.running} of ${service.desired} run`;
  }
}

function resting({ nowMs, wish }: World, { movedMs }: Steadiness): string | undefined {
  if (movedMs === undefined || nowMs - movedMs >= wish.rebalanceEveryMs) return undefined;
  return `the last move ended just now: ${seconds(nowMs - movedMs)} of ${seconds(wish.rebalanceEveryMs)} s`;
}

const seconds = (ms: number): number => Math.floor(ms / 1000);
