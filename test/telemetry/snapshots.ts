/** Snapshots as the agent makes them, for one Pi of a cluster of three. */
import type { PiSnapshot, Snapshot } from '../../src/core/snapshot.ts';

export const TAG = 'c0ffee0123456789';
export const IDS = ['1111111111111111', '2222222222222222', '3333333333333333'] as const;

export interface SnapshotOptions {
  /** 0, 1 or 2: whose agent; pi1 leads. */
  pi?: number;
  /** Which Pis are in the cluster. */
  pis?: readonly number[];
  tag?: string;
  vitals?: Partial<Snapshot['self']['vitals']>;
  tasks?: number;
}

const ROLES = ['leader', 'manager', 'worker'] as const;

export function snapshotOf({ pi = 0, pis = [0, 1, 2], tag = TAG, vitals, tasks = 2 }: SnapshotOptions = {}): Snapshot {
  const row = (index: number): PiSnapshot => ({
    id: IDS[index] ?? '',
    name: `pi${index + 1}`,
    address: `10.0.0.${index + 1}`,
    self: index === pi,
    liveness: 'alive',
    role: ROLES[index] ?? 'worker',
    swarmState: 'ready',
    availability: 'active',
  });
  return {
    version: '0.1.0',
    self: {
      id: IDS[pi] ?? '',
      name: `pi${pi + 1}`,
      address: `10.0.0.${pi + 1}`,
      port: 3378,
      hardware: '0123456789abcdef',
      model: 'Raspberry Pi 4 Model B Rev 1.4',
      architecture: 'aarch64',
      claimed: tag !== '',
      intent: 'stay',
      engine: { state: 'ready', version: '26.1.5' },
      swarm: {
        state: 'active',
        swarmId: 'swarm1',
        nodeId: `node${pi + 1}`,
        role: pi === 2 ? 'worker' : 'manager',
        leader: pi === 0,
        quorum: pi !== 2,
        managers: ['10.0.0.1:2377', '10.0.0.2:2377'],
      },
      vitals: {
        cpuPercent: 3.2,
        memoryPercent: 21.5,
        diskPercent: 12.4,
        temperatureCelsius: 47.2,
        underVoltage: false,
        throttled: false,
        uptimeSeconds: 86_400,
        ...vitals,
      },
      tasks,
    },
    cluster: {
      tag,
      state: 'ok',
      swarmId: 'swarm1',
      managers: 2,
      pis: pis.map(row),
      services: [
        {
          id: 's1',
          name: 'whoami',
          image: 'pi-swarm/whoami',
          replicas: 5,
          running: 5,
          desired: 5,
          ports: [],
          createdAtMs: 0,
        },
      ],
    },
    mesh: { mode: 'kernel', ports: 1 },
    mqtt: { state: 'connected' },
    doing: 'watching',
    notices: [
      { severity: 'info', kind: 'hello', text: 'nothing to worry about' },
      { severity: 'warning', kind: 'under-voltage', text: 'pi2 had too little power', cure: 'Use a 3 A supply.' },
    ],
    at: '2026-11-20T13:00:00.000Z',
  };
}
