/** Unwell Pis get no new work, and leadership leaves them: H2 and M4 (docs/decisions.md). Leader only. */
import { AILMENTS, type Ailment, ailmentOf, isPausedAsUnwell, UNWELL_LABEL } from './ailments.ts';
import { isChanging, isFresh, isSelf, isShort, peerOf, refOf } from './managers.ts';
import { startMoves, takesWork } from './moving.ts';
import { LEAVING_LABEL, type World } from './observe.ts';
import type { Decision, Step } from './step.ts';
import type { SwarmNode } from './world.ts';

/** Node label: when its Pi gave leadership away because it was unwell, ms since 1970. Any leader can read it. */
export const HANDED_OVER_LABEL = 'pi-swarm.handed-over';

/** An election costs 1 to 3 s in which nothing can be changed, once 25 s: not for what passes by itself. */
const STEP_DOWN_AFTER_MS = 30_000;
/** All managers of a hot shelf would pass it round. */
const STEP_DOWN_EVERY_MS = 3_600_000;
/** What makes a Pi slow, or ends it at any moment. A full disk does not get emptier on another leader. */
const WEAKENING: readonly Ailment[] = ['under-voltage', 'throttled', 'hot'];

/**
 * H2: new work goes to Pis that are well. Softly: what runs stays, and where the others do not suffice all are used.
 * A pause without our label is a person's, and so is an activation with it.
 */
export function nurse(world: World, nodes: SwarmNode[]): Decision | undefined {
  const spared = world.care.sparedUntilMs !== undefined;
  const steps: Step[] = [];
  const whys: string[] = [];
  for (const node of nodes) {
    if (node.state !== 'ready' || node.labels[LEAVING_LABEL] !== undefined) continue;
    const next = isPausedAsUnwell(node) ? whilePaused(world, node, spared) : whileUsed(world, node, spared);
    if (next === undefined || next.steps.length === 0) continue;
    steps.push(...next.steps);
    whys.push(`${refOf(node).name} ${next.why}`);
  }
  return steps.length === 0 ? undefined : { rule: 'H2', why: whys.join('; '), steps };
}

interface Next {
  steps: Step[];
  why: string;
}

function whilePaused(world: World, node: SwarmNode, spared: boolean): Next | undefined {
  const ailment = ailmentOf(world.care, node.nodeId);
  const ref = refOf(node);
  const activate: Step[] = [{ action: 'activate', ...ref, labels: { [UNWELL_LABEL]: null } }];
  if (ailment === undefined) return isHeard(world, node) ? { steps: activate, why: 'is well again' } : undefined;
  if (spared) return { steps: activate, why: 'is unwell, but needed' };
  const illness = AILMENTS.find(it => it === node.labels[UNWELL_LABEL]);
  if (illness === undefined || world.care.health[node.nodeId]?.[illness]?.unwellSinceMs === undefined) {
    return { steps: [{ action: 'label', ...ref, labels: { [UNWELL_LABEL]: ailment } }], why: `is ${ailment}` };
  }
  return world.wish.health.evict
    ? { steps: startMoves(world, node, 'health'), why: `is ${illness} and gives its work away` }
    : undefined;
}

function whileUsed(world: World, node: SwarmNode, spared: boolean): Next | undefined {
  const ailment = ailmentOf(world.care, node.nodeId);
  const marked = node.labels[UNWELL_LABEL] !== undefined;
  if (ailment === undefined) {
    if (!marked || !isHeard(world, node)) return undefined;
    return { steps: [{ action: 'label', ...refOf(node), labels: { [UNWELL_LABEL]: null } }], why: 'is well again' };
  }
  if (marked || spared || !takesWork(node)) return undefined;
  return { steps: [{ action: 'pause', ...refOf(node), labels: { [UNWELL_LABEL]: ailment } }], why: `is ${ailment}` };
}

/** Nobody knows how a Pi is whose agent is silent. */
const isHeard = (world: World, node: SwarmNode): boolean => world.care.health[node.nodeId] !== undefined;

/** M4: a leader that may fail at any moment hands over while it can: 1 to 3 s without a leader instead of 17 to 25 s. */
export function stepDown(world: World, nodes: SwarmNode[]): Decision | undefined {
  const own = nodes.find(node => node.leader && isSelf(world, node));
  if (own === undefined || nodes.some(isChanging)) return undefined;
  const why = weaknessOf(world, own);
  if (why === undefined || hasHandedOver(world, nodes)) return undefined;
  const others = nodes.filter(
    node => node !== own && node.role === 'manager' && node.reachable && node.state === 'ready',
  );
  if (others.length < 2 || others.some(node => isFresh(world, node))) return undefined;
  if (!others.some(node => isWell(world, node))) return undefined;
  // While leadership moves nothing is decided: not while anything is under way.
  const calm = !isShort(world) && (world.services ?? []).every(({ move, updating }) => move === undefined && !updating);
  if (!calm || nodes.some(node => node.labels[LEAVING_LABEL] !== undefined && node.state === 'ready')) return undefined;
  const labels = { [HANDED_OVER_LABEL]: `${world.wallMs}` };
  return {
    rule: 'M4',
    why: `the leader is ${why}, and another manager is well`,
    steps: [
      { action: 'label', ...refOf(own), labels },
      { action: 'demote', ...refOf(own) },
    ],
  };
}

/** What weakens it now, and has for long enough. */
function weaknessOf(world: World, { nodeId }: SwarmNode): Ailment | undefined {
  return WEAKENING.find(ailment => {
    const { unwellSinceMs, calmSinceMs } = world.care.health[nodeId]?.[ailment] ?? {};
    return (
      unwellSinceMs !== undefined && calmSinceMs === undefined && world.nowMs - unwellSinceMs >= STEP_DOWN_AFTER_MS
    );
  });
}

/** Clocks differ, and some were wrong: a time that is far off, in either direction, says nothing. */
const hasHandedOver = (world: World, nodes: SwarmNode[]): boolean =>
  nodes.some(({ labels }) => Math.abs(world.wallMs - Number(labels[HANDED_OVER_LABEL])) < STEP_DOWN_EVERY_MS);

const isWell = (world: World, node: SwarmNode): boolean =>
  peerOf(world, node)?.liveness === 'alive' && isHeard(world, node) && ailmentOf(world.care, node.nodeId) === undefined;
