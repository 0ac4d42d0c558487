/** Snapshots for tests: a cluster as the agent of pi1 would show it. */
import type { PiSnapshot, Snapshot } from '../../src/core/snapshot.ts';
import type { SwarmService } from '../../src/core/world.ts';

export interface SnapshotWish {
  /** How many Pis; the first three are managers, pi1 leads. Default 1. */
  pis?: number;
  services?: SwarmService[];
  notices?: Snapshot['notices'];
  state?: Snapshot['cluster']['state'];
  change?: (snapshot: Snapshot) => void;
}

export function piOf(number: number): PiSnapshot {
  return {
    id: `${number}`.repeat(16).slice(0, 16),
    name: `pi${number}`,
    address: `192.168.1.${10 + number}`,
    self: number === 1,
    liveness: 'alive',
    role: number === 1 ? 'leader' : number <= 3 ? 'manager' : 'worker',
    swarmState: 'ready',
    availability: 'active',
    swarmNodeId: `node${number}`,
    architecture: 'aarch64',
    model: 'Raspberry Pi 4 Model B Rev 1.4',
    version: '0.1.0',
    tasks: 1,
    vitals: { cpuPercent: 3 + number, memoryPercent: 20 + number, diskPercent: 40, temperatureCelsius: 47.4 + number },
    lastSeenSeconds: 0,
  };
}

export const whoamiService: SwarmService = {
  id: 'svc1',
  name: 'whoami',
  image: 'pi-swarm/whoami:1',
  replicas: 5,
  running: 5,
  desired: 5,
  ports: [{ protocol: 'tcp', published: 80, target: 8000, mode: 'ingress' }],
  createdAtMs: 0,
};

export function snapshotOf(wish: SnapshotWish = {}): Snapshot {
  const count = wish.pis ?? 1;
  const pis = Array.from({ length: count }, (_, index) => piOf(index + 1));
  const managers = Math.min(count, 3);
  const snapshot: Snapshot = {
    version: '0.1.0',
    self: {
      id: '1111111111111111',
      name: 'pi1',
      address: '192.168.1.11',
      port: 3378,
      hardware: 'abc',
      model: 'Raspberry Pi 4 Model B Rev 1.4',
      architecture: 'aarch64',
      claimed: true,
      intent: 'stay',
      engine: { state: 'ready', version: '26.1.5' },
      swarm: {
        state: 'active',
        swarmId: 'swarm1',
        nodeId: 'node1',
        role: 'manager',
        leader: true,
        quorum: true,
        managers: ['192.168.1.11:2377'],
      },
      vitals: { cpuPercent: 4, memoryPercent: 21 },
      tasks: 1,
    },
    cluster: {
      tag: '3f2a91c07b44d1e8',
      state: wish.state ?? (count === 1 ? 'alone' : 'ok'),
      swarmId: 'swarm1',
      managers,
      pis,
      services: wish.services ?? [],
    },
    mesh: { mode: 'kernel', ports: 0 },
    mqtt: { state: 'off' },
    doing: 'nothing to do',
    notices: wish.notices ?? [],
    at: '2025-06-01T12:00:00.000Z',
  };
  wish.change?.(snapshot);
  return snapshot;
}
