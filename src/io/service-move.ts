/**
 * How a move of tasks is written into a service's spec, and taken out again. Pure; `core/moving` says when, and why it works.
 * swarmkit: `orchestrator.IsTaskDirty` leaves tasks alone whose node still matches when only `Placement` changed;
 * `replicated.Orchestrator` scales down slots with two tasks first.
 */
import type { ServiceMove } from '../core/world.ts';
import type { WireServiceSpec } from './engine-map.ts';

/** Service label that holds what a move has to put back, as JSON. */
export const MOVE_LABEL = 'pi-swarm.move';

type Placement = NonNullable<NonNullable<WireServiceSpec['TaskTemplate']>['Placement']>;

interface Kept extends ServiceMove {
  /** As the user wished it. */
  replicas: number;
  /** Since `block`: what was there before. */
  before?: { placement?: Placement; update?: object };
}

/** What the label says; undefined where there is none, or one that nobody can read. */
function keptOf(spec: WireServiceSpec): Kept | undefined {
  try {
    const kept = JSON.parse(spec.Labels?.[MOVE_LABEL] ?? 'null') as Partial<Kept> | null;
    if (kept === null || typeof kept.from !== 'string' || kept.why === undefined || kept.phase === undefined)
      return undefined;
    return Number.isInteger(kept.count) && Number.isInteger(kept.replicas) ? (kept as Kept) : undefined;
  } catch {
    return undefined;
  }
}

/** The move that a service is in. */
export function moveOf(spec: WireServiceSpec): ServiceMove | undefined {
  const kept = keptOf(spec);
  return kept && { from: kept.from, count: kept.count, why: kept.why, phase: kept.phase };
}

/** What the user wished: the label knows, unless somebody has scaled in the meantime. */
export function wishedReplicas(spec: WireServiceSpec): number | undefined {
  const replicas = spec.Mode?.Replicated?.Replicas;
  const kept = keptOf(spec);
  return kept !== undefined && replicas === kept.replicas + kept.count ? kept.replicas : replicas;
}

/** The user's own placement, also while a move has added to it. */
export const wishedPlacement = (spec: WireServiceSpec): Placement =>
  (keptOf(spec)?.phase === 'block' ? keptOf(spec)?.before?.placement : spec.TaskTemplate?.Placement) ?? {};

/** @returns undefined where nothing is to be done: a move is under way, or the service is global */
export function started(
  spec: WireServiceSpec,
  move: Pick<ServiceMove, 'from' | 'count' | 'why'>,
): WireServiceSpec | undefined {
  const replicas = spec.Mode?.Replicated?.Replicas;
  if (replicas === undefined || spec.Labels?.[MOVE_LABEL] !== undefined) return undefined;
  return withMove(withReplicas(spec, replicas + move.count), { ...move, phase: 'surge', replicas });
}

/** Also in the middle of a move: then what the user wishes changes, and as many as before are on their way. */
export function scaled(spec: WireServiceSpec, replicas: number): WireServiceSpec | undefined {
  if (wishedReplicas(spec) === replicas) return undefined;
  const kept = keptOf(spec);
  if (kept === undefined) return withReplicas(spec, replicas);
  return withMove(withReplicas(spec, replicas + kept.count), { ...kept, replicas });
}

/** @returns undefined where no move was started, or it is blocked already */
export function blocked(spec: WireServiceSpec, empty: readonly string[]): WireServiceSpec | undefined {
  const kept = keptOf(spec);
  if (kept?.phase !== 'surge') return undefined;
  const before = { placement: spec.TaskTemplate?.Placement, update: spec.UpdateConfig };
  const without = [kept.from, ...empty].map(node => `node.id!=${node}`);
  const placement = {
    ...before.placement,
    Constraints: [...(before.placement?.Constraints ?? []), ...without],
    // Where a task of it runs there is no room for another: the successors wait for ever.
    MaxReplicas: 1,
  };
  return {
    ...withMove(spec, { ...kept, phase: 'block', before }),
    TaskTemplate: { ...spec.TaskTemplate, Placement: placement },
    UpdateConfig: { Parallelism: kept.count, Order: 'start-first', FailureAction: 'continue' },
  };
}

/** @returns undefined where there is no move to end */
export function ended(spec: WireServiceSpec): WireServiceSpec | undefined {
  if (spec.Labels?.[MOVE_LABEL] === undefined) return undefined;
  const kept = keptOf(spec);
  const { [MOVE_LABEL]: _, ...Labels } = spec.Labels;
  const wished = wishedReplicas(spec);
  const scaled = wished === undefined ? spec : withReplicas(spec, wished);
  if (kept?.before === undefined) return { ...scaled, Labels };
  const { UpdateConfig: __, ...rest } = scaled;
  return {
    ...rest,
    Labels,
    TaskTemplate: { ...spec.TaskTemplate, Placement: kept.before.placement ?? {} },
    ...(kept.before.update === undefined ? {} : { UpdateConfig: kept.before.update }),
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
