import { describe, expect, it } from 'vitest';
import type { Facts } from '../../src/core/observe.ts';
import { type ClusterView, show } from '../../src/core/show.ts';
import type { Snapshot } from '../../src/core/snapshot.ts';
import { turn } from '../../src/core/turn.ts';
import { settledNodes } from '../../src/core/unreachable.ts';
import type { SwarmNode, SwarmTask } from '../../src/core/world.ts';
import { active, engineSwarm, facts, leader, leading, manager, node, nodeIdOf, peer, service } from './build.ts';

const task = (id: string, name: string): SwarmTask => ({
  id,
  serviceId: 'whoami',
  nodeId: nodeIdOf(name),
  slot: 1,
  state: 'running',
  desired: 'running',
});

const nodes = [manager('pi1'), node('pi2'), node('pi3')];
const view: ClusterView = {
  nodes,
  services: [{ ...service('whoami'), running: 3, desired: 3 }],
  tasks: [task('a', 'pi1'), task('b', 'pi2'), task('c', 'pi3')],
};

function shown(now: Facts, { lastedMs = 0, ...more }: { view?: ClusterView; lastedMs?: number } = {}) {
  const before = lastedMs > 0 ? turn({ ...now, nowMs: now.nowMs - lastedMs }).world : undefined;
  const { world, decision, status } = turn(now, before);
  return show(world, {
    refusals: { count: 0 },
    clockBehind: false,
    notices: [],
    doing: decision,
    mesh: { mode: 'kernel', ports: 0 },
    mqtt: { state: 'off' },
    own: status,
    ...more,
  });
}

describe('the snapshot', () => {
  it('lists each Pi once, this one first, and says ok when all is well', () => {
    const snapshot = shown(leading(nodes), { view });
    expect(snapshot.cluster.pis.map(({ name, role, tasks }) => [name, role, tasks])).toEqual([
      ['pi1', 'leader', 1],
      ['pi2', 'worker', 1],
      ['pi3', 'worker', 1],
    ]);
    expect(snapshot).toMatchObject({ cluster: { state: 'ok', managers: 1 }, notices: [] });
  });

  it('a Pi that is known to be dead runs nothing, although the swarm has not noticed yet', () => {
    const now = leading(nodes);
    now.peers = now.peers.map(it => (it.status.name === 'pi3' ? { ...it, liveness: 'dead' as const } : it));
    const { cluster } = shown(now, { view });
    expect(cluster).toMatchObject({ state: 'degraded', services: [{ running: 2, desired: 3 }] });
    expect(cluster.pis.find(({ name }) => name === 'pi3')).toMatchObject({ liveness: 'dead', tasks: 0 });
  });

  it('a Pi that left and is still listed by the swarm stands there once, as what it says itself', () => {
    const now = leading(nodes);
    now.peers = now.peers.map(it => (it.status.name === 'pi3' ? peer('pi3', { intent: 'left' }) : it));
    const { cluster } = shown(now, { view });
    expect(cluster.pis.filter(({ name }) => name === 'pi3')).toMatchObject([{ role: 'none', swarmState: 'none' }]);
  });

  it('a Pi that leaves says so without the words that only the engine needs', () => {
    const gone = { ...worker, memory: { ...worker.memory, intent: 'leave' as const } };
    const now = facts({ ...gone, peers: [peer('pi2', { swarm: leader('pi2'), members: [nodeIdOf('pi2')] })] });
    expect(shown(now, { lastedMs: 6_000 }).doing).toBe(
      'leaving the swarm: pi2, the leader, has removed this Pi already',
    );
  });

  it('a Pi that left is no loss, also when it is off', () => {
    const gone = peer('pi3', { intent: 'left' }, { liveness: 'dead' });
    const now = leading(nodes.slice(0, 2), { peers: [peer('pi2', { swarm: active('pi2') }), gone] });
    const { cluster } = shown(now);
    expect(cluster).toMatchObject({ state: 'ok', pis: [{}, {}, { name: 'pi3', leaving: 'left' }] });
  });

  it('says who is drained by somebody, and how to undo it, but not of one that goes', () => {
    const drained = (mark: string) => node('pi2', { availability: 'drain', labels: { 'pi-swarm.leaving': mark } });
    const noticesOf = (mark: string) => shown(leading([manager('pi1'), drained(mark)])).notices;
    expect(noticesOf('drain')).toMatchObject([
      { severity: 'info', kind: 'drained', cure: expect.stringContaining('pi-swarm drain pi2 --undo') },
    ]);
    expect(noticesOf('leave')).toEqual([]);
    expect(shown(leading([manager('pi1'), drained('drain')])).cluster.pis[1]?.leaving).toBe('drain');
  });

  it('a dead Pi whose last words named another swarm stands there once, as the node that is down', () => {
    const down = node('pi3', { state: 'down' });
    const now = leading([manager('pi1'), node('pi2'), down]);
    now.peers = [
      ...now.peers,
      peer('pi3', { swarm: active('pi3', { swarmId: 'old', nodeId: 'old' }) }, { liveness: 'dead' }),
    ];
    const { cluster } = shown(now, { view: { ...view, nodes: [manager('pi1'), node('pi2'), down] } });
    expect(cluster.pis.filter(({ name }) => name === 'pi3')).toMatchObject([{ swarmState: 'down' }]);
  });

  it('a Pi with a freshly flashed card stands there once, although its old id was heard minutes ago', () => {
    const now = leading(nodes);
    const old = peer('old', { name: 'pi3', hardware: 'hw-pi3', swarm: active('old') }, { liveness: 'dead' });
    now.peers = [...now.peers, old];
    expect(shown(now, { view }).cluster).toMatchObject({ state: 'ok', managers: 1, pis: [{}, {}, { name: 'pi3' }] });
    old.status.hardware = 'hw-old';
    expect(shown(now, { view }).cluster).toMatchObject({ state: 'degraded' });
  });

  it('says unclaimed, forming and alone', () => {
    expect(shown(facts({ tag: undefined })).cluster.state).toBe('unclaimed');
    expect(shown(facts()).cluster.state).toBe('forming');
    expect(shown(leading([manager('pi1')])).cluster.state).toBe('alone');
  });

  it.each([
    [
      'foreign-swarm',
      facts({
        engineSwarm: { localState: 'active', nodeId: 'x', controlAvailable: false, error: '', remoteManagers: [] },
      }),
    ],
    ['engine-absent', facts({ engine: 'absent' })],
    ['unclaimed', facts({ tag: undefined })],
    ['no-network', facts({ self: { ...facts().self, address: undefined } })],
    ['under-voltage', facts({ self: { ...facts().self, vitals: { underVoltage: true } } })],
    ['disk-full', facts({ self: { ...facts().self, vitals: { diskPercent: 95 } } })],
    ['hot', facts({ self: { ...facts().self, vitals: { temperatureCelsius: 85 } } })],
  ])('names %s, with the cure', (kind, now) => {
    const notice = shown(now).notices.find(it => it.kind === kind);
    expect(notice?.text).toMatch(/\.$/);
    expect(notice?.cure).toBeTruthy();
  });

  const withServices = (name: string, swarmId: string) =>
    peer(name, { swarm: leader(name, { swarmId, summary: { services: 1, nodes: 2, createdAtMs: 1 } }) });
  const worker = {
    engineSwarm: engineSwarm('pi1'),
    memory: { intent: 'stay' as const, swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') },
  };

  it.each([
    ['the leader', leading([manager('pi1')], { services: [service('web')], peers: [withServices('pi4', 'swarm-b')] })],
    ['any other', facts({ ...worker, peers: [withServices('pi2', 'swarm-a'), withServices('pi4', 'swarm-b')] })],
  ])('says that two swarms have services, and where the other one is, on %s of its Pis', (_who, now) => {
    const notice = shown(now).notices.find(({ kind }) => kind === 'two-swarms');
    expect(notice).toMatchObject({ severity: 'error', text: expect.stringContaining('runs on pi4') });
  });

  it('says nothing of two swarms where one has no services, or where the other is not heard any more', () => {
    const idle = peer('pi4', { swarm: leader('pi4', { swarmId: 'swarm-b' }) });
    const gone = { ...withServices('pi4', 'swarm-b'), liveness: 'dead' as const };
    for (const other of [idle, gone]) {
      const now = facts({ ...worker, peers: [withServices('pi2', 'swarm-a'), other] });
      expect(shown(now).notices).toEqual([]);
    }
  });

  describe('of managers of which one does not answer', () => {
    const lost = { state: 'ready', reachable: false } as const;
    const three = [manager('pi1'), manager('pi2', lost), manager('pi3')];
    const kinds = (snapshot: Snapshot) => snapshot.notices.map(({ kind }) => kind);

    it('says so after the seconds that a promotion takes, and how many more may go', () => {
      const now = leading(three);
      expect(kinds(shown(now, { view: { ...view, nodes: three }, lastedMs: 9_000 }))).toEqual([]);
      const snapshot = shown(now, { view: { ...view, nodes: three }, lastedMs: 10_000 });
      expect(snapshot.cluster).toMatchObject({ state: 'degraded', managers: 3, pis: [{}, { unreachable: true }, {}] });
      expect(snapshot.cluster.pis.filter(pi => pi.unreachable)).toHaveLength(1);
      expect(snapshot.notices).toMatchObject([
        {
          severity: 'warning',
          kind: 'manager-unreachable',
          text: 'pi2, a manager, cannot be reached: when one more goes, the swarm stops deciding.',
        },
      ]);
    });

    it('counts how many more may go of five', () => {
      const five = [...three, manager('pi4'), manager('pi5')];
      const [notice] = shown(leading(five), { lastedMs: 10_000 }).notices;
      expect(notice?.text).toMatch(/when 2 more go, the swarm stops deciding/);
    });

    it('says nothing of a Pi that is a manager no more', () => {
      const nodes = [manager('pi1'), node('pi2', { voter: true, reachable: false }), manager('pi3'), manager('pi4')];
      expect(kinds(shown(leading(nodes), { lastedMs: 60_000 }))).toEqual([]);
    });

    it('a worker goes by the leader, who counts nobody as lost in the seconds of a promotion', () => {
      const now = facts({ ...worker, peers: [peer('pi2', { swarm: leader('pi2') })] });
      const seen = (nodes: SwarmNode[]) => shown(now, { view: { ...view, nodes } });
      expect(kinds(seen(three))).toEqual(['manager-unreachable']);
      const { world } = turn(leading(three));
      expect(kinds(seen(settledNodes(world, three)))).toEqual([]);
      expect(kinds(seen(settledNodes({ ...world, nowMs: world.nowMs + 10_000 }, three)))).toEqual([
        'manager-unreachable',
      ]);
    });
  });
});
