import { describe, expect, it } from 'vitest';
import { turn } from '../../src/core/turn.ts';
import {
  active,
  cluster,
  engineSwarm,
  facts,
  idOf,
  leader,
  leading,
  manager,
  node,
  nodeIdOf,
  peer,
  plan,
  service,
} from './build.ts';

const named = (name: string) => peer(name, { candidate: idOf('pi1') });
const memory = (name: string) => ({ intent: 'stay' as const, swarmId: 'swarm-a', swarmNodeId: nodeIdOf(name) });

describe('F1 join', () => {
  it('joins the swarm of an authenticated manager, and remembers it first so that a crash in between is harmless', () => {
    expect(plan(facts({ peers: [peer('pi2', { swarm: leader('pi2') })] }))).toEqual([
      'remember swarm swarm-a',
      'join the swarm of pi2',
    ]);
  });

  it('asks the leader rather than another manager', () => {
    const peers = [
      peer('pi2', { swarm: active('pi2', { role: 'manager', quorum: true }) }),
      peer('pi3', { swarm: leader('pi3') }),
    ];
    expect(plan(facts({ peers }))).toContain('join the swarm of pi3');
  });

  it('does not ask a manager without quorum, a dead one, or one whose swarm dissolves', () => {
    const lost = peer('pi2', { swarm: leader('pi2', { quorum: false }) });
    const dead = peer('pi2', { swarm: leader('pi2') }, { liveness: 'dead' });
    const yielding = peer('pi2', { swarm: leader('pi2'), dissolving: { into: 'swarm-b' } });
    for (const it of [lost, dead, yielding]) expect(plan(facts({ peers: [it] })).join()).not.toContain('join');
  });

  it('waits for an address', () => {
    const self = { ...facts().self, address: undefined };
    expect(plan(facts({ self, peers: [peer('pi2', { swarm: leader('pi2') })] }))).toEqual([
      'wait: no network address yet',
    ]);
  });

  it('never joins or starts anything without a secret', () => {
    const peers = [peer('pi2', { swarm: leader('pi2') })];
    expect(plan(facts({ tag: undefined, peers }), 1e6)).toEqual(['wait: no cluster secret: this Pi is unclaimed']);
  });

  it('stays away after it has left, until somebody says join', () => {
    const left = facts({ memory: { intent: 'left' }, peers: [peer('pi2', { swarm: leader('pi2') })] });
    expect(plan(left, 1e6).join()).toContain('has left');
  });
});

describe('F2 init', () => {
  it('is done by the smallest id once it is settled and everybody names it', () => {
    expect(plan(facts({ peers: [named('pi2'), named('pi3')] }), 1_000)).toEqual(['init a new swarm']);
  });

  it('is left to the smaller id', () => {
    const self = { ...facts().self, id: idOf('pi9'), name: 'pi9' };
    expect(plan(facts({ self, peers: [peer('pi2')] }), 60_000)).toEqual(['wait: pi2 is the one to start the swarm']);
  });

  it('waits for the settle time after the last new Pi', () => {
    const late = { ...named('pi3'), firstSeenMs: 99_500 };
    expect(plan(facts({ peers: [named('pi2'), late] }), 60_000).join()).toContain('settling');
  });

  it('waits while somebody names another candidate or none', () => {
    const peers = [named('pi2'), peer('pi3', { candidate: idOf('pi3') })];
    expect(plan(facts({ peers }), 60_000)).toEqual(['wait: pi3 does not name this Pi as the first one yet']);
  });

  it('waits longer when nobody else is here, then starts alone', () => {
    expect(plan(facts(), 7_000).join()).toContain('settling');
    expect(plan(facts(), 8_000)).toEqual(['init a new swarm']);
  });

  it('never happens while a peer is in a swarm of the cluster, even if its managers are gone', () => {
    const peers = [peer('pi2', { swarm: active('pi2') })];
    expect(plan(facts({ peers }), 1e6).join()).toContain('none of its managers can be reached');
  });

  it('ignores Pis that have left and Pis in foreign swarms', () => {
    const peers = [peer('pi0', { intent: 'left' }), peer('pi2', { swarm: { state: 'foreign', nodeId: 'x' } })];
    expect(plan(facts({ peers }), 8_000)).toEqual(['init a new swarm']);
  });

  it('passes over a Pi whose engine is not ready', () => {
    const peers = [peer('pi0', { engine: 'absent', candidate: idOf('pi1') })];
    expect(plan(facts({ peers }), 1_000)).toEqual(['init a new swarm']);
  });

  it('goes to the next candidate when the first is dead', () => {
    const peers = [peer('pi0', {}, { liveness: 'dead' }), named('pi2')];
    expect(plan(facts({ peers }), 1_000)).toEqual(['init a new swarm']);
  });
});

describe('whose swarm', () => {
  it('leaves a foreign swarm alone, as manager and as worker', () => {
    const foreign = engineSwarm('pi1', { controlAvailable: true, cluster: cluster('other', {}) });
    for (const swarm of [foreign, engineSwarm('pi1')]) {
      const { world, decision } = turn(facts({ engineSwarm: swarm, peers: [peer('pi2', { swarm: leader('pi2') })] }));
      expect(world.swarm.state).toBe('foreign');
      expect(decision.steps).toEqual([]);
    }
  });

  it('has nothing to move, and so lets a shutdown pass at once, where the swarm or the Pi is not ours', () => {
    const shutdown = { memory: { intent: 'shutdown' as const } };
    const worlds = [{ tag: undefined }, { engineSwarm: engineSwarm('pi1') }, {}];
    for (const world of worlds) expect(turn(facts({ ...shutdown, ...world })).decision.mayStop).toBe(true);
    expect(turn(facts({ tag: undefined })).decision.mayStop).toBeUndefined();
  });

  it('leaves a swarm of another cluster alone', () => {
    const theirs = engineSwarm('pi1', {
      controlAvailable: true,
      cluster: cluster('other', { 'pi-swarm.tag': 'ffff' }),
    });
    expect(turn(facts({ engineSwarm: theirs })).world.swarm.state).toBe('foreign');
  });

  it('knows its own swarm by the label when the agent was killed before it could remember', () => {
    const made = facts({ engineSwarm: engineSwarm('pi1', { controlAvailable: true, cluster: cluster() }) });
    expect(plan(made)).toEqual(['remember swarm swarm-a']);
  });

  it('finishes a join that the agent did not live to remember, by the managers that the engine knows', () => {
    const killed = facts({
      engineSwarm: engineSwarm('pi1', { remoteManagers: ['10.0.0.2:2377'] }),
      memory: { intent: 'stay', swarmId: 'swarm-a' },
      peers: [peer('pi2', { swarm: leader('pi2') })],
    });
    expect(plan(killed)).toEqual(['remember swarm swarm-a']);
  });

  it('does not take a swarm joined by hand for its own because a join was once begun', () => {
    const byHand = facts({
      engineSwarm: engineSwarm('pi1', { remoteManagers: ['192.168.9.9:2377'] }),
      memory: { intent: 'stay', swarmId: 'swarm-a' },
      peers: [peer('pi2', { swarm: leader('pi2'), members: [nodeIdOf('pi2')] })],
    });
    expect(turn(byHand).world.swarm.state).toBe('foreign');
  });
});

describe('a Pi that is stuck', () => {
  const pending = engineSwarm('pi1', { localState: 'pending', error: 'x509: certificate has expired' });

  it('waits as long as no manager is in sight: its state may be needed', () => {
    expect(plan(facts({ engineSwarm: pending }), 1e7).join()).toContain('no manager is in sight');
  });

  it('starts anew beside a manager after its time', () => {
    const peers = [peer('pi2', { swarm: leader('pi2') })];
    expect(plan(facts({ engineSwarm: pending, peers }), 29_000).join()).toContain('wait');
    expect(plan(facts({ engineSwarm: pending, peers }), 30_000)[0]).toContain('abandon the swarm');
  });

  it('comes back as a new node when the leader does not list it any more', () => {
    const removed = facts({
      engineSwarm: engineSwarm('pi1'),
      memory: memory('pi1'),
      peers: [peer('pi2', { swarm: leader('pi2'), members: [nodeIdOf('pi2')] })],
    });
    expect(plan(removed, 4_000).join()).toContain('wait');
    expect(plan(removed, 5_000)[0]).toContain('abandon the swarm: pi2, the leader, does not list this Pi');
  });

  it('starts anew at once when it was removed while it was off: its engine would stay pending for ever', () => {
    const peers = [peer('pi2', { swarm: leader('pi2'), members: [nodeIdOf('pi2')] })];
    expect(plan(facts({ engineSwarm: pending, peers }), 5_000)[0]).toContain('it was removed while it was away');
  });

  it('an engine that is away is waited for, whatever else is true', () => {
    expect(plan(facts({ engine: 'absent', peers: [peer('pi2', { swarm: leader('pi2') })] }), 1e6)).toEqual([
      'wait: the engine is absent',
    ]);
  });
});

describe('F3 merge', () => {
  const other = (more: { services?: number; nodes?: number; createdAtMs?: number }) =>
    peer('pi5', {
      swarm: leader('pi5', { swarmId: 'swarm-b', summary: { services: 0, nodes: 1, createdAtMs: 1_000, ...more } }),
    });
  const alone = (services: string[], rival: ReturnType<typeof other>) =>
    leading([manager('pi1')], { services: services.map(service), peers: [rival] });
  const begun = { ...memory('pi1'), yieldingTo: 'swarm-b' };

  it('the swarm without services dissolves: it says so first, and keeps it in mind over a crash', () => {
    const now = alone([], other({ services: 1 }));
    expect(plan(now)).toEqual(['give way to swarm swarm-b']);
    expect(plan({ ...now, memory: begun })).toEqual([
      'abandon the swarm: the other swarm has services and this one has none',
      'forget the swarm',
    ]);
    expect(plan(alone(['web'], other({ nodes: 9 })))).toEqual(['wait: all is well']);
  });

  it('of two without services the smaller one, then the younger one dissolves', () => {
    const yields = (rival: ReturnType<typeof other>) => turn(alone([], rival)).decision;
    expect(yields(other({ nodes: 2 }))).toMatchObject({ rule: 'F3', why: 'the other swarm is larger' });
    expect(yields(other({ createdAtMs: 500 }))).toMatchObject({ rule: 'F3', why: 'the other swarm is older' });
    expect(plan(alone([], other({ createdAtMs: 2_000 })))).toEqual(['wait: all is well']);
  });

  it('both sides agree on who stays, also when size and age are equal', () => {
    const here = plan(alone([], other({})));
    expect(here).toEqual(['wait: all is well']); // swarm-a < swarm-b
  });

  it('two swarms with services are left as they are, with an alarm', () => {
    expect(plan(alone(['web'], other({ services: 3, nodes: 9 })), 1e6)).toEqual([
      'wait: two swarms have services: a person has to choose',
    ]);
  });

  it('the leader goes last: first it tells the others, and waits for them, but not for ever', () => {
    const nodes = [manager('pi1'), node('pi2')];
    const peers = [other({ services: 1 }), peer('pi2', { swarm: active('pi2') })];
    const now = leading(nodes, { peers, memory: begun });
    const { decision, status, world } = turn(now);
    expect(status.dissolving).toEqual({ into: 'swarm-b' });
    expect(decision.why).toContain('waiting for 1 Pis');
    const later = turn({ ...now, nowMs: now.nowMs + 21_000 }, world);
    expect(later.decision.steps[0]?.action).toBe('abandon');
  });

  it('sees it through when the managers that have gone over took the majority with them', () => {
    const nodes = [
      manager('pi1', { leader: false }),
      manager('pi2', { reachable: false }),
      manager('pi3', { reachable: false }),
    ];
    const now = leading(nodes, { peers: [other({ nodes: 9 })], memory: begun });
    expect(plan(now)[0]).toBe('abandon the swarm: it has begun to join it');
  });

  it('keeps the swarm after all when a service was made there in the meantime, or when the other one is gone', () => {
    const now = { ...alone(['web'], other({ nodes: 9 })), memory: begun };
    expect(plan(now)).toEqual(['keep the swarm after all']);
    expect(plan({ ...now, services: [], peers: [] })).toEqual(['keep the swarm after all']);
  });

  it('the others go when their leader says so', () => {
    const now = facts({
      engineSwarm: engineSwarm('pi1'),
      memory: memory('pi1'),
      peers: [peer('pi2', { swarm: leader('pi2'), dissolving: { into: 'swarm-b' }, members: [nodeIdOf('pi1')] })],
    });
    expect(plan(now)[0]).toBe('abandon the swarm: pi2 says this swarm joins another one');
  });

  it('a worker whose managers have gone over follows after a while, unless it runs something', () => {
    const orphan = facts({ engineSwarm: engineSwarm('pi1'), memory: memory('pi1'), peers: [other({})] });
    expect(plan(orphan, 59_000)).toEqual(['wait: no manager with quorum answers']);
    expect(plan(orphan, 60_000)[0]).toContain('its managers are gone');
    expect(plan({ ...orphan, runningTasks: 1 }, 1e6)).toEqual(['wait: no manager with quorum answers']);
  });
});
