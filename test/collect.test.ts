import { describe, expect, it, vi } from 'vitest';
import { Collector } from '../src/collect.ts';
import { TAG_LABEL } from '../src/core/observe.ts';
import { EngineError } from '../src/errors.ts';
import { node, TAG, WISH } from './core/build.ts';
import { FakeClock } from './fakes/clock.ts';
import { FakeSwarmLan } from './fakes/engine.ts';

/** A leader's collector, and the list of nodes that its engine answers with. */
async function leaderOf() {
  const clock = new FakeClock();
  const engine = new FakeSwarmLan({ now: () => clock.now() }).addEngine('pi1', { address: '10.0.0.1' });
  const settings = { dispatcherHeartbeatMs: 1_000, nodeCertExpiryMs: 1_000_000, labels: { [TAG_LABEL]: TAG } };
  const nodeId = await engine.swarmInit({ advertiseAddress: '10.0.0.1', ...settings });
  const [own] = await engine.nodes();
  if (own === undefined) throw new Error('the swarm has no nodes');
  const nodes = vi.spyOn(engine, 'nodes').mockResolvedValue([own]);
  const collector = new Collector({
    clock,
    engine,
    network: { state: () => ({ addresses: [] }), onChange: () => {}, stop: () => {} },
    peers: () => undefined,
    memory: () => ({ intent: 'stay', swarmNodeId: nodeId }),
    vitals: () => ({}),
    identity: { id: 'a', name: 'pi1', version: '1', boot: 'b', port: 3378 },
    hardware: 'hw',
    model: '',
    tag: () => TAG,
    wish: WISH,
    advertise: 'interface',
    images: [],
    meshVersion: () => undefined,
    meshApplied: () => undefined,
    rebalanceAsked: () => false,
    mayRename: () => false,
  });
  return { clock, collector, engine, nodes, own };
}

it.each([
  ['a manager that Raft does not reach yet', node('pi2', { role: 'manager', reachable: false })],
  ['a voter that is to be a worker', node('pi2', { role: 'worker', voter: true, reachable: true })],
])('%s is looked at again and again, for nothing tells when it has become one', async (_what, changing) => {
  const { clock, collector, nodes, own } = await leaderOf();
  nodes.mockResolvedValue([own, changing]);
  await collector.collect();
  expect(collector.restMs()).toBeLessThanOrEqual(250);
  await clock.advance(collector.restMs());
  nodes.mockResolvedValue([own, node('pi2')]);
  expect((await collector.collect()).nodes).toContainEqual(node('pi2'));
});

it('a swarm in which nothing changes is asked seldom', async () => {
  const { clock, collector, nodes } = await leaderOf();
  await collector.collect();
  expect(collector.restMs()).toBeGreaterThanOrEqual(2_000);
  await clock.advance(1_000);
  await collector.collect();
  expect(nodes).toHaveBeenCalledTimes(1);
});

describe('an engine that does not say in which swarm it is', () => {
  const late = () => new EngineError('could not ask within 5 s', undefined, { code: 'timeout' });

  it('is taken at its last word for as long as an election may take, then it is not ready', async () => {
    const { clock, collector, engine } = await leaderOf();
    await collector.collect();
    vi.spyOn(engine, 'info').mockRejectedValue(late());
    await clock.advance(59_000);
    expect(await collector.collect()).toMatchObject({
      engine: 'ready',
      swarmSilent: true,
      engineSwarm: { localState: 'active' },
    });
    await clock.advance(2_000);
    const facts = await collector.collect();
    expect(facts).toMatchObject({ engine: 'slow', swarmSilent: true, engineProblem: 'could not ask within 5 s' });
    expect(facts.engineSwarm).toBeUndefined();
  });

  it('is not in «no swarm» when its agent has never heard it', async () => {
    const { collector, engine } = await leaderOf();
    vi.spyOn(engine, 'info').mockRejectedValue(late());
    expect(await collector.collect()).toMatchObject({ engine: 'slow', swarmSilent: true });
  });

  it('is only slow when it answers nothing else either, or answers that it cannot', async () => {
    const { collector, engine } = await leaderOf();
    const info = vi.spyOn(engine, 'info').mockRejectedValue(late());
    const containers = vi.spyOn(engine, 'runningTaskContainers').mockRejectedValue(late());
    expect((await collector.collect()).swarmSilent).toBeUndefined();
    containers.mockRestore();
    info.mockRejectedValue(
      new EngineError('could not ask: disk full', undefined, { status: 500, code: 'unavailable' }),
    );
    const facts = await collector.collect();
    expect(facts.swarmSilent).toBeUndefined();
    expect(facts.engine).toBe('slow');
  });

  it('is heard again as soon as it answers', async () => {
    const { clock, collector, engine } = await leaderOf();
    const info = vi.spyOn(engine, 'info').mockRejectedValue(late());
    await collector.collect();
    info.mockRestore();
    await clock.advance(1_000);
    const facts = await collector.collect();
    expect(facts).toMatchObject({ engine: 'ready', engineSwarm: { localState: 'active' } });
    expect(facts.swarmSilent).toBeUndefined();
    expect(facts.engineProblem).toBeUndefined();
  });
});

it('asks nothing more of a swarm that did not answer, but whether the engine itself does', async () => {
  const { collector, engine, nodes } = await leaderOf();
  await collector.collect();
  collector.stale('engine');
  nodes.mockRejectedValue(new EngineError('late', undefined, { code: 'timeout' }));
  const tasks = vi.spyOn(engine, 'tasks');
  const settings = vi.spyOn(engine, 'swarmSettings');
  const containers = vi.spyOn(engine, 'runningTaskContainers');
  await collector.collect();
  expect(tasks).not.toHaveBeenCalled();
  expect(settings).not.toHaveBeenCalled();
  expect(containers).toHaveBeenCalledTimes(1);
  await collector.collect();
  expect(containers).toHaveBeenCalledTimes(2);
});

it('says in the same turn that the engine has stopped to answer', async () => {
  const { collector, engine } = await leaderOf();
  await collector.collect();
  collector.stale('container');
  const state = vi.spyOn(engine, 'state');
  vi.spyOn(engine, 'runningTaskContainers').mockImplementation(async () => {
    state.mockReturnValue('slow');
    throw new EngineError('late', undefined, { code: 'timeout' });
  });
  expect((await collector.collect()).engine).toBe('slow');
});
