/**
 * How a move of tasks is written into a service's spec, and taken out again. Pure; `core/moving` says when, and why it works.
 * swarmkit: `orchestrator.IsTaskDirty` leaves tasks alone whose node still matches when only `Placement` changed;
 * `replicated.Orchestrator` scales down slots with two tasks first.
 */
import type { ServiceMove } from '../core/world.ts';
import type { WirePlacement, WireServiceSpec } from './engine-map.ts';
import { isObject, withoutOurs } from './service-merge.ts';

/** Service label that holds what a move has to put back, as JSON. */
export const MOVE_LABEL = 'pi-swarm.move';

const PHASES: readonly unknown[] = ['surge', 'block', 'back'] satisfies ServiceMove['phase'][];
const WHYS: readonly unknown[] = ['leave', 'rebalance', 'health', 'lost'] satisfies ServiceMove['why'][];

interface Kept extends ServiceMove {
  /** As the user wished it. */
  replicas: number;
  /** Since `block` or `back`: what was there before, and the constraints that were added. */
  before?: { placement?: WirePlacement; update?: object; added: string[] };
}

/** What the label says; undefined where there is none, or one that nobody can read: then it counts as none. */
function keptOf(spec: WireServiceSpec): Kept | undefined {
  try {
    const kept: unknown = JSON.parse(spec.Labels?.[MOVE_LABEL] ?? 'null');
    return isKept(kept) ? kept : undefined;
  } catch {
    return undefined;
  }
}

function isKept(kept: unknown): kept is Kept {
  if (!isObject(kept) || typeof kept.from !== 'string' || kept.from === '') return false;
  if (!WHYS.includes(kept.why) || !PHASES.includes(kept.phase)) return false;
  if (!isCount(kept.count) || kept.count === 0 || !isCount(kept.replicas)) return false;
  return kept.phase === 'surge' || isBefore(kept.before);
}

const isBefore = (before: unknown): boolean =>
  isObject(before) &&
  (before.placement === undefined || isObject(before.placement)) &&
  (before.update === undefined || isObject(before.update)) &&
  Array.isArray(before.added);

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/** The move that a service is in. */
export function moveOf(spec: WireServiceSpec): ServiceMove | undefined {
  const kept = keptOf(spec);
  if (kept === undefined) return undefined;
  const { from, count, why, phase, replicas } = kept;
  const disturbed = spec.Mode?.Replicated?.Replicas !== replicas + count;
  return { from, count, why, phase, ...(disturbed ? { disturbed } : {}) };
}

/**
 * What the user wished: the label knows, unless somebody has scaled in the meantime. (With `docker service scale` to exactly as many
 * as run during the move nobody can tell: it ends as it was before.)
 */
export function wishedReplicas(spec: WireServiceSpec): number | undefined {
  const replicas = spec.Mode?.Replicated?.Replicas;
  const kept = keptOf(spec);
  return kept !== undefined && replicas === kept.replicas + kept.count ? kept.replicas : replicas;
}

/** The user's own placement, also while a move has added to it. */
export function wishedPlacement(spec: WireServiceSpec): WirePlacement {
  const now = spec.TaskTemplate?.Placement;
  const before = keptOf(spec)?.before;
  return (before === undefined ? now : withoutOurs(before.placement, blockedPlacement(before), now)) ?? {};
}

/** The user's own update config, also while a move has put its own in the place. */
function wishedUpdate(spec: WireServiceSpec): object | undefined {
  const kept = keptOf(spec);
  if (kept?.before === undefined) return spec.UpdateConfig;
  return withoutOurs(kept.before.update, blockedUpdate(kept), spec.UpdateConfig);
}

/** @returns undefined where nothing is to be done: a move is under way, or the service is global */
export function started(
  spec: WireServiceSpec,
  move: Pick<ServiceMove, 'from' | 'count' | 'why'>,
): WireServiceSpec | undefined {
  const replicas = spec.Mode?.Replicated?.Replicas;
  if (replicas === undefined || move.count < 1 || keptOf(spec) !== undefined) return undefined;
  const { from, count, why } = move;
  return withMove(withReplicas(spec, replicas + count), { from, count, why, phase: 'surge', replicas });
}

/**
 * Also in the middle of a move: then what the user wishes changes, and as many as before are on their way. A blocked one ends: where
 * no node may run anything new, more would wait, and then a minute longer (swarmkit gives a task that waits so long to stop).
 */
export function scaled(spec: WireServiceSpec, replicas: number): WireServiceSpec | undefined {
  if (wishedReplicas(spec) === replicas) return undefined;
  const kept = keptOf(spec);
  if (kept === undefined) return withReplicas(spec, replicas);
  // Who wants none waits for no move either.
  if (replicas === 0 || kept.phase !== 'surge') return withReplicas(ended(spec) ?? spec, replicas);
  return withMove(withReplicas(spec, replicas + kept.count), { ...kept, replicas });
}

/**
 * @param back nodes of new tasks that do not run: those get successors, instead of the tasks that were to leave
 * @returns undefined where no move was started, or it is blocked already
 */
export function blocked(
  spec: WireServiceSpec,
  empty: readonly string[],
  back?: readonly string[],
): WireServiceSpec | undefined {
  const kept = keptOf(spec);
  if (kept?.phase !== 'surge') return undefined;
  const placement = spec.TaskTemplate?.Placement;
  const update = spec.UpdateConfig;
  const already = placement?.Constraints ?? [];
  const phase = back === undefined ? 'block' : 'back';
  const added = [...(back ?? [kept.from]), ...empty]
    .map(node => `node.id!=${node}`)
    .filter(one => !already.includes(one));
  const before = { ...(placement && { placement }), ...(update && { update }), added };
  return {
    ...withMove(spec, { ...kept, phase, before }),
    TaskTemplate: { ...spec.TaskTemplate, Placement: blockedPlacement(before) },
    UpdateConfig: blockedUpdate({ ...kept, phase }),
  };
}

const blockedPlacement = ({ placement, added }: { placement?: WirePlacement; added: string[] }): WirePlacement => ({
  ...placement,
  Constraints: [...(placement?.Constraints ?? []), ...added],
  // Where a task of it runs there is no room for another: the successors wait for ever.
  MaxReplicas: 1,
});

const blockedUpdate = ({ phase, count }: Pick<ServiceMove, 'phase' | 'count'>): object => ({
  // 0: all at once, also those that run there. Of slots with two tasks, swarmkit takes those away first in which none runs.
  Parallelism: phase === 'back' ? 0 : count,
  Order: 'start-first',
  FailureAction: 'continue',
});

/** @returns undefined where there is no move to end */
export function ended(spec: WireServiceSpec): WireServiceSpec | undefined {
  if (spec.Labels?.[MOVE_LABEL] === undefined) return undefined;
  const { [MOVE_LABEL]: _, ...Labels } = spec.Labels;
  const wished = wishedReplicas(spec);
  const scaled = wished === undefined ? spec : withReplicas(spec, wished);
  if (keptOf(spec)?.before === undefined) return { ...scaled, Labels };
  const { UpdateConfig: __, ...rest } = scaled;
  const update = wishedUpdate(spec);
  return {
    ...rest,
    Labels,
    // Never without one, also where there was none: swarmkit's `nodeMatches` reads it from tasks that had one, unchecked.
    TaskTemplate: { ...spec.TaskTemplate, Placement: wishedPlacement(spec) },
    ...(update && { UpdateConfig: update }),
  };
}

const withReplicas = (spec: WireServiceSpec, replicas: number): WireServiceSpec => ({
  ...spec,
  Mode: { Replicated: { Replicas: replicas } },
});

const withMove = (spec: WireServiceSpec, kept: Kept): WireServiceSpec => ({
  ...spec,
  Labels: { ...spec.Labels, [MOVE_LABEL]: JSON.stringify(kept) },
});
