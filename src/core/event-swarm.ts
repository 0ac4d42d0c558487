/** Events of the swarm as a whole: who leads it, work that moved, how patient it is, two that became one. Pure. */
import { type Scene, silentSince } from './event-scene.ts';
import { durationText, lineOf, routeText, tasksText } from './event-words.ts';
import { PATIENCE_NODE_LABEL } from './patience.ts';
import { type SeenMove, spreadOf } from './witness.ts';

/** An engine gives a silent node up after so many heartbeats. */
const HEARTBEATS_TO_DOWN = 3;

export function tellSwarm(scene: Scene): void {
  leader(scene);
  patience(scene);
  for (const [serviceId, move] of Object.entries(scene.seen.ended)) moved(scene, serviceId, move);
  merged(scene);
}

function leader({ world, told, seen, say }: Scene): void {
  const { swarm } = world;
  if (swarm.state !== 'active' || told.leader === swarm.nodeId) return;
  const before = told.pis.find(({ nodeId }) => nodeId === told.leader);
  told.leader = swarm.nodeId;
  const pi = world.self.name;
  const sinceMs = before && silentSince(seen.pis[before.id]);
  const lostMs = sinceMs === undefined ? undefined : Math.round(world.nowMs - sinceMs);
  const after = before === undefined ? '' : `, after ${before.name}`;
  const parts = [lostMs === undefined ? undefined : `nobody led it for ${durationText(lostMs)}`];
  const what = `${pi} leads the swarm now${after}`;
  const about = { pi, atMs: world.wallMs, ...(lostMs === undefined ? {} : { durationMs: lostMs }) };
  say({ kind: 'leader', ...about, text: lineOf({ what, parts }) });
}

function patience({ world, told, say }: Scene): void {
  const { settings } = world;
  if (settings === undefined) return;
  const before = told.heartbeatMs;
  const now = settings.dispatcherHeartbeatMs;
  told.heartbeatMs = now;
  if (before === undefined || before === now) return;
  const more = now > before;
  const limit = (ms: number): string => `${(ms * HEARTBEATS_TO_DOWN) / 1000} s`;
  const node = settings.labels[PATIENCE_NODE_LABEL];
  const name = more ? world.nodes?.find(({ nodeId }) => nodeId === node)?.hostname : undefined;
  const what = `the swarm is ${more ? 'more' : 'less'} patient: a silent Pi is given up after ${limit(now)} instead of ${limit(before)}`;
  const parts = [name === undefined ? undefined : `${name} came and went`];
  say({
    kind: 'patience',
    ...(name === undefined ? {} : { pi: name }),
    atMs: world.wallMs,
    text: lineOf({ what, parts }),
  });
}

/** What moved because a Pi left or was lost is told with that Pi. */
function moved({ world, nodes, say }: Scene, serviceId: string, { move, sinceMs, before }: SeenMove): void {
  const service = world.services?.find(({ id }) => id === serviceId);
  if (service === undefined || move.why === 'leave' || move.why === 'lost') return;
  const now = spreadOf(world, serviceId);
  const tasks = (before[move.from] ?? 0) - (now[move.from] ?? 0);
  if (tasks <= 0) return;
  const nameOf = (nodeId: string): string => nodes.find(node => node.nodeId === nodeId)?.hostname ?? nodeId;
  const to = Object.keys(now).filter(nodeId => (now[nodeId] ?? 0) > (before[nodeId] ?? 0) && nodeId !== move.from);
  const durationMs = Math.round(world.nowMs - sinceMs);
  const pi = nameOf(move.from);
  const why = move.why === 'rebalance' ? 'rebalance' : `${pi} is unwell`;
  const what = `${service.name}: ${tasksText(tasks)} moved ${routeText(pi, to.map(nameOf).sort())} (${why})`;
  const kind = move.why === 'rebalance' ? 'rebalanced' : 'relieved';
  const text = lineOf({ what, parts: [durationText(durationMs)] });
  say({ kind, pi, service: service.name, tasks, durationMs, atMs: world.wallMs, text });
}

/** From the first word of a leader whose swarm gives way until nobody is left in it. */
function merged({ world, told, say }: Scene): void {
  const others = world.peers.flatMap(({ liveness, status }) => {
    const { swarm, dissolving } = status;
    const other = liveness !== 'dead' && swarm.state === 'active' && swarm.swarmId !== told.swarmId;
    return other ? [{ swarmId: swarm.swarmId, into: dissolving?.into }] : [];
  });
  const key = `merge ${told.merging?.swarmId ?? ''}`;
  if (told.merging === undefined) {
    const yielding = others.find(({ into }) => into === told.swarmId);
    if (yielding !== undefined) told.merging = { swarmId: yielding.swarmId, sinceMs: world.wallMs };
    return;
  }
  const { swarmId, sinceMs } = told.merging;
  if (others.some(other => other.swarmId === swarmId)) return;
  delete told.merging;
  const durationMs = Math.max(0, world.wallMs - sinceMs);
  const text = lineOf({ what: 'two swarms of this cluster became one', parts: [durationText(durationMs)] });
  say({ kind: 'merged', key, durationMs, atMs: sinceMs, text });
}
