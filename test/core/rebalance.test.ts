/** B1: the load is evened out, one move at a time, and only while everything is calm. */
import { describe, expect, it } from 'vitest';
import type { Facts } from '../../src/core/observe.ts';
import { leftAlone, planRebalance } from '../../src/core/rebalance.ts';
import { turn } from '../../src/core/turn.ts';
import type { SwarmNode, SwarmService } from '../../src/core/world.ts';
import { active, manager, node, nodeIdOf, peer, plan } from './build.ts';
import { story, tasksOf, type Where, WISH, world } from './loads.ts';

/** What the leader does when this has lasted for so long. */
const after = (facts: Facts, ms = WISH.steadyForMs): string[] => plan(facts, ms);
const quiet = [expect.stringMatching(/^wait: /)];

/** Everything that would be moved, in words. */
function foreseen(facts: Facts): string[] {
  const { world: seen } = turn(facts);
  return planRebalance(seen, { asked: true }).map(
    ({ serviceName, fromName, to }) => `${serviceName}: ${fromName} → ${to.join(' ')}`,
  );
}

describe('what is uneven', () => {
  it.each<[string, Where, string[]]>([
    ['a Pi came back empty', { web: [3, 3, 0] }, ['web: pi1 → pi3', 'web: pi2 → pi3']],
    ['everything is on one Pi', { web: [6, 0, 0] }, ['web: pi1 → pi2 pi3 pi2 pi3']],
    ['one more than the others is even', { web: [2, 2, 1] }, []],
    ['as few as possible move', { web: [4, 4, 1] }, ['web: pi1 → pi3', 'web: pi2 → pi3']],
    [
      'among equals the Pi with more to do in all',
      { db: [0, 1, 0], web: [3, 3, 0] },
      ['web: pi2 → pi3', 'web: pi1 → pi3'],
    ],
    ['two Pis, one task', { web: [1, 0, 0] }, []],
    [
      'the least even service is first',
      { cache: [2, 0, 2], web: [5, 1, 0] },
      ['web: pi1 → pi3 pi2 pi3', 'cache: pi1 → pi2'],
    ],
    [
      'services of one task each lie on one Pi',
      { a: [1, 0, 0], b: [1, 0, 0], c: [1, 0, 0], d: [1, 0, 0], e: [1, 0, 0] },
      ['a: pi1 → pi2', 'b: pi1 → pi3', 'c: pi1 → pi2'],
    ],
    ['a single task stays where the other Pis have as much', { a: [1, 0, 0], b: [0, 1, 0], c: [0, 0, 1] }, []],
    ['a task that makes its own service less even stays', { a: [1, 1, 1], b: [1, 1, 1], c: [1, 0, 0] }, []],
  ])('%s', (_name, where, moves) => {
    expect(foreseen(world(where))).toEqual(moves);
  });

  it('counts what cannot be moved, too', () => {
    const pinned = { db: { constraints: ['node.hostname==pi1'] } };
    expect(foreseen(world({ db: [2, 0, 0], web: [1, 0, 0] }, pinned))).toEqual(['web: pi1 → pi2']);
  });

  it('counts no task of another service that fails again and again', () => {
    const facts = world({ a: [1, 1, 0], web: [2, 2, 2], nginx: [0, 2, 0] }, { nginx: { running: 0 } });
    const tasks = (facts.tasks ?? []).map(it => (it.serviceId === 'nginx' ? { ...it, state: 'preparing' } : it));
    expect(after({ ...facts, tasks }, 61_000)).toEqual(quiet);
    expect(foreseen({ ...facts, tasks })).toEqual([]);
  });

  it('starts at most ten more at once', () => {
    const [first] = planRebalance(turn(world({ web: [40, 0, 0] })).world, { asked: true });
    expect(first?.count).toBe(10);
  });
});

describe('where a service may run', () => {
  const on = { labels: { 'pi-swarm.rebalance': 'on' } };
  const armed = node('pi3', { architecture: 'armv7l' });

  it.each<[string, Partial<SwarmService>, SwarmNode, string[]]>([
    [
      'not on another kind of processor',
      { platforms: [{ os: 'linux', architecture: 'amd64' }] },
      armed,
      ['web: pi1 → pi2 pi2'],
    ],
    ['on every kind where it says none', { platforms: [] }, armed, ['web: pi1 → pi2 pi3 pi2']],
    [
      'not against its constraints',
      { ...on, constraints: ['node.hostname != pi3'] },
      node('pi3'),
      ['web: pi1 → pi2 pi2'],
    ],
    ['where its constraints say', { ...on, constraints: ['node.role==worker'] }, node('pi3'), []],
    ['not beyond its limit on each Pi', { maxReplicas: 1 }, node('pi3'), ['web: pi1 → pi2 pi3']],
    ['not where swarm starts nothing', {}, node('pi3', { availability: 'drain' }), ['web: pi1 → pi2 pi2']],
    ['not where nothing answers', {}, node('pi3', { state: 'down' }), ['web: pi1 → pi2 pi2']],
  ])('%s', (_name, more, third, moves) => {
    const it_ = world({ web: [5, 0, 0] }, { web: more });
    expect(foreseen({ ...it_, nodes: [manager('pi1'), node('pi2'), third] })).toEqual(moves);
  });

  it('nothing is moved to an unwell Pi, and nothing away from it', () => {
    const hot = (name: string) => node(name, { labels: { ...node(name).labels, 'pi-swarm.unwell': 'hot' } });
    const nodes = [manager('pi1'), node('pi2'), hot('pi3')];
    // The swarm would start it there.
    expect(foreseen({ ...world({ web: [3, 3, 0] }), nodes })).toEqual([]);
    expect(foreseen({ ...world({ web: [1, 0, 4] }), nodes })).toEqual([]);
    expect(foreseen({ ...world({ web: [4, 0, 3] }), nodes })).toEqual(['web: pi1 → pi2 pi2']);
  });

  it('one host port holds one task on each Pi', () => {
    const ports = [{ protocol: 'tcp', published: 80, target: 80, mode: 'host' } as const];
    const both = { web: { ports }, proxy: { ports } };
    expect(
      foreseen(world({ a: [4, 0, 0], web: [1, 0, 0], proxy: [0, 1, 1] }, { ...both, a: { replicas: undefined } })),
    ).toEqual([]);
    expect(
      foreseen(world({ a: [4, 0, 0], web: [1, 0, 0], proxy: [0, 1, 0] }, { ...both, a: { replicas: undefined } })),
    ).toEqual(['web: pi1 → pi3']);
  });
});

describe('what is left alone', () => {
  const uneven: Where = { web: [6, 0, 0] };
  it.each<[string, Partial<SwarmService>, string | undefined]>([
    [
      'a service whose label says so',
      { labels: { 'pi-swarm.rebalance': 'off' } },
      'its label pi-swarm.rebalance says off',
    ],
    ['local volumes', { localVolumes: true }, 'its data is on the Pis where it runs'],
    ['a constraint', { constraints: ['node.labels.ssd==1'] }, 'it says where it wants to run (node.labels.ssd==1)'],
    ['a preference', { preferences: true }, 'it says how it wants to be spread (--placement-pref)'],
    [
      'labels of engines, also where it is asked to move',
      { labels: { 'pi-swarm.rebalance': 'on' }, constraints: ['engine.labels.ssd==1'] },
      'only the swarm knows where it may run (engine.labels.ssd==1)',
    ],
    ['a service that runs on every Pi', { replicas: undefined }, undefined],
    ['one in an update', { updating: true }, undefined],
    ['one that is incomplete', { running: 5 }, undefined],
  ])('%s', (_name, more, why) => {
    const it_ = world(uneven, { web: more });
    expect(foreseen(it_)).toEqual([]);
    expect(leftAlone(turn(it_).world)).toEqual(why === undefined ? [] : [{ service: 'web', why }]);
    expect(after(it_)).toEqual(quiet);
  });

  it('unless its label says on', () => {
    for (const more of [
      { localVolumes: true },
      { preferences: true as const },
      { constraints: ['node.role != cook'] },
    ]) {
      const it_ = world(uneven, { web: { ...more, labels: { 'pi-swarm.rebalance': 'on' } } });
      expect(after(it_)).toEqual(['move 4 of web away from pi1']);
    }
  });

  it('services without state go first', () => {
    const labels = { 'pi-swarm.rebalance': 'on' };
    const it_ = world({ db: [6, 0, 0], web: [2, 0, 0] }, { db: { localVolumes: true, labels } });
    expect(foreseen(it_)).toEqual(['web: pi1 → pi2', 'db: pi1 → pi3 pi2 pi3 pi2']);
  });
});

describe('when', () => {
  const uneven = world({ web: [3, 3, 0] });

  it('only after everything has been calm for a while', () => {
    expect(after(uneven)).toEqual(['move 1 of web away from pi1']);
    expect(after(uneven, 19_000)).toEqual(quiet);
  });

  it('and not for a service that is complete only for a moment', () => {
    const late = world({ web: [3, 3, 0] }, { web: { running: 5 } });
    expect(story([0, late], [20_000, late], [1_000, uneven], [9_000, uneven]).plan).toEqual([]);
    expect(story([0, late], [20_000, late], [1_000, uneven], [10_000, uneven]).plan).toEqual(['move']);
  });

  it('at once where somebody waits for it', () => {
    expect(after({ ...uneven, rebalanceAsked: true }, 0)).toEqual(['move 1 of web away from pi1']);
  });

  it('only by hand where the configuration says so', () => {
    const never = { ...uneven, wish: { ...WISH, rebalance: false } };
    expect(after(never)).toEqual(quiet);
    expect(after({ ...never, rebalanceAsked: true })).toEqual(['move 1 of web away from pi1']);
  });

  const three = (third: Partial<SwarmNode>): Facts => ({
    ...uneven,
    nodes: [manager('pi1'), node('pi2'), node('pi3', { ...third, labels: { ...node('pi3').labels, ...third.labels } })],
  });
  const leaving = { 'pi-swarm.leaving': 'shutdown' };
  const said = (third: Parameters<typeof peer>[1], rest: Parameters<typeof peer>[2] = {}): Facts => ({
    ...uneven,
    peers: [peer('pi2', { swarm: active('pi2') }), peer('pi3', { swarm: active('pi3'), ...third }, rest)],
  });

  it.each<[string, Facts]>([
    ['a Pi is silent', said({}, { liveness: 'dead' })],
    ['a Pi may be silent', said({}, { liveness: 'suspect' })],
    ['a Pi goes', { ...three({ availability: 'pause', labels: leaving }), ...said({ intent: 'shutdown' }) }],
    ['a Pi is being drained', three({ availability: 'pause', labels: { 'pi-swarm.leaving': 'drain' } })],
    ['a Pi is down for a moment', three({ state: 'down' })],
    ['a Pi becomes a manager', three({ role: 'manager', voter: false, reachable: false })],
    ['a service is updated', world({ web: [3, 3, 0], db: [1, 0, 0] }, { db: { updating: true } })],
    ['a service is incomplete', world({ web: [3, 3, 0], db: [1, 0, 0] }, { db: { running: 0 } })],
    ['a service has too many tasks', world({ web: [3, 3, 0], db: [1, 0, 0] }, { db: { replicas: 0, desired: 0 } })],
  ])('not while %s', (_name, facts) => {
    for (const asked of [{}, { rebalanceAsked: true as const }]) {
      expect(after({ ...facts, ...asked }).join()).not.toContain('move 1 of web');
    }
  });

  it.each<[string, Facts]>([
    ['a Pi that is off for long', { ...three({ state: 'down' }), tasks: tasksOf({ web: [6, 0, 0] }) }],
    [
      'a Pi that is drained',
      {
        ...three({ availability: 'drain', labels: { 'pi-swarm.leaving': 'drain' } }),
        tasks: tasksOf({ web: [6, 0, 0] }),
      },
    ],
    [
      'a Pi whose agent was stopped',
      {
        ...three({ availability: 'drain', labels: leaving }),
        tasks: tasksOf({ web: [6, 0, 0] }),
        peers: [peer('pi2', { swarm: active('pi2') })],
      },
    ],
    ['a service that never gets complete', world({ web: [6, 0, 0], db: [1, 0, 0] }, { db: { running: 0 } })],
  ])('%s keeps nobody from it', (_name, facts) => {
    expect(after(facts, 60_000).join()).toMatch(/^move \d of web away from pi1/);
  });

  const move = { from: nodeIdOf('pi1'), count: 1, why: 'rebalance', phase: 'block' } as const;
  const moving = world({ web: [3, 3, 1] }, { web: { replicas: 6, desired: 6, running: 6, move } });

  it('one move after the other, with a pause between them', () => {
    const half = world({ web: [2, 3, 1] });
    const later = (ms: number) => story([0, uneven], [20_000, uneven], [1_000, moving], [1_000, half], [ms, half]).plan;
    expect(later(9_000)).toEqual([]);
    expect(later(10_000)).toEqual(['move']);
  });

  describe('a Pi that has to fetch the image first', () => {
    const fetching = (more: Partial<Facts> = {}): Facts => {
      const surge = { from: nodeIdOf('pi1'), count: 1, why: 'rebalance', phase: 'surge' } as const;
      const it_ = world({ web: [3, 3, 1] }, { web: { replicas: 6, desired: 6, running: 6, move: surge } }, more);
      const tasks = (it_.tasks ?? []).map(task =>
        task.nodeId === nodeIdOf('pi3') ? { ...task, state: 'preparing' } : task,
      );
      return { ...it_, tasks };
    };

    it('gets minutes for it', () => {
      expect(story([0, uneven], [20_000, uneven], [1_000, fetching()], [290_000, fetching()]).plan).toEqual([]);
      expect(story([0, uneven], [20_000, uneven], [1_000, fetching()], [300_000, fetching()]).plan).toEqual([
        'block-move',
      ]);
    });

    it('does not keep one that goes', () => {
      const pi2 = node('pi2', { availability: 'pause', labels: { ...node('pi2').labels, ...leaving } });
      const goes = fetching({ nodes: [manager('pi1'), pi2, node('pi3')] });
      expect(story([0, uneven], [20_000, uneven], [1_000, fetching()], [1_000, goes]).plan).toEqual(['block-move']);
    });

    it('is no reason to let a later leave stop its tasks first', () => {
      const { moves } = story(
        [0, uneven],
        [20_000, uneven],
        [1_000, fetching()],
        [300_000, fetching()],
        [1_000, uneven],
      );
      expect(moves.gaveUpMs).toEqual({});
    });
  });

  it('a new leader looks for itself first', () => {
    const blind: Facts = { ...uneven };
    delete blind.tasks;
    expect(story([0, uneven], [20_000, blind], [11_000, uneven]).plan).toEqual([]);
    expect(story([0, uneven], [20_000, blind], [1_000, uneven]).plan).toEqual(['move']);
  });
});
