/** Tasks move without a gap: which step each world needs next. */
import { describe, expect, it } from 'vitest';
import { meshTable, withoutSuspects } from '../../src/core/mesh.ts';
import type { Facts } from '../../src/core/observe.ts';
import { turn } from '../../src/core/turn.ts';
import type { SwarmNode, SwarmService, SwarmTask } from '../../src/core/world.ts';
import { active, leader, leading, manager, node, nodeIdOf, peer, plan } from './build.ts';
import { going, leave, peers, task, web, world } from './moves.ts';

describe('a Pi that goes', () => {
  it('has as many tasks started elsewhere first', () => {
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi2')];
    expect(plan(world([web(3)], tasks))).toEqual(['move 2 of web away from pi2']);
  });

  it('is waited for until they run', () => {
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi3', { state: 'starting' })];
    expect(plan(world([web(2, { move: leave('surge') })], tasks))).toEqual(['wait: tasks of web are moving']);
  });

  it('then has its own tasks marked', () => {
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi3')];
    expect(plan(world([web(2, { move: leave('surge') })], tasks))).toEqual(['mark the tasks of web that go']);
  });

  it('keeps them until every Pi sends its requests elsewhere', () => {
    const tasks = [task(1, 'pi2'), task(1, undefined), task(2, 'pi3'), task(3, 'pi3')];
    const moving = [web(2, { move: leave('block') })];
    const mesh = { meshVersion: 'new', meshApplied: 'new' };
    expect(plan(world(moving, tasks, { ...mesh, peers: peers('old') }))).toEqual([expect.stringMatching(/^wait: /)]);
    expect(plan(world(moving, tasks, { ...mesh, peers: peers('new') }))).toEqual(['end the move of web']);
    // A kernel that balances by itself says nothing.
    expect(plan(world(moving, tasks, mesh))).toEqual(['end the move of web']);
  });

  it('is not held up by one that never follows, or by tasks that never start', () => {
    const blocked = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi3')];
    expect(plan(world([web(2, { move: leave('block') })], blocked), 6_000)).toEqual(['end the move of web']);
    const short = [task(1, 'pi2'), task(2, 'pi3'), task(3, undefined)];
    expect(plan(world([web(2, { move: leave('surge') })], short), 30_000)).toEqual(['end the move of web']);
  });

  it('is drained when all that can move has moved; what cannot is stopped by that', () => {
    const { replicas: _, ...everywhere } = web(1);
    const tasks = [task(1, 'pi2'), task(2, 'pi3')];
    expect(plan(world([everywhere], tasks))).toEqual(['drain pi2']);
    expect(plan(world([web(2, { localVolumes: true })], tasks))).toEqual(['drain pi2']);
    expect(plan(world([web(2)], [task(2, 'pi3')]))).toEqual(['drain pi2']);
  });

  it('waits for its turn while the same service moves away from another one', () => {
    const nodes = [manager('pi1'), going('pi2'), going('pi3'), node('pi4')];
    const two = [
      peer('pi2', { intent: 'shutdown', swarm: active('pi2') }),
      peer('pi3', { intent: 'shutdown', swarm: active('pi3') }),
    ];
    const services = [web(2, { move: leave('surge') })];
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi4', { state: 'starting' })];
    expect(plan(leading(nodes, { services, tasks, peers: two }))).toEqual([expect.stringMatching(/^wait: /)]);
  });

  it('waits for a rolling update to end before its tasks move, but not for ever', () => {
    const updating = world([web(2, { updating: true })], [task(1, 'pi2'), task(2, 'pi3')]);
    expect(plan(updating)).toEqual([expect.stringMatching(/^wait: /)]);
    expect(plan(updating, 36_000)).toEqual(['drain pi2']);
  });

  it('does not wait for an update that is paused half-way, which nobody may go on with for days', () => {
    const paused = web(2, { updating: true, updateHalted: true });
    expect(plan(world([paused], [task(1, 'pi2'), task(2, 'pi3')]))).toEqual(['drain pi2']);
  });

  it('marks nothing while somebody updates the service', () => {
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi3')];
    const moving = web(2, { move: leave('surge'), updating: true });
    expect(plan(world([moving], tasks))).toEqual([expect.stringMatching(/^wait: /)]);
  });

  it('begins anew where somebody has scaled the service: as many as the move needs will never run', () => {
    const tasks = [task(1, 'pi2'), task(2, 'pi3')];
    const scaled = web(2, { move: { ...leave('surge', 3), disturbed: true } });
    expect(plan(world([scaled], tasks))).toEqual(['end the move of web']);
    expect(plan(world([web(2)], tasks))).toEqual(['move 1 of web away from pi2']);
  });

  it('moves nothing where nobody else can take it', () => {
    const nodes = [manager('pi1', { availability: 'drain' }), going('pi2'), node('pi3', { availability: 'pause' })];
    expect(plan(leading(nodes, { services: [web(1)], tasks: [task(1, 'pi2')], peers: peers() }))).toEqual([
      'drain pi2',
    ]);
  });

  it.each<[string, Partial<SwarmService>]>([
    ['a constraint', { constraints: ['node.hostname==pi2'] }],
    ['a port of the Pi itself', { ports: [{ protocol: 'tcp', published: 80, target: 80, mode: 'host' }] }],
    ['a limit per Pi', { maxReplicas: 1 }],
    ['its architecture', { platforms: [{ os: 'linux', architecture: 'arm' }] }],
  ])('does not wait for what no other Pi may run because of %s', (_, more) => {
    const nodes = [manager('pi1', { availability: 'drain' }), going('pi2'), node('pi3')];
    const one = leading(nodes, { services: [web(2, more)], tasks: [task(1, 'pi2'), task(2, 'pi3')], peers: peers() });
    expect(plan(one)).toEqual(['drain pi2']);
  });

  it('gives away as much as others have room for', () => {
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi2')];
    expect(plan(world([web(3, { maxReplicas: 2 })], tasks))).toEqual(['move 2 of web away from pi2']);
    const one = leading([manager('pi1', { availability: 'drain' }), going('pi2'), node('pi3')], {
      services: [web(3, { maxReplicas: 2 })],
      tasks,
      peers: peers(),
    });
    expect(plan(one)).toEqual(['move 1 of web away from pi2']);
  });

  it('may go when all runs that others may run', () => {
    const nodes = [manager('pi1'), going('pi2', { availability: 'drain' }), node('pi3')];
    const released = (more: Partial<SwarmService>, tasks: SwarmTask[]) =>
      turn(leading(nodes, { services: [web(1, { running: 0, ...more })], tasks, peers: peers() })).status.released;
    const waiting = task(1, undefined);
    expect(released({}, [waiting])).toBeUndefined();
    expect(released({ constraints: ['node.hostname==pi2'] }, [waiting])).toEqual([nodeIdOf('pi2')]);
    expect(released({ maxReplicas: 1 }, [task(1, 'pi3', { state: 'starting' })])).toBeUndefined();
  });

  it('that stays after all gets its move taken back', () => {
    const nodes = [manager('pi1'), node('pi2'), node('pi3')];
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi3')];
    const facts = leading(nodes, { services: [web(2, { move: leave('surge') })], tasks });
    expect(plan(facts)).toEqual(['end the move of web']);
  });

  it('that dies in the middle gets its move taken back: the swarm replaces its tasks', () => {
    const nodes = [manager('pi1'), going('pi2', { state: 'down' }), node('pi3')];
    const tasks = [task(1, 'pi2'), task(2, 'pi3')];
    expect(plan(leading(nodes, { services: [web(2, { move: leave('surge') })], tasks, peers: [] }))).toEqual([
      'end the move of web',
    ]);
  });

  it('drained by a person is drained with the same care, and is in use again when the person says so', () => {
    const drained = (more: Partial<SwarmNode>) =>
      leading([manager('pi1'), going('pi2', { ...more, labels: { 'pi-swarm.leaving': 'drain' } }), node('pi3')], {
        services: [web(1)],
        tasks: [task(1, 'pi2')],
      });
    expect(plan(drained({}))).toEqual(['move 1 of web away from pi2']);
    expect(plan(drained({ availability: 'active' }))).toEqual(['activate pi2']);
    expect(plan(drained({ availability: 'drain' }))).toEqual([expect.stringMatching(/^wait: /)]);
  });
});

describe('what is not known or does not work just now', () => {
  const tasks = [task(1, 'pi2'), task(2, 'pi3')];

  it('is no reason to drain a Pi: tasks that could not be listed may still run', () => {
    for (const key of ['services', 'tasks'] as const) {
      expect(plan(world([web(2)], tasks, { [key]: undefined }))).toEqual([expect.stringMatching(/^wait: /)]);
    }
  });

  it('is no reason to let a drained Pi go', () => {
    const drained = going('pi2', { availability: 'drain' });
    const released = (more: Partial<Facts>) =>
      turn(leading([manager('pi1'), drained, node('pi3')], { services: [], tasks: [], peers: peers(), ...more })).status
        .released;
    expect(released({})).toEqual([nodeIdOf('pi2')]);
    expect(released({ services: undefined })).toBeUndefined();
  });

  it('does not keep another service from moving', () => {
    const shop = { ...web(1), id: 'shop', name: 'shop' };
    const both = [...tasks, task(1, 'pi2', { id: 'shop1', serviceId: 'shop' })];
    const facts = world([web(2), shop], both, { failing: { web: 100_500 } });
    expect(plan(facts)).toEqual(['move 1 of shop away from pi2']);
  });
});

describe('a Pi that shuts down while its engine is late', () => {
  const me = (engine: Facts['engine']): Facts => ({
    ...leading([manager('pi1'), node('pi2')]),
    engine,
    memory: { intent: 'shutdown', swarmId: 'swarm-a', swarmNodeId: nodeIdOf('pi1') },
  });

  it('does not go because of one late answer, but because of many, or of an engine that is not there', () => {
    expect(plan(me('slow'))).toEqual([expect.stringMatching(/^wait: /)]);
    expect(plan(me('slow'), 15_000)).toEqual([expect.stringMatching(/^may stop: /)]);
    expect(plan(me('absent'))).toEqual([expect.stringMatching(/^may stop: /)]);
  });
});

describe('a leader that died', () => {
  const died = [
    peer('pi2', { swarm: leader('pi2') }, { liveness: 'dead' }),
    peer('pi3', { swarm: active('pi3', { role: 'manager', quorum: true }) }),
  ];
  const after = (state: SwarmNode['state']) =>
    leading([manager('pi1'), manager('pi2', { state, reachable: false }), manager('pi3')], {
      services: [web(2)],
      tasks: [task(1, 'pi2'), task(2, 'pi3')],
      peers: died,
    });

  it('has its work started elsewhere while the swarm still waits for it', () => {
    expect(plan(after('unknown'), 1_500)).toEqual(['move 1 of web away from pi2']);
  });

  it('is not taken for lost in the second in which an engine without an agent registers', () => {
    expect(plan(after('unknown'), 1_000)).toEqual([expect.stringMatching(/^wait: /)]);
  });

  it('is not taken for lost when an agent that was made anew speaks for the same engine', () => {
    const again = peer('pi9', { swarm: active('pi2'), hardware: 'hw-pi2' });
    const labels = { 'pi-swarm.id': again.id, 'pi-swarm.hardware': 'hw-pi2' };
    const { nodes = [], ...facts } = after('unknown');
    const labelled = nodes.map(it => (it.hostname === 'pi2' ? { ...it, labels } : it));
    const both = { ...facts, nodes: labelled, peers: [...facts.peers, again] };
    expect(plan(both, 5_000)).toEqual([expect.stringMatching(/^wait: /)]);
  });

  it('is not counted on: what ran there does not run, whatever the swarm says of it', () => {
    const nodes = [manager('pi1'), manager('pi2', { state: 'unknown', reachable: false }), going('pi3'), node('pi4')];
    const leaves = { from: nodeIdOf('pi3'), count: 1, why: 'leave', phase: 'surge' } as const;
    const tasks = [task(1, 'pi2'), task(2, 'pi3'), task(3, 'pi4')];
    const some = [...died.slice(0, 1), peer('pi3', { intent: 'shutdown', swarm: active('pi3') })];
    const facts = leading(nodes, { services: [web(2, { move: leaves })], tasks, peers: some });
    expect(plan(facts)).toEqual([expect.stringMatching(/^wait: /)]);
  });

  it('leaves nodes behind that have yet to register: nobody is drained before it is known who can take the work', () => {
    const nodes = [manager('pi1', { availability: 'pause' }), going('pi2'), node('pi3', { state: 'unknown' })];
    const both = [peer('pi2', { intent: 'shutdown', swarm: active('pi2') }), peer('pi3', { swarm: active('pi3') })];
    const facts = leading(nodes, { services: [web(1)], tasks: [task(1, 'pi2')], peers: both });
    expect(plan(facts)).toEqual([expect.stringMatching(/^wait: /)]);
  });

  it('is left to the swarm once that has given it up', () => {
    expect(plan(after('down'))).toEqual([expect.stringMatching(/^wait: /)]);
  });
});

describe('the routing mesh', () => {
  const ports = [{ protocol: 'tcp', published: 80, target: 8000, mode: 'ingress' } as const];
  const targets = (services: SwarmService[], tasks: SwarmTask[], leaving: string[] = []) =>
    meshTable(services, tasks, leaving)[0]?.targets.map(({ address }) => address);

  it('sends nothing new to a Pi that goes, as long as others answer', () => {
    const tasks = [task(1, 'pi2'), task(2, 'pi3')];
    expect(targets([web(2, { ports })], tasks, [nodeIdOf('pi2')])).toEqual(['10.255.0.2']);
    expect(targets([web(1, { ports })], [task(1, 'pi2')], [nodeIdOf('pi2')])).toEqual(['10.255.0.1']);
  });

  it('sends nothing new to a task that a move takes away', () => {
    const tasks = [task(1, 'pi2'), task(1, undefined), task(2, 'pi2')];
    expect(targets([web(2, { ports, move: leave('block') })], tasks)).toEqual(['10.255.0.2']);
  });

  it('sends to the new one and not to the one that goes next, also when the new one is on a Pi that goes', () => {
    const tasks = [task(1, 'pi2'), task(1, undefined), task(2, 'pi3')];
    const leaving = [nodeIdOf('pi2'), nodeIdOf('pi3')];
    expect(targets([web(1, { ports, move: leave('block') })], tasks, leaving)).toEqual(['10.255.0.2']);
  });

  it('goes on with tasks that wait for a successor in an update of the user', () => {
    const tasks = [task(1, 'pi2'), task(1, undefined), task(2, 'pi2')];
    expect(targets([web(2, { ports, updating: true })], tasks)).toEqual(['10.255.0.1', '10.255.0.2']);
  });

  it('sends nothing new to a silent Pi, as long as others answer, and does not cut what it has', () => {
    const table = meshTable([web(2, { ports })], [task(1, 'pi2'), task(2, 'pi3')]);
    const [port] = withoutSuspects(table, [nodeIdOf('pi2')]);
    expect(port?.targets.map(({ address }) => address)).toEqual(['10.255.0.2']);
    expect(port?.draining.map(({ address }) => address)).toEqual(['10.255.0.1']);
    expect(withoutSuspects(table, [nodeIdOf('pi2'), nodeIdOf('pi3')])).toEqual(table);
  });
});
