/** Unwell Pis get no new work: H2 (docs/decisions.md). Leader only. */
import { AILMENTS, ailmentOf, isPausedAsUnwell, UNWELL_LABEL } from './ailments.ts';
import { refOf } from './managers.ts';
import { startMoves, takesWork } from './moving.ts';
import { LEAVING_LABEL, type World } from './observe.ts';
import type { Decision, Step } from './step.ts';
import type { SwarmNode } from './world.ts';

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
