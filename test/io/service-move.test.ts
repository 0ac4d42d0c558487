import { describe, expect, it } from 'vitest';
import type { WireServiceSpec } from '../../src/io/engine-map.ts';
import {
  blocked,
  ended,
  MOVE_LABEL,
  moveOf,
  scaled,
  started,
  wishedPlacement,
  wishedReplicas,
} from '../../src/io/service-move.ts';
import { must, throughTheEngine, withPlacement } from './service-specs.ts';

const MOVE = { from: 'nodeA', count: 2, why: 'leave' } as const;

const USERS: WireServiceSpec = {
  Name: 'web',
  Labels: { team: 'a' },
  TaskTemplate: {
    ContainerSpec: { Image: 'web:1' },
    Placement: { Constraints: ['node.labels.disk==ssd'], MaxReplicas: 3, Platforms: [{ OS: 'linux' }] },
  },
  Mode: { Replicated: { Replicas: 3 } },
  UpdateConfig: { Parallelism: 1, FailureAction: 'pause', Monitor: 5e9, MaxFailureRatio: 0, Order: 'stop-first' },
};

const surging = must(started(USERS, MOVE));
const blocking = must(blocked(surging, ['nodeC', 'nodeD']));
const replicasOf = (spec: WireServiceSpec): number | undefined => spec.Mode?.Replicated?.Replicas;
const withReplicas = (spec: WireServiceSpec, Replicas: number) => ({ ...spec, Mode: { Replicated: { Replicas } } });
const withLabel = (spec: WireServiceSpec, label: string) => ({
  ...spec,
  Labels: { ...spec.Labels, [MOVE_LABEL]: label },
});
describe('a started move', () => {
  it('asks for as many more, and keeps in a label what it is about', () => {
    expect(replicasOf(surging)).toBe(5);
    expect(moveOf(surging)).toEqual({ ...MOVE, phase: 'surge' });
    expect(surging.TaskTemplate).toEqual(USERS.TaskTemplate);
    expect(surging.UpdateConfig).toEqual(USERS.UpdateConfig);
    expect(surging.Labels?.team).toBe('a');
  });

  it('still tells what the user wished', () => {
    expect(wishedReplicas(surging)).toBe(3);
    expect(wishedPlacement(surging)).toEqual(USERS.TaskTemplate?.Placement);
  });

  it('is not started twice, whoever asks', () => {
    expect(started(surging, MOVE)).toBeUndefined();
    expect(started(blocking, { ...MOVE, from: 'nodeB' })).toBeUndefined();
  });

  it('never happens to a global service, a job, or for nothing', () => {
    expect(started({ ...USERS, Mode: { Global: {} } }, MOVE)).toBeUndefined();
    expect(started({ ...USERS, Mode: {} }, MOVE)).toBeUndefined();
    expect(started(USERS, { ...MOVE, count: 0 })).toBeUndefined();
  });
});

describe('a blocked move', () => {
  it('leaves no node where a successor could run: not the old one, not an empty one, not one that has a task', () => {
    expect(blocking.TaskTemplate?.Placement).toEqual({
      Constraints: ['node.labels.disk==ssd', 'node.id!=nodeA', 'node.id!=nodeC', 'node.id!=nodeD'],
      MaxReplicas: 1,
      Platforms: [{ OS: 'linux' }],
    });
    expect(blocking.UpdateConfig).toEqual({ Parallelism: 2, Order: 'start-first', FailureAction: 'continue' });
    expect(blocking.TaskTemplate?.ContainerSpec).toEqual(USERS.TaskTemplate?.ContainerSpec);
    expect(replicasOf(blocking)).toBe(5);
  });

  it('still tells what the user wished', () => {
    expect(moveOf(blocking)).toEqual({ ...MOVE, phase: 'block' });
    expect(wishedReplicas(blocking)).toBe(3);
    expect(wishedPlacement(blocking)).toEqual(USERS.TaskTemplate?.Placement);
  });

  it('marks the new ones instead, all of them, when it is taken back', () => {
    const back = must(blocked(surging, ['nodeD'], ['nodeC']));
    expect(moveOf(back)).toEqual({ ...MOVE, phase: 'back' });
    expect(back.TaskTemplate?.Placement?.Constraints).toEqual([
      'node.labels.disk==ssd',
      'node.id!=nodeC',
      'node.id!=nodeD',
    ]);
    expect(back.UpdateConfig).toMatchObject({ Parallelism: 0, Order: 'start-first' });
    expect([wishedReplicas(back), replicasOf(back)]).toEqual([3, 5]);
    expect(ended(throughTheEngine(back))).toEqual(USERS);
    expect(scaled(back, 7)).toEqual(withReplicas(USERS, 7));
    expect(blocked(back, [])).toBeUndefined();
  });

  it('is blocked once, and only after it was started', () => {
    expect(blocked(blocking, [])).toBeUndefined();
    expect(blocked(USERS, [])).toBeUndefined();
  });
});

describe('an ended move', () => {
  it('leaves the spec as it was, from either phase', () => {
    expect(ended(surging)).toEqual(USERS);
    expect(ended(throughTheEngine(blocking))).toEqual(USERS);
    expect(JSON.stringify(must(ended(blocking)).UpdateConfig)).toBe(JSON.stringify(USERS.UpdateConfig));
  });

  it('is ended once', () => {
    expect(ended(USERS)).toBeUndefined();
    expect(ended(must(ended(blocking)))).toBeUndefined();
  });

  it('keeps an own constraint that happens to be the one that was added', () => {
    const own = withPlacement(USERS, { Constraints: ['node.id!=nodeC'] });
    expect(ended(must(blocked(must(started(own, MOVE)), ['nodeC'])))).toEqual(own);
  });

  // swarmkit's `nodeMatches` reads `Placement.Constraints` of the new spec without looking whether there is a placement.
  it('never takes the placement away altogether', () => {
    const bare: WireServiceSpec = { Mode: { Replicated: { Replicas: 1 } } };
    const after = must(ended(must(blocked(must(started(bare, MOVE)), []))));
    expect(after).toEqual({ ...bare, Labels: {}, TaskTemplate: { Placement: {} } });
  });
});

describe('what somebody changes in the middle of a move', () => {
  it('is kept: the number, with pi-swarm or with docker', () => {
    const ours = must(scaled(surging, 7));
    expect([wishedReplicas(ours), replicasOf(ours)]).toEqual([7, 9]);
    expect(ended(ours)).toEqual(withReplicas(USERS, 7));
    for (const middle of [surging, blocking]) {
      const dockers = withReplicas(middle, 7);
      expect(wishedReplicas(dockers)).toBe(7);
      expect(ended(dockers)).toEqual(withReplicas(USERS, 7));
      expect(scaled(dockers, 7)).toBeUndefined();
    }
    expect(moveOf(ours)).toEqual({ ...MOVE, phase: 'surge' });
    expect(moveOf(withReplicas(surging, 7))).toEqual({ ...MOVE, phase: 'surge', disturbed: true });
    const twice = must(blocked(withReplicas(surging, 7), []));
    expect(ended(twice)).toEqual(withReplicas(USERS, 7));
  });

  it('is kept: scaling to what is wished already changes nothing', () => {
    expect(scaled(USERS, 3)).toBeUndefined();
    expect(scaled(surging, 3)).toBeUndefined();
    expect(scaled(blocking, 3)).toBeUndefined();
    expect(scaled(USERS, 4)).toEqual(withReplicas(USERS, 4));
  });

  it('is kept at once, and ends the move, where none are wished or new ones could not start', () => {
    expect(scaled(surging, 0)).toEqual(withReplicas(USERS, 0));
    expect(scaled(blocking, 0)).toEqual(withReplicas(USERS, 0));
    expect(scaled(blocking, 7)).toEqual(withReplicas(USERS, 7));
  });

  it('is kept: constraints, and a limit per node', () => {
    const middle = throughTheEngine(blocking);
    const Constraints = [...(middle.TaskTemplate?.Placement?.Constraints ?? []), 'node.role==worker'];
    const changed = withPlacement(middle, { ...middle.TaskTemplate?.Placement, Constraints, MaxReplicas: 2 });
    const wished = {
      Constraints: ['node.labels.disk==ssd', 'node.role==worker'],
      MaxReplicas: 2,
      Platforms: [{ OS: 'linux' }],
    };
    expect(wishedPlacement(changed)).toEqual(wished);
    expect(ended(changed)).toEqual(withPlacement(USERS, wished));
  });

  it('is kept: a constraint that was taken away', () => {
    const added = ['node.id!=nodeA', 'node.id!=nodeC', 'node.id!=nodeD'];
    const changed = withPlacement(blocking, { ...blocking.TaskTemplate?.Placement, Constraints: added });
    expect(wishedPlacement(changed).Constraints).toEqual([]);
    expect(wishedPlacement(withPlacement(blocking, {}))).toEqual({});
  });

  it('is kept: the image, labels, and how updates are done', () => {
    const middle = throughTheEngine(blocking);
    const changed = {
      ...middle,
      Labels: { ...middle.Labels, team: 'b' },
      TaskTemplate: { ...middle.TaskTemplate, ContainerSpec: { Image: 'web:2' } },
      UpdateConfig: { ...middle.UpdateConfig, Parallelism: 9, Delay: 1e9 },
    };
    expect(ended(changed)).toEqual({
      ...USERS,
      Labels: { team: 'b' },
      TaskTemplate: { ...USERS.TaskTemplate, ContainerSpec: { Image: 'web:2' } },
      UpdateConfig: { ...USERS.UpdateConfig, Parallelism: 9, Delay: 1e9 },
    });
  });

  it('is kept: an update config where there was none', () => {
    const { UpdateConfig: _, ...bare } = USERS;
    const middle = throughTheEngine(must(blocked(must(started(bare, MOVE)), [])));
    expect(ended(middle)).toEqual(bare);
    const changed = { ...middle, UpdateConfig: { ...middle.UpdateConfig, Parallelism: 9 } };
    expect(must(ended(changed)).UpdateConfig).toEqual({ Parallelism: 9 });
  });
});

describe('a label that nobody can read', () => {
  const kept = { ...MOVE, phase: 'surge', replicas: 3 };
  const damaged = [
    '',
    'yes',
    'null',
    '[]',
    '7',
    '{"from":"nodeA"',
    JSON.stringify({ ...kept, from: 7 }),
    JSON.stringify({ ...kept, why: 'moon' }),
    JSON.stringify({ ...kept, phase: 'later' }),
    JSON.stringify({ ...kept, phase: ['surge'] }),
    JSON.stringify({ ...kept, count: 0 }),
    JSON.stringify({ ...kept, count: 1.5 }),
    JSON.stringify({ ...kept, replicas: -1 }),
    JSON.stringify({ ...kept, phase: 'block' }),
    JSON.stringify({ ...kept, phase: 'block', before: { placement: 'x', added: [] } }),
    JSON.stringify({ ...kept, phase: 'block', before: { update: [], added: [] } }),
  ];

  it.each(damaged)('%s: is no move, does not count, and goes with the next one', label => {
    const spec = withLabel(USERS, label);
    expect(moveOf(spec)).toBeUndefined();
    expect(wishedReplicas(spec)).toBe(3);
    expect(wishedPlacement(spec)).toEqual(USERS.TaskTemplate?.Placement);
    expect(blocked(spec, [])).toBeUndefined();
    expect(scaled(spec, 4)).toEqual(withReplicas(spec, 4));
    expect(ended(spec)).toEqual(USERS);
    expect(ended(must(started(spec, MOVE)))).toEqual(USERS);
  });
});
