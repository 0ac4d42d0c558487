/** Events of single Pis: they come, go, are lost and come back, change their role and whether they are used. Pure. */

import { cameToRest, isRestless, toldAsRestless } from './event-flaps.ts';
import {
  agentOf,
  goingOf,
  identify,
  isOwn,
  isSilent,
  peerOn,
  type Scene,
  say,
  seenOf,
  silentSince,
  wallOf,
} from './event-scene.ts';
import type { News, ToldPi } from './event-types.ts';
import { tellUse } from './event-use.ts';
import { durationText, lineOf, tasksText } from './event-words.ts';
import { fateOf, fateParts } from './event-work.ts';
import { isLost } from './moving.ts';
import type { World } from './observe.ts';
import { movableOn, type Seen } from './witness.ts';
import type { SwarmNode } from './world.ts';

/** A node without an agent of ours joins too; one with an agent is known better a moment later. */
const AGENT_LIMIT_MS = 10_000;
/** An engine that is Down while its agent is heard: its last words may still be on their way. */
const ENGINE_LIMIT_MS = 5_000;
/** So long an agent that is heard again may take to say more than that it is there: its engine may be electing a leader. */
const WORDS_LIMIT_MS = 30_000;
/** An agent from which a word came so recently is there, whatever its engine does. */
const RECENT_MS = 3_000;

export function tellPis(scene: Scene): void {
  const { told, nodes } = scene;
  told.ghosts = told.ghosts.filter(ghost => nodes.some(({ nodeId }) => nodeId === ghost));
  for (const pi of [...told.pis]) if (!nodes.some(({ nodeId }) => nodeId === pi.nodeId)) vanished(scene, pi);
  const own = nodes.filter(node => isOwn(scene.world, node));
  for (const node of [...own, ...nodes.filter(it => !own.includes(it))]) {
    const pi = told.pis.find(({ nodeId }) => nodeId === node.nodeId);
    if (pi === undefined) greet(scene, node);
    else follow(scene, pi, node);
  }
}

function follow(scene: Scene, pi: ToldPi, node: SwarmNode): void {
  pi.name = node.hostname || pi.name;
  if (pi.id === '') {
    const { id, hardware } = identify(scene.world, node);
    Object.assign(pi, { id, hardware });
  }
  if (!isOwn(scene.world, node)) presence(scene, pi, node);
  else if (pi.state !== 'here') {
    back(scene, pi, { ...pi });
    pi.state = 'here';
  }
  tellUse(scene, pi, node);
}

function greet(scene: Scene, node: SwarmNode): void {
  const { told, world } = scene;
  if (node.state !== 'ready' || told.ghosts.includes(node.nodeId)) return;
  const pi = identify(world, node);
  if (!isKnown(world, seenOf(scene, pi))) return;
  const anonymous = pi.id === '' && Math.abs(world.wallMs - node.createdAtMs) < AGENT_LIMIT_MS;
  if (anonymous) return;
  const first = told.pis.length === 0;
  const twin = told.pis.find(({ id }) => id !== '' && id === pi.id);
  const board = told.pis.find(({ hardware }) => hardware !== '' && hardware === pi.hardware);
  const known = twin ?? board;
  told.pis = [...told.pis.filter(it => it !== known), pi];
  if (known !== undefined) told.ghosts.push(known.nodeId);
  if (first) {
    pi.role = node.role;
    say(scene, pi, 'formed', `${pi.name} started the swarm`);
  } else if (twin !== undefined && (twin.state === 'lost' || twin.state === 'off'))
    back(scene, { ...twin, ...pi }, twin);
  else if (twin === undefined && board !== undefined && board.state !== 'left') {
    const whom = board.name === pi.name ? 'its old one' : board.name;
    say(scene, pi, 'replaced', `${pi.name} has a new card and takes the place of ${whom}`);
  } else say(scene, pi, 'joined', `${pi.name} joined`);
}

function presence(scene: Scene, pi: ToldPi, node: SwarmNode): void {
  const { world } = scene;
  const seen = seenOf(scene, pi);
  if (cameToRest(scene, pi) && pi.state === 'lost') tellLoss(scene, pi, seen);
  const silent = isSilent(seen);
  const gone = node.state === 'down' || isLost(world, node);
  const agent = agentOf(world, pi);
  // A Pi that is there as another node is not back as this one.
  const isHere = agent === undefined || peerOn(world, node) === agent;
  const isBack = node.state === 'ready' && !silent && isHere && isKnown(world, seen);
  if (pi.state === 'here') {
    const going = goingOf(seen, node);
    if (going === 'leave' && (gone || agent?.status.intent === 'left')) leave(scene, pi, seen);
    else if (going === 'shutdown' && (gone || silent)) shutDown(scene, pi, seen);
    else if (going === undefined && gone) lose(scene, pi, node, seen);
    return;
  }
  if (pi.state === 'lost' && !isBack) recover(scene, pi, seen);
  if (!isBack || (pi.state === 'left' && agent?.status.intent !== 'stay')) return;
  if (pi.state === 'left') say(scene, pi, 'joined', `${pi.name} joined`);
  else back(scene, pi, { ...pi });
  pi.state = 'here';
}

/** It has said how it is by now, or it is not going to. */
function isKnown({ nowMs }: World, seen: Seen | undefined): boolean {
  const { overMs, fresh = false } = seen?.silence ?? {};
  return overMs === undefined || fresh || nowMs - overMs >= WORDS_LIMIT_MS;
}

function leave(scene: Scene, pi: ToldPi, seen: Seen | undefined): void {
  const { world } = scene;
  pi.state = 'left';
  say(scene, pi, 'left', `${pi.name} left`, farewell(scene, pi, seen, world.nowMs, `${pi.name} left`));
}

function shutDown(scene: Scene, pi: ToldPi, seen: Seen | undefined): void {
  const { world } = scene;
  const endMs = silentSince(seen) ?? world.nowMs;
  pi.state = 'off';
  pi.goneAtMs = wallOf(world, endMs);
  const what = `${pi.name} was shut down`;
  say(scene, pi, 'shut-down', what, { atMs: pi.goneAtMs, ...farewell(scene, pi, seen, endMs, what) });
}

/** What became of the work of a Pi that said that it goes. */
function farewell(scene: Scene, pi: ToldPi, seen: Seen | undefined, endMs: number, what: string): Partial<News> {
  const { going } = seen ?? {};
  if (going === undefined) return {};
  const durationMs = Math.max(0, Math.round(endMs - going.sinceMs));
  const parts = fateParts(fateOf(scene.world, pi.nodeId, going), 'moved before', durationText(durationMs));
  return { text: lineOf({ what, parts }), durationMs, ...(going.tasks > 0 ? { tasks: going.tasks } : {}) };
}

function lose(scene: Scene, pi: ToldPi, node: SwarmNode, seen: Seen | undefined): void {
  const { world } = scene;
  const agent = agentOf(world, pi);
  const downMs = world.nowMs - (world.trouble[node.nodeId]?.downSinceMs ?? world.nowMs);
  const heard = agent !== undefined && agent.liveness !== 'dead';
  // The swarm may give a Pi up before its agent's silence is long enough to be sure.
  if (heard && agent.status.engine === 'ready' && downMs < ENGINE_LIMIT_MS) return;
  pi.state = 'lost';
  const there = heard && world.nowMs - agent.lastSeenMs < RECENT_MS;
  pi.cause = there ? (agent.status.engine === 'ready' ? 'swarm' : 'engine') : 'silence';
  pi.goneAtMs = wallOf(world, lastWordMs(scene, pi, seen));
  const lost = movableOn(world, node.nodeId).length;
  if (lost > 0) pi.tasks = lost;
  else delete pi.tasks;
  if (!toldAsRestless(scene, pi)) tellLoss(scene, pi, seen);
}

function lastWordMs({ world }: Scene, pi: ToldPi, seen: Seen | undefined): number {
  if (seen === undefined || pi.cause === 'swarm') return world.trouble[pi.nodeId]?.downSinceMs ?? world.nowMs;
  if (pi.cause === 'engine') return seen.engineWordMs;
  return silentSince(seen) ?? seen.lastWordMs;
}

const LOST = {
  silence: ' lost power or its network',
  engine: '’s Docker Engine went away',
  swarm: '’s Docker Engine lost the swarm',
};

/** Each loss is an event of its own, also when the one before never became complete. */
const lossKey = ({ nodeId, goneAtMs }: ToldPi): string => `lost ${nodeId} ${goneAtMs}`;

/** Once at once, and again when the work runs elsewhere. */
function tellLoss(scene: Scene, pi: ToldPi, seen: Seen | undefined): void {
  const { tasks = 0, goneAtMs = scene.world.wallMs } = pi;
  const what = `${pi.name}${LOST[pi.cause ?? 'silence']}`;
  const key = lossKey(pi);
  const about = { atMs: goneAtMs, key, ...(tasks > 0 ? { tasks } : {}) };
  const { recoveredMs } = seen ?? {};
  if (tasks === 0 || recoveredMs === undefined) {
    const parts = tasks === 0 ? [] : [tasksText(tasks)];
    say(scene, pi, 'lost', lineOf({ what, parts }), { ...about, open: tasks > 0 });
    return;
  }
  const durationMs = Math.max(0, Math.round(recoveredMs - lastWordMs(scene, pi, seen)));
  const parts = [tasksText(tasks), `running elsewhere after ${durationText(durationMs)}`];
  say(scene, pi, 'lost', lineOf({ what, parts }), { ...about, durationMs });
  delete pi.tasks;
}

function recover(scene: Scene, pi: ToldPi, seen: Seen | undefined): void {
  if (isRestless(pi)) return;
  if (pi.tasks !== undefined && seen?.recoveredMs !== undefined) tellLoss(scene, pi, seen);
}

/** `was`: as it was told to be gone; the same Pi, perhaps under the number of a former node. */
function back(scene: Scene, pi: ToldPi, was: ToldPi): void {
  const { world } = scene;
  const seen = seenOf(scene, pi);
  const silence = was.cause === 'engine' || was.cause === 'swarm' ? undefined : seen?.silence;
  const sinceMs = silence?.sinceMs ?? world.nowMs - Math.max(0, world.wallMs - (was.goneAtMs ?? world.wallMs));
  const backMs = Math.max(silence?.overMs ?? 0, seen?.readyMs ?? world.nowMs);
  const durationMs = Math.max(0, Math.round(Math.min(world.nowMs, backMs) - sinceMs));
  const what = `${pi.name} is back after ${durationText(durationMs)}`;
  const parts = [reasonOf(scene, was, sinceMs, silence), pi.use === 'drained' ? 'it is drained' : undefined];
  for (const key of ['cause', 'goneAtMs', 'tasks'] as const) delete pi[key];
  if (isRestless(pi)) return;
  say(scene, pi, 'back', lineOf({ what, parts }), { atMs: wallOf(world, sinceMs + durationMs), durationMs });
}

/** From afar a Pi without power and one without network look the same; when it is back, it knows. */
function reasonOf(scene: Scene, was: ToldPi, sinceMs: number, silence: Seen['silence']): string | undefined {
  const { status } = agentOf(scene.world, was) ?? {};
  if (was.state === 'off') return 'it had been shut down';
  if (was.cause === 'engine') return 'its Docker Engine had stopped';
  if (was.cause === 'swarm') return 'its Docker Engine had lost the swarm';
  if (status === undefined || silence?.fresh !== true) return undefined;
  const { uptimeSeconds } = status.vitals ?? {};
  if (uptimeSeconds !== undefined && uptimeSeconds * 1000 < scene.world.nowMs - sinceMs) return 'it had lost power';
  return status.boot === silence.boot ? 'it had lost its network' : 'its agent had stopped';
}

function vanished(scene: Scene, pi: ToldPi): void {
  const { told, world } = scene;
  told.pis = told.pis.filter(it => it !== pi);
  const seen = seenOf(scene, pi);
  const awayMs = pi.goneAtMs === undefined ? undefined : Math.max(0, world.wallMs - pi.goneAtMs);
  if (pi.state === 'left') return;
  if (pi.state === 'here' && seen?.going?.mark === 'leave') leave(scene, pi, seen);
  else if (awayMs === undefined) say(scene, pi, 'forgotten', `${pi.name} was removed from the swarm`);
  else {
    const text = `${pi.name} was forgotten after ${durationText(awayMs)} away`;
    say(scene, pi, 'forgotten', text, { durationMs: awayMs });
  }
}
