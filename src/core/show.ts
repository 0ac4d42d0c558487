/** The snapshot: what the world looks like to a person. Pure. */
import { LEAVING_LABEL } from './labels.ts';
import { type NoticeContext, noticesOf } from './notices.ts';
import { visiblePeers, type World } from './observe.ts';
import type { Notice, PiSnapshot, Snapshot } from './snapshot.ts';
import type { Decision } from './step.ts';
import { sentences } from './step.ts';
import { isUnreachable, unreachableNotices } from './unreachable.ts';
import { unwellNotices, unwellOf } from './unwell.ts';
import type { Peer, PiStatus, SwarmNode, SwarmService, SwarmTask } from './world.ts';

/** The swarm as a manager sees it; a worker asks one for it. */
export interface ClusterView {
  nodes: SwarmNode[];
  services: SwarmService[];
  tasks: SwarmTask[];
}

export interface ShowContext extends NoticeContext {
  view?: ClusterView;
  doing?: Decision;
  engineVersion?: string;
  mesh: Snapshot['mesh'];
  mqtt: Snapshot['mqtt'];
  own: PiStatus;
}

export function show(world: World, said: ShowContext): Snapshot {
  const context = said.view ? { ...said, view: withoutDead(said.view, deadNodes(world)) } : said;
  const pis = pisOf(world, context);
  const { self } = world;
  return {
    version: self.version,
    self: {
      id: self.id,
      name: self.name,
      address: self.address ?? '',
      port: self.port,
      hardware: self.hardware,
      model: self.model ?? '',
      architecture: self.architecture ?? '',
      claimed: world.tag !== undefined,
      intent: world.memory.intent,
      engine: {
        state: world.engine,
        ...(context.engineVersion === undefined ? {} : { version: context.engineVersion }),
        ...(world.engineProblem === undefined ? {} : { problem: world.engineProblem }),
      },
      swarm: world.swarm,
      vitals: self.vitals ?? {},
      tasks: world.runningTasks,
    },
    cluster: {
      tag: world.tag ?? '',
      state: stateOf(world, pis, context.view),
      ...(world.swarm.state === 'active' ? { swarmId: world.swarm.swarmId } : {}),
      managers: pis.filter(pi => pi.role === 'manager' || pi.role === 'leader').length,
      pis,
      ...(context.view ? { services: context.view.services } : {}),
    },
    mesh: context.mesh,
    mqtt: context.mqtt,
    doing: context.doing ? doingOf(context.doing) : 'starting',
    notices: [
      ...noticesOf(world, context),
      ...unreachableNotices(world, context.view?.nodes ?? world.nodes ?? []),
      ...unwellNotices(pis),
      ...drainedNotices(pis),
    ],
    at: new Date(world.wallMs).toISOString(),
  };
}

/** What the engine is told on the way out («by force», «forget») is nothing to be afraid of. */
function doingOf(decision: Decision): string {
  if (decision.steps.some(({ action }) => action === 'leave')) return `leaving the swarm: ${decision.why}`;
  return decision.steps.length > 0 ? sentences(decision).join('; ') : decision.why;
}

/** The swarm counts a task as running until it has given its node up; a Pi that we know is dead runs nothing. */
function withoutDead(view: ClusterView, dead: readonly string[]): ClusterView {
  const lost = view.tasks.filter(
    ({ nodeId, state, desired }) => dead.includes(nodeId) && state === 'running' && desired === 'running',
  );
  if (lost.length === 0) return view;
  const services = view.services.map(service => {
    const gone = lost.filter(({ serviceId }) => serviceId === service.id).length;
    return { ...service, running: Math.max(0, service.running - gone) };
  });
  return { ...view, services, tasks: view.tasks.filter(task => !lost.includes(task)) };
}

function stateOf(world: World, pis: PiSnapshot[], view: ClusterView | undefined): Snapshot['cluster']['state'] {
  const { swarm } = world;
  if (world.tag === undefined) return 'unclaimed';
  if (world.engine !== 'ready') return 'down';
  if (swarm.state === 'none' && world.memory.intent === 'left') return 'alone';
  if (swarm.state === 'none' || swarm.state === 'pending') return 'forming';
  if (swarm.state !== 'active') return 'down';
  if (world.since.orphanMs !== undefined) return 'degraded';
  const missing = pis.some(
    ({ swarmState, liveness, unreachable, leaving }) =>
      leaving !== 'left' && (swarmState === 'down' || swarmState === 'joining' || liveness === 'dead' || unreachable),
  );
  const short = view?.services.some(service => service.running < service.desired) ?? false;
  if (missing || short) return 'degraded';
  return pis.length === 1 ? 'alone' : 'ok';
}

/** So that nobody wonders why a Pi is idle. Only what `drain --undo` takes back: who goes is idle for a moment. */
const drainedNotices = (pis: readonly PiSnapshot[]): Notice[] =>
  pis
    .filter(({ availability, leaving, swarmState }) => {
      const isWished = leaving === 'drain' || leaving === undefined;
      return availability === 'drain' && isWished && swarmState === 'ready';
    })
    .map(({ name }) => ({
      severity: 'info',
      kind: 'drained',
      text: `${name} is drained: it gets no work.`,
      cure: `To let it work again: \`pi-swarm drain ${name} --undo\``,
    }));

/** One row a Pi: nodes of the swarm and peers outside of it, this Pi first, then by name. */
function pisOf(world: World, context: ShowContext): PiSnapshot[] {
  const rows = new Map<string, PiSnapshot>();
  const nodeIds = new Set((context.view?.nodes ?? world.nodes ?? []).map(node => node.nodeId));
  for (const node of context.view?.nodes ?? world.nodes ?? []) {
    rows.set(node.nodeId, { ...fromNode(node, context), ...(isUnreachable(world, node) ? { unreachable: true } : {}) });
  }
  const own: Peer = {
    id: world.self.id,
    liveness: 'alive',
    firstSeenMs: 0,
    lastSeenMs: world.nowMs,
    status: context.own,
  };
  for (const peer of [own, ...world.peers.filter(it => !isReplaced(it, [own, ...world.peers]))]) {
    const { swarm } = peer.status;
    const key = 'nodeId' in swarm && nodeIds.has(swarm.nodeId) ? swarm.nodeId : peer.id;
    rows.set(key, withPeer(rows.get(key), peer, world));
  }
  for (const [key, row] of rows) if (isEcho(row, [...rows.values()])) rows.delete(key);
  const all = [...rows.values()].map(row => ({ ...row, ...unwellOf(world, row) }));
  return all.sort((a, b) => Number(b.self) - Number(a.self) || a.name.localeCompare(b.name, 'en', { numeric: true }));
}

/** Its board is back under another id: the card was flashed anew. What was on the old one is gone for good. */
const isReplaced = ({ id, liveness, status }: Peer, all: readonly Peer[]): boolean =>
  liveness === 'dead' &&
  status.hardware !== '' &&
  all.some(other => other.id !== id && other.liveness !== 'dead' && other.status.hardware === status.hardware);

/**
 * One Pi may stand there twice for a moment: as the swarm's node of which nothing is heard any more, and as the peer that
 * has left that swarm. What is alive counts; where both are silent, what the swarm lists.
 */
function isEcho(row: PiSnapshot, rows: readonly PiSnapshot[]): boolean {
  const twin = rows.find(other => other !== row && other.id === row.id && row.id !== '');
  if (twin === undefined) return false;
  if (row.liveness === 'unknown') return twin.liveness !== 'dead';
  return row.liveness === 'dead' && twin.liveness === 'unknown';
}

function fromNode(node: SwarmNode, context: ShowContext): PiSnapshot {
  const tasks = context.view?.tasks.filter(
    task => task.nodeId === node.nodeId && task.state === 'running' && task.desired === 'running',
  );
  return {
    id: node.labels['pi-swarm.id'] ?? '',
    name: node.hostname,
    address: node.address,
    self: false,
    liveness: 'unknown',
    role: node.leader ? 'leader' : node.role,
    swarmState: node.state,
    availability: node.availability,
    swarmNodeId: node.nodeId,
    architecture: node.architecture,
    ...leavingOf(node.labels[LEAVING_LABEL]),
    ...(tasks === undefined ? {} : { tasks: node.state === 'ready' ? tasks.length : 0 }),
  };
}

function leavingOf(mark: string | undefined): Pick<PiSnapshot, 'leaving'> {
  return mark === 'leave' || mark === 'shutdown' || mark === 'drain' ? { leaving: mark } : {};
}

function withPeer(row: PiSnapshot | undefined, peer: Peer, world: World): PiSnapshot {
  const { status } = peer;
  const seen: Partial<PiSnapshot> = {
    id: peer.id,
    name: status.name,
    self: peer.id === world.self.id,
    liveness: peer.liveness,
    version: status.version,
    lastSeenSeconds: Math.max(0, Math.round((world.nowMs - peer.lastSeenMs) / 1000)),
    ...(status.intent === 'left' && status.swarm.state === 'none' ? { leaving: 'left' } : {}),
    ...(status.model === undefined ? {} : { model: status.model }),
    ...(status.architecture === undefined ? {} : { architecture: status.architecture }),
    ...(status.vitals === undefined || peer.liveness === 'dead' ? {} : { vitals: status.vitals }),
  };
  if (row !== undefined) return { ...row, ...seen, tasks: row.tasks ?? status.tasks };
  const { swarm } = status;
  const active = swarm.state === 'active';
  return {
    id: peer.id,
    name: status.name,
    self: false,
    liveness: peer.liveness,
    address: status.address,
    role: active ? (swarm.leader ? 'leader' : swarm.role) : 'none',
    swarmState: active ? 'unknown' : swarm.state === 'none' || swarm.state === 'foreign' ? 'none' : 'joining',
    availability: 'none',
    tasks: status.tasks,
    ...(active ? { swarmNodeId: swarm.nodeId } : {}),
    ...seen,
  };
}

/** Swarm node ids of Pis that are silent, perhaps only for a moment. */
export const suspectNodes = (peers: readonly Peer[]): string[] =>
  peers.flatMap(({ liveness, status }) =>
    liveness === 'suspect' && 'nodeId' in status.swarm ? [status.swarm.nodeId] : [],
  );

/** Swarm node ids whose Pis are known to be dead: their tasks take no more requests. */
export function deadNodes(world: Pick<World, 'peers'>): string[] {
  const visible = new Set(
    visiblePeers(world).map(peer => ('nodeId' in peer.status.swarm ? peer.status.swarm.nodeId : '')),
  );
  return world.peers
    .filter(peer => peer.liveness === 'dead' && 'nodeId' in peer.status.swarm)
    .map(({ status }) => ('nodeId' in status.swarm ? status.swarm.nodeId : ''))
    .filter(nodeId => nodeId !== '' && !visible.has(nodeId));
}
