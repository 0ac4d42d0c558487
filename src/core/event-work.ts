/** What became of the work of a Pi that gives it away. Pure. */
import { tasksText } from './event-words.ts';
import type { World } from './observe.ts';
import { missingOf, movableOn, type Work } from './witness.ts';

/** Names in one line; more are counted. */
const NAMES_MAX = 3;

/** Numbers of tasks. */
export interface Fate {
  moved: number;
  /** They ran on it to the last. */
  stopped: number;
  /** A Pi has been found for them. */
  starting: number;
  /** Names of services of which a task can run nowhere else. */
  homeless: string[];
}

/** What it had when it began to go. */
interface Going {
  tasks: number;
  work?: Work;
}

export function fateOf(world: World, nodeId: string, { tasks, work }: Going): Fate {
  if (work === undefined) {
    // Another Pi led when it began: how many there were is known, not of what.
    const stopped = missingOf(world, nodeId);
    return { moved: Math.max(0, tasks - stopped), stopped, starting: 0, homeless: [] };
  }
  const fate: Fate = { moved: 0, stopped: 0, starting: 0, homeless: [] };
  const ready = new Set((world.nodes ?? []).filter(({ state }) => state === 'ready').map(node => node.nodeId));
  const running = movableOn(world, nodeId);
  for (const service of world.services ?? []) {
    const had = work[service.id] ?? 0;
    const wanted = (world.tasks ?? []).filter(
      task => task.serviceId === service.id && task.desired === 'running' && task.nodeId !== nodeId,
    );
    const elsewhere = wanted.filter(({ state, nodeId: on }) => state === 'running' && ready.has(on)).length;
    const missing = Math.min(had, Math.max(0, service.desired - elsewhere));
    const stopped = Math.min(missing, running.filter(({ serviceId }) => serviceId === service.id).length);
    fate.moved += had - missing;
    fate.stopped += stopped;
    if (missing === stopped) continue;
    if (wanted.some(task => task.nodeId === '')) fate.homeless.push(service.name);
    else fate.starting += missing - stopped;
  }
  return fate;
}

/** `2 tasks moved before`, `1 task stopped with it`, `pinned has no place`; how long it took where all is done. */
export function fateParts({ moved, stopped, starting, homeless }: Fate, movedWord: string, duration: string): string[] {
  const parts: string[] = [];
  if (moved > 0) parts.push(`${tasksText(moved)} ${movedWord}`);
  if (stopped > 0) parts.push(`${tasksText(stopped)} stopped with it`);
  if (starting > 0) parts.push(`${tasksText(starting)} ${starting === 1 ? 'starts' : 'start'} elsewhere`);
  if (homeless.length > 0) parts.push(`${namesText(homeless)} no place`);
  if (parts.length > 0 && starting === 0 && homeless.length === 0) parts.push(duration);
  return parts;
}

function namesText(names: readonly string[]): string {
  const more = names.length > NAMES_MAX ? ` and ${names.length - NAMES_MAX} more` : '';
  return `${[...names].sort().slice(0, NAMES_MAX).join(', ')}${more} ${names.length === 1 ? 'has' : 'have'}`;
}
