import { describe, expect, it } from 'vitest';
import { managersFor } from '../../src/core/managers.ts';
import { majority } from '../../src/core/quorum.ts';
import { active, engineSwarm, facts, idOf, leader, leading, manager, node, nodeIdOf, peer, plan } from './build.ts';

const gone = { state: 'down' as const, reachable: false };
/** A peer that is dead: its last words are still known. */
const lost = (name: string) => peer(name, { swarm: active(name, { role: 'manager' }) }, { liveness: 'dead' });

describe('a worker that Raft still counts as a manager', () => {
  const leftover = (more: object = {}) => node('pi3', { voter: true, reachable: false, ...more });
  const trio = (third = leftover()) => leading([manager('pi1'), manager('pi2'), third]);

  it('is waited for as long as a demotion may take, then promoted and demoted once more: swarm does it right then', () => {
    expect(plan(trio())).toEqual(['wait: pi3 becomes a worker']);
    expect(plan(trio(), 61_000)).toEqual(['promote pi3', 'demote pi3']);
  });

  it('is left alone while it is down, while Raft reaches it, and while too few others answer', () => {
    expect(plan(trio(leftover({ state: 'down' })), 61_000).join()).toContain('wait');
    expect(plan(trio(leftover({ reachable: true })), 61_000)).toEqual(['wait: pi3 becomes a worker']);
    const alone = leading([manager('pi1'), manager('pi2', gone), leftover()]);
    expect(plan(alone, 61_000).join()).toContain('wait');
  });
});

describe('M1 count', () => {
  it.each([
    [1, 1],
    [2, 1],
    [3, 3],
    [6, 3],
    [7, 5],
    [1000, 5],
  ])('%i Pis have %i managers', (pis, managers) => {
    expect(managersFor(pis, 'auto')).toBe(managers);
  });

  it('the configuration can fix the count, never above what the Pis can hold with a majority', () => {
    expect(managersFor(9, 7)).toBe(7);
    expect(managersFor(4, 5)).toBe(3);
    expect(managersFor(5, 1)).toBe(1);
  });

  it('promotes one at a time, the oldest first', () => {
    expect(plan(leading([manager('pi1'), node('pi2'), node('pi3')]))).toEqual(['promote pi2']);
    expect(plan(leading([manager('pi1'), manager('pi2'), node('pi3')]))).toEqual(['promote pi3']);
    expect(plan(leading([manager('pi1'), manager('pi2'), manager('pi3')]))).toEqual(['wait: all is well']);
  });

  it('waits until the one that was promoted is reachable', () => {
    const rising = manager('pi2', { voter: false, reachable: false });
    expect(plan(leading([manager('pi1'), rising, node('pi3')]))).toEqual(['wait: pi2 becomes a manager']);
  });

  it('does not stop at an even count when only one more Pi is there', () => {
    expect(plan(leading([manager('pi1'), node('pi2'), node('pi3', gone)])).join()).toContain('only one more Pi');
  });

  it('passes over Pis whose agent is silent, that are drained, or that are about to go', () => {
    const nodes = [manager('pi1'), node('pi2'), node('pi3', { availability: 'drain' }), node('pi4'), node('pi5')];
    const it_ = leading(nodes);
    it_.peers = it_.peers.filter(({ status }) => status.name !== 'pi2');
    expect(plan(it_)).toEqual(['promote pi4']);
  });

  it('demotes the youngest when there are too many, never the leader', () => {
    expect(plan(leading([manager('pi1'), manager('pi2')]))).toEqual(['demote pi2']);
    const five = [1, 2, 3, 4, 5].map(n => manager(`pi${n}`));
    expect(plan(leading(five))).toEqual(['demote pi5']);
  });

  it('is done by the leader only', () => {
    const nodes = [manager('pi1', { leader: false }), node('pi2'), manager('pi3', { leader: true })];
    expect(plan(leading(nodes))).toEqual(['wait: all is well']);
  });

  it('changes nothing while the quorum is not healthy', () => {
    const nodes = [manager('pi1'), manager('pi2', gone), manager('pi3', gone), node('pi4')];
    expect(plan(leading(nodes), 1e6)).toEqual(['wait: no manager with quorum answers']);
  });

  it.each([
    [1, 1],
    [2, 2],
    [3, 2],
    [4, 3],
    [5, 3],
  ])('the majority of %i is %i', (count, needed) => expect(majority(count)).toBe(needed));
});

describe('M2 heal', () => {
  const nodes = [manager('pi1'), manager('pi2', gone), manager('pi3'), node('pi4')];
  const others = leading(nodes).peers;

  it('replaces a manager that is gone for long, and only then', () => {
    const now = leading(nodes, { peers: [...others, lost('pi2')] });
    expect(plan(now, 59_000)).toEqual(['wait: all is well']);
    expect(plan(now, 60_000)).toEqual(['demote pi2']);
    expect(plan(leading([manager('pi1'), node('pi2', gone), manager('pi3'), node('pi4')]))).toEqual(['promote pi4']);
  });

  it('keeps it when nobody can take its place: demoting would win nothing', () => {
    expect(plan(leading(nodes.slice(0, 3)), 1e6)).toEqual(['wait: all is well']);
  });
});

describe('M3 forget', () => {
  it('forgets a worker that stayed away for too long', () => {
    const now = leading([manager('pi1'), node('pi2', gone)]);
    expect(plan(now, 86_399_000)).toEqual(['wait: all is well']);
    expect(plan(now, 86_400_000)).toEqual(['remove pi2']);
  });

  it('removes the ghost of a card that was flashed again, at once', () => {
    const ghost = node('pi2', {
      ...gone,
      nodeId: 'old',
      labels: { 'pi-swarm.hardware': 'hw-pi2', 'pi-swarm.id': 'old' },
    });
    expect(plan(leading([manager('pi1'), ghost, node('pi2')]))).toEqual(['remove pi2']);
  });

  it('demotes a ghost that was a manager first, so that it does not cost the quorum', () => {
    const ghost = manager('pi2', { ...gone, nodeId: 'old', labels: { 'pi-swarm.hardware': 'hw-pi2' } });
    const nodes = [manager('pi1'), ghost, node('pi2'), manager('pi3')];
    expect(plan(leading(nodes))).toEqual(['demote pi2']);
  });

  it('removes a ghost that was promoted and never came as far as Raft: the swarm refuses to demote it', () => {
    const labels = { 'pi-swarm.hardware': 'hw-pi9' };
    const ghost = manager('pi4', { ...gone, labels, voter: false });
    const back = node('pi5', { labels: { ...labels, 'pi-swarm.id': idOf('pi5') } });
    const now = leading([manager('pi1'), manager('pi2'), manager('pi3'), ghost, back]);
    now.peers = now.peers.map(it =>
      it.status.name === 'pi5' ? { ...it, status: { ...it.status, hardware: 'hw-pi9' } } : it,
    );
    expect(plan(now)).toEqual(['remove pi4']);
    ghost.labels = {};
    expect(plan(now, 60_000)).toEqual(['remove pi4']);
  });

  it('does not touch a ghost manager when that could cost the quorum', () => {
    const ghost = manager('pi2', { ...gone, nodeId: 'old', labels: { 'pi-swarm.hardware': 'hw-pi2' } });
    expect(plan(leading([manager('pi1'), ghost, node('pi2')]), 1e9)).toEqual(['wait: no manager with quorum answers']);
  });

  it('never takes two living Pis for one because their boards look alike', () => {
    const twin = { 'pi-swarm.hardware': 'hw-pi2' };
    const nodes = [
      manager('pi1'),
      node('pi2'),
      node('pi3', { labels: { ...twin, 'pi-swarm.id': '0000000000000003' } }),
    ];
    expect(plan(leading(nodes)).join()).not.toContain('remove');
  });

  it('removes one that left, as soon as it is down', () => {
    const leaver = node('pi2', { ...gone, availability: 'drain', labels: { 'pi-swarm.leaving': 'leave' } });
    expect(plan(leading([manager('pi1'), leaver]))).toEqual(['remove pi2']);
  });
});

describe('L1 leave', () => {
  const leaving = (name: string, role: 'worker' | 'manager' = 'worker', intent: 'leave' | 'shutdown' = 'leave') =>
    peer(name, { intent, swarm: active(name, { role, quorum: role === 'manager' }) });
  const mark = {
    availability: 'drain' as const,
    labels: { 'pi-swarm.id': '0000000000000002', 'pi-swarm.leaving': 'leave' },
  };

  it('the leader gives no more work to a Pi that says it goes, and drains it when nothing is left to move', () => {
    expect(plan(leading([manager('pi1'), node('pi2')], { peers: [leaving('pi2')] }))).toEqual(['pause pi2']);
    const paused = node('pi2', { ...mark, availability: 'pause' });
    expect(plan(leading([manager('pi1'), paused], { peers: [leaving('pi2')] }))).toEqual(['drain pi2']);
    expect(plan(leading([manager('pi1'), node('pi2', mark)], { peers: [leaving('pi2')] }))).toEqual([
      'wait: all is well',
    ]);
  });

  it('a manager that leaves for good is demoted, another takes its place', () => {
    const nodes = [manager('pi1'), manager('pi2', mark), manager('pi3'), node('pi4')];
    const peers = [leaving('pi2', 'manager'), ...leading(nodes).peers.slice(1)];
    expect(plan(leading(nodes, { peers }))).toEqual(['promote pi4']);
    const next = [manager('pi1'), manager('pi2', mark), manager('pi3'), manager('pi4')];
    expect(plan(leading(next, { peers }))).toEqual(['demote pi2']);
  });

  it('the only manager promotes the other Pi before it goes', () => {
    const memory = { intent: 'leave' as const, swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') };
    const own = { availability: 'drain' as const, labels: { 'pi-swarm.leaving': 'leave' } };
    expect(plan(leading([manager('pi1', own), node('pi2')], { memory }))).toEqual(['promote pi2']);
    expect(plan(leading([manager('pi1', own), manager('pi2')], { memory }), 3_000)).toEqual(['demote pi1']);
  });

  const me = (more: object) =>
    facts({
      engineSwarm: engineSwarm('pi1'),
      memory: { intent: 'leave', swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') },
      peers: [peer('pi2', { swarm: leader('pi2'), leaving: [nodeIdOf('pi1')], released: [nodeIdOf('pi1')] })],
      ...more,
    });

  it('the Pi that goes waits until the leader has heard it and its tasks run elsewhere, then leaves', () => {
    expect(plan(me({ peers: [peer('pi2', { swarm: leader('pi2') })] }))).toEqual([
      'wait: the leader has not drained this Pi yet',
    ]);
    expect(plan(me({ runningTasks: 2 }))).toEqual(['wait: 2 tasks still run here']);
    expect(plan(me({}))).toEqual(['leave the swarm', 'forget the swarm', 'remember that it has left']);
  });

  it('goes anyway when its time is over', () => {
    expect(plan(me({ runningTasks: 2 }), 60_000)[0]).toBe('leave the swarm by force');
  });

  it('the last Pi leaves by force, for nobody can take over', () => {
    expect(plan(me({ peers: [] }))[0]).toBe('leave the swarm by force');
  });

  it('a Pi that only shuts down stays a member', () => {
    const memory = { intent: 'shutdown' as const, swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') };
    expect(plan(me({ memory }))).toEqual(['may stop: its work runs elsewhere']);
    expect(plan(me({ memory, runningTasks: 1 }), 60_000)[0]).toContain('may stop');
  });

  it('a leader that shuts down hands leadership over where two other managers remain', () => {
    const memory = { intent: 'shutdown' as const, swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') };
    const own = { availability: 'drain' as const, labels: { 'pi-swarm.leaving': 'shutdown' } };
    expect(plan(leading([manager('pi1', own), manager('pi2'), manager('pi3')], { memory }), 3_000)).toEqual([
      'demote pi1',
    ]);
    expect(plan(leading([manager('pi1', own), node('pi2')], { memory }))[0]).toContain('may stop');
  });
});

describe('L2 return', () => {
  it('uses a Pi again that had said it goes', () => {
    const labels = { 'pi-swarm.id': '0000000000000002', 'pi-swarm.hardware': 'hw-pi2', 'pi-swarm.leaving': 'shutdown' };
    expect(plan(leading([manager('pi1'), node('pi2', { availability: 'drain', labels })]))).toEqual(['activate pi2']);
  });

  it("leaves a person's own drain alone", () => {
    expect(plan(leading([manager('pi1'), node('pi2', { availability: 'drain' })]))).toEqual(['wait: all is well']);
  });
});

describe('what the leader keeps in order', () => {
  it('labels each node with who it is', () => {
    expect(plan(leading([manager('pi1'), node('pi2', { labels: {} })]))).toEqual(['label pi2']);
  });

  it("sets the swarm's heartbeat and certificate expiry where they differ", () => {
    const settings = {
      dispatcherHeartbeatMs: 5_000,
      nodeCertExpiryMs: 1_000_000,
      labels: { 'pi-swarm.tag': '00112233aabbccdd' },
    };
    expect(plan(leading([manager('pi1')], { settings }))).toEqual(['tune the swarm: dispatcher heartbeat 1000 ms']);
  });

  it('every Pi makes the image that the leader wants everywhere', () => {
    expect(plan(leading([manager('pi1')], { missingImages: ['whoami:1'] }))).toEqual(['make image whoami:1']);
  });
});
