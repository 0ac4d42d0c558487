/** Builds facts for tables of rules: a calm, formed cluster of which each test changes what it is about. */
import type { EngineSwarm, Facts, Wish } from '../../src/core/observe.ts';
import { sentences } from '../../src/core/step.ts';
import { turn } from '../../src/core/turn.ts';
import type { ActiveSwarm, Peer, PiStatus, SwarmNode, SwarmService } from '../../src/core/world.ts';

export const TAG = '00112233aabbccdd';
export const WISH: Wish = {
  settleMs: 1_000,
  settleAloneMs: 8_000,
  managers: 'auto',
  replaceAfterMs: 60_000,
  forgetAfterMs: 86_400_000,
  drainTimeoutMs: 60_000,
  rebalance: true,
  steadyForMs: 20_000,
  rebalanceEveryMs: 10_000,
  stuckAfterMs: 30_000,
  orphanAfterMs: 60_000,
  dispatcherHeartbeatMs: 'auto',
  nodeCertExpiryMs: 1_000_000,
  health: { temperatureCelsius: 80, memoryPercent: 95, diskPercent: 95, evict: false },
};

/** pi1 has the smallest id. */
export const idOf = (name: string): string => `000000000000000${name.slice(2)}`.slice(-16);
export const nodeIdOf = (name: string): string => `node-${name}`;

export function status(name: string, more: Partial<PiStatus> = {}): PiStatus {
  return {
    id: idOf(name),
    name,
    version: '1.0.0',
    boot: 'b',
    hardware: `hw-${name}`,
    address: `10.0.0.${name.slice(2)}`,
    port: 3378,
    engine: 'ready',
    swarm: { state: 'none' },
    intent: 'stay',
    tasks: 0,
    wallMs: 0,
    peers: [],
    ...more,
  };
}

export const peer = (name: string, more: Partial<PiStatus> = {}, rest: Partial<Peer> = {}): Peer => ({
  id: idOf(name),
  liveness: 'alive',
  firstSeenMs: 0,
  lastSeenMs: 0,
  status: status(name, more),
  ...rest,
});

export const active = (name: string, more: Partial<ActiveSwarm> = {}): ActiveSwarm => ({
  state: 'active',
  swarmId: 'swarm-a',
  nodeId: nodeIdOf(name),
  role: 'worker',
  leader: false,
  quorum: false,
  managers: ['10.0.0.1:2377'],
  ...more,
});

export const leader = (name: string, more: Partial<ActiveSwarm> = {}): ActiveSwarm =>
  active(name, {
    role: 'manager',
    leader: true,
    quorum: true,
    summary: { services: 0, nodes: 1, createdAtMs: 1_000 },
    ...more,
  });

export const node = (name: string, more: Partial<SwarmNode> = {}): SwarmNode => ({
  nodeId: nodeIdOf(name),
  hostname: name,
  labels: { 'pi-swarm.id': idOf(name), 'pi-swarm.hardware': `hw-${name}` },
  role: 'worker',
  availability: 'active',
  state: 'ready',
  leader: false,
  voter: more.role === 'manager',
  reachable: more.role === 'manager' && (more.state ?? 'ready') === 'ready',
  address: `10.0.0.${name.slice(2)}`,
  architecture: 'x86_64',
  os: 'linux',
  createdAtMs: Number(name.slice(2)),
  ...more,
});

export const service = (name: string): SwarmService => ({
  id: name,
  name,
  image: `${name}:1`,
  replicas: 1,
  running: 1,
  desired: 1,
  ports: [],
  createdAtMs: 0,
});

/** pi1's facts; in no swarm. */
export function facts(more: Partial<Facts> = {}): Facts {
  return {
    nowMs: 100_000,
    wallMs: 1_700_000_000_000,
    self: {
      id: idOf('pi1'),
      name: 'pi1',
      version: '1.0.0',
      boot: 'b',
      hardware: 'hw-pi1',
      address: '10.0.0.1',
      port: 3378,
    },
    tag: TAG,
    wish: WISH,
    engine: 'ready',
    engineSwarm: { localState: 'inactive', nodeId: '', controlAvailable: false, error: '', remoteManagers: [] },
    memory: { intent: 'stay' },
    peers: [],
    runningTasks: 0,
    missingImages: [],
    images: [],
    ...more,
  };
}

export const engineSwarm = (name: string, more: Partial<EngineSwarm> = {}): EngineSwarm => ({
  localState: 'active',
  nodeId: nodeIdOf(name),
  controlAvailable: false,
  error: '',
  remoteManagers: ['10.0.0.1:2377'],
  ...more,
});

export const cluster = (id = 'swarm-a', labels: Record<string, string> = { 'pi-swarm.tag': TAG }) => ({
  id,
  labels,
  createdAtMs: 1_000,
});

/** Facts of pi1, the leader of these nodes; everybody else is an alive peer in the same swarm. */
export function leading(nodes: SwarmNode[], more: Partial<Facts> = {}): Facts {
  const peers = nodes
    .filter(({ hostname, state }) => hostname !== 'pi1' && state === 'ready')
    .map(({ hostname, role }) => peer(hostname, { swarm: active(hostname, { role, quorum: role === 'manager' }) }));
  return facts({
    engineSwarm: engineSwarm('pi1', { controlAvailable: true, cluster: cluster() }),
    memory: { intent: 'stay', swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') },
    nodes,
    services: [],
    tasks: [],
    busyNodes: [],
    settings: { dispatcherHeartbeatMs: 1_000, nodeCertExpiryMs: 1_000_000, labels: { 'pi-swarm.tag': TAG } },
    peers,
    ...more,
  });
}

export const manager = (name: string, more: Partial<SwarmNode> = {}): SwarmNode =>
  node(name, { role: 'manager', leader: name === 'pi1', ...more });

/** The plan of a cluster that has looked like this for `lastedMs`. */
export function plan(now: Facts, lastedMs = 0): string[] {
  const before = lastedMs > 0 ? turn({ ...now, nowMs: now.nowMs - lastedMs }).world : undefined;
  return sentences(turn(now, before).decision);
}
