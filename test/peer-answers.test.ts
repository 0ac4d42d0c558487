import { describe, expect, it } from 'vitest';
import { type MeshTable, soundTable } from '../src/core/mesh.ts';
import { turn } from '../src/core/turn.ts';
import type { PiStatus } from '../src/core/world.ts';
import { MeshFeed } from '../src/mesh-feed.ts';
import { readChronicle, readClusterView, readMeshTable } from '../src/peer-answers.ts';
import type { Peers } from '../src/ports.ts';
import { Reporter } from '../src/reporter.ts';
import { facts, leader, node, nodeIdOf, peer, service } from './core/build.ts';

const NONSENSE: unknown[] = [
  undefined,
  null,
  'text',
  [],
  {},
  { version: 'x', table: [null] },
  { version: 'x', table: [{ protocol: 'tcp', published: 80 }] },
  { version: 'x', table: [{ protocol: 'tcp', published: 80, targets: [null], draining: [] }] },
  { version: 'x', table: [{ protocol: 'tcp', published: 80, targets: [{ address: ['1.2.3.4'] }], draining: [] }] },
  { version: 7, table: [] },
  { nodes: {}, services: 5, tasks: 'x' },
  { nodes: [null], services: [], tasks: [] },
  { nodes: [{ nodeId: 'n' }], services: [], tasks: [] },
  { nodes: [], services: [{ id: 'x', ports: 7 }], tasks: [] },
];

/** pi1, a worker of the swarm that pi2 leads. */
function worker(): ReturnType<typeof turn> {
  const swarm = { localState: 'active' as const, nodeId: nodeIdOf('pi1'), controlAvailable: false, error: '' };
  return turn(
    facts({
      engineSwarm: { ...swarm, remoteManagers: [] },
      memory: { intent: 'stay', swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') },
      peers: [peer('pi2', { swarm: leader('pi2'), meshVersion: 'x' })],
    }),
  );
}

const peersThatAnswer = (answer: unknown): Peers =>
  ({
    list: () => [peer('pi2', { swarm: leader('pi2'), meshVersion: 'x' })],
    request: async () => answer,
    refusals: () => ({ count: 0 }),
  }) as unknown as Peers;

describe('a leader that answers nonsense', () => {
  it.each(NONSENSE)('does not reach the kernel’s rules, nor the agent’s life: %j', async answer => {
    const tables: MeshTable[] = [];
    const sink = { inForce: () => true, update: ({ table }: { table: MeshTable }) => void tables.push(table) };
    const troubles: unknown[] = [];
    const feed = new MeshFeed({
      sink,
      peers: () => peersThatAnswer(answer),
      trouble: (_what, error) => void troubles.push(error),
    });
    const { world } = worker();
    feed.onTurn(world, undefined);
    await new Promise(setImmediate);
    feed.onTurn(world, undefined);
    await new Promise(setImmediate);
    expect(tables.flat()).toEqual([]);
    expect(troubles).toEqual([]);
  });

  it.each(NONSENSE)('does not break the status of others: %j', async answer => {
    const { world, decision, status: own } = worker();
    const reporter = new Reporter({
      peers: () => peersThatAnswer(answer),
      now: () => 1,
      wall: () => 1,
      ownView: () => undefined,
      context: () => ({ clockBehind: false, notices: [], mesh: { mode: 'none', ports: 0 }, mqtt: { state: 'off' } }),
    });
    reporter.onTurn(world, decision, own as PiStatus);
    const snapshot = await reporter.newest();
    expect(snapshot?.cluster.pis.map(pi => pi.name)).toEqual(['pi1', 'pi2']);
    expect(snapshot?.cluster.services).toBeUndefined();
  });

  it('is told once, not each turn, when it fails', async () => {
    const troubles: unknown[] = [];
    const peers = peersThatAnswer(undefined);
    peers.request = async () => Promise.reject(new Error('no'));
    const sink = { inForce: () => true, update: () => {} };
    const feed = new MeshFeed({ sink, peers: () => peers, trouble: (_what, error) => void troubles.push(error) });
    const { world } = worker();
    for (let turns = 0; turns < 5; turns++) {
      feed.onTurn(world, undefined);
      await new Promise(setImmediate);
    }
    expect(troubles).toHaveLength(1);
  });
});

describe('a sound answer', () => {
  it('is taken whole, with what a newer release may add', () => {
    const table = [
      { protocol: 'tcp', published: 80, targets: [{ address: '10.0.0.6', nodeId: 'n', x: 1 }], draining: [], y: 2 },
    ];
    expect(readMeshTable({ version: 'v', table })).toEqual({ version: 'v', table });
    const task = { id: 't', serviceId: 's', nodeId: '', slot: 1, state: 'running', desired: 'running' };
    const view = { nodes: [node('pi1')], services: [service('web')], tasks: [{ ...task, ingressAddress: '10.0.0.6' }] };
    expect(readClusterView(JSON.parse(JSON.stringify(view)))).toEqual(JSON.parse(JSON.stringify(view)));
  });

  it('loses only its unsound ports on the way to the rules', () => {
    const sound = { protocol: 'tcp' as const, published: 81, targets: [], draining: [] };
    const broken = NONSENSE.flatMap(it => (it as { table?: unknown[] } | undefined)?.table ?? []);
    expect(soundTable([...broken, sound] as MeshTable)).toEqual([sound]);
  });
});

describe('a chronicle', () => {
  const event = (revision: number) => ({
    id: `a-${revision}`,
    revision,
    at: '2026-05-01T16:41:00Z',
    kind: 'x',
    text: 'x',
  });
  const chronicle = (revision: number, ...revisions: number[]) =>
    readChronicle({ origin: 'a', revision, whole: true, events: revisions.map(event), open: {} });

  it.each([2 ** 53 - 1, 1e9, 1.5, -1])('is refused with a revision after which nobody could count on: %d', revision => {
    expect(chronicle(revision)).toBeUndefined();
    expect(chronicle(7, revision)).toBeUndefined();
  });

  it('is refused with an event that is newer than itself: it would come again and again', () => {
    expect(chronicle(7, 6, 8)).toBeUndefined();
    expect(chronicle(7, 6, 7)?.events).toHaveLength(2);
  });
});
