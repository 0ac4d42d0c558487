/** Events of what a Pi is used for: its role, whether a person or its health keeps work away from it. Pure. */
import { UNWELL_LABEL } from './ailments.ts';
import { goingOf, type Scene, say, seenOf } from './event-scene.ts';
import type { News, ToldPi } from './event-types.ts';
import { ailingText, durationText, lineOf, tasksText } from './event-words.ts';
import { fateOf, fateParts } from './event-work.ts';
import { LEAVING_LABEL } from './observe.ts';
import { isDrained, movableOn } from './witness.ts';
import type { SwarmNode } from './world.ts';

export function tellUse(scene: Scene, pi: ToldPi, node: SwarmNode): void {
  role(scene, pi, node);
  if (useOf(node) === 'drained') drained(scene, pi, node);
  else use(scene, pi, node);
  health(scene, pi, node);
}

function role(scene: Scene, pi: ToldPi, node: SwarmNode): void {
  if (node.role === pi.role || (node.role === 'manager' && !node.reachable)) return;
  pi.role = node.role;
  if (node.role === 'manager') say(scene, pi, 'promoted', `${pi.name} was promoted to manager`);
  else if (goingOf(seenOf(scene, pi), node) === undefined)
    say(scene, pi, 'demoted', `${pi.name} was demoted to worker`);
}

/** What a person made of it; what pi-swarm does by itself is told as leaving or as health. */
export function useOf(node: SwarmNode): ToldPi['use'] {
  if (isDrained(node)) return 'drained';
  const ours = node.labels[LEAVING_LABEL] !== undefined || node.labels[UNWELL_LABEL] !== undefined;
  return node.availability === 'pause' && !ours ? 'paused' : 'active';
}

function use(scene: Scene, pi: ToldPi, node: SwarmNode): void {
  const now = useOf(node);
  const before = pi.use;
  if (before === now || (before === 'drained' && node.availability !== 'active')) return;
  pi.use = now;
  if (pi.draining !== undefined) {
    delete pi.draining;
    say(scene, pi, 'drained', `${pi.name} was to be drained`, { key: drainKey(pi) });
  }
  if (now === 'paused') say(scene, pi, 'paused', `${pi.name} gets no new work: a person paused it`);
  else if (pi.state !== 'left' && node.labels[LEAVING_LABEL] === undefined)
    say(scene, pi, 'activated', `${pi.name} is used again${pi.state === 'here' ? '' : ' when it is back'}`);
}

const drainKey = ({ nodeId, drainedAtMs }: ToldPi): string => `drain ${nodeId} ${drainedAtMs}`;

/** Once at once, and again when nothing runs there any more. */
function drained(scene: Scene, pi: ToldPi, node: SwarmNode): void {
  const { world } = scene;
  const going = seenOf(scene, pi)?.going;
  const begins = pi.use !== 'drained';
  pi.use = 'drained';
  if (pi.state !== 'here') {
    // What becomes of its work is told with its loss.
    if (pi.state !== 'left' && (begins || pi.draining !== undefined)) {
      say(scene, pi, 'drained', `${pi.name} was drained`, { key: drainKey(pi) });
    }
    delete pi.draining;
    return;
  }
  if (begins) {
    pi.drainedAtMs = world.wallMs;
    pi.draining = Math.max(going?.tasks ?? 0, movableOn(world, node.nodeId).length);
  }
  const tasks = pi.draining;
  if (tasks === undefined) return;
  const over = node.availability === 'drain' && movableOn(world, node.nodeId).length === 0;
  if (!begins && !over) return;
  const about: Partial<News> = { key: drainKey(pi), ...(tasks > 0 ? { tasks } : {}) };
  if (!over) {
    const text = lineOf({ what: `${pi.name} is being drained`, parts: tasks > 0 ? [tasksText(tasks)] : [] });
    say(scene, pi, 'drained', text, { ...about, open: true });
    return;
  }
  delete pi.draining;
  const sinceMs = going?.sinceMs ?? world.nowMs - (world.wallMs - (pi.drainedAtMs ?? world.wallMs));
  const durationMs = Math.max(0, Math.round(world.nowMs - sinceMs));
  const parts = fateParts(fateOf(world, node.nodeId, going ?? { tasks }), 'moved', durationText(durationMs));
  say(scene, pi, 'drained', lineOf({ what: `${pi.name} was drained`, parts }), { ...about, durationMs });
}

function health(scene: Scene, pi: ToldPi, node: SwarmNode): void {
  const { world } = scene;
  const word = node.labels[UNWELL_LABEL];
  if (word === pi.unwell?.word || pi.state !== 'here') return;
  if (word !== undefined) {
    pi.unwell = { word, sinceMs: pi.unwell?.sinceMs ?? world.wallMs };
    say(scene, pi, 'unwell', `${pi.name} ${ailingText(word)}: it gets no new work`);
    return;
  }
  const durationMs = Math.max(0, world.wallMs - (pi.unwell?.sinceMs ?? world.wallMs));
  delete pi.unwell;
  say(scene, pi, 'well', `${pi.name} is well again after ${durationText(durationMs)}`, { durationMs });
}
