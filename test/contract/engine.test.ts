import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngineError } from '../../src/errors.ts';
import { DockerEngine } from '../../src/io/engine.ts';
import { ensureWhoami, WHOAMI_IMAGE } from '../../src/io/whoami.ts';
import type { Engine, ServiceWish } from '../../src/ports.ts';
import { FakeSwarmLan } from '../fakes/engine.ts';
import { describeWithDockerd, ENGINE_ADDRESS, startDockerd, until } from './engine-dockerd.ts';

/** One engine, and a way to let its time pass until something is true. */
interface Subject {
  engine: Engine;
  eventually(what: string, done: () => Promise<boolean>): Promise<void>;
  provideWhoami(): Promise<void>;
  end(): Promise<void>;
}

async function fakeSubject(): Promise<Subject> {
  let now = 0;
  const lan = new FakeSwarmLan({ now: () => now });
  const engine = lan.addEngine('pi1', { address: ENGINE_ADDRESS, architecture: 'x86_64' });
  return {
    engine,
    async eventually(what, done) {
      for (let step = 0; step < 600; step++) {
        lan.tick();
        if (await done()) return;
        now += 100;
      }
      throw new Error(`never: ${what}`);
    },
    provideWhoami: () => engine.loadImage(new TextEncoder().encode(WHOAMI_IMAGE)),
    end: () => engine.stop(),
  };
}

async function realSubject(): Promise<Subject> {
  const dockerd = await startDockerd();
  const engine = new DockerEngine({ socketPath: dockerd.socketPath });
  return {
    engine,
    eventually: (what, done) => until(done, 60_000, what),
    provideWhoami: async () => void (await ensureWhoami(engine, (await engine.info()).architecture)),
    async end() {
      await engine.stop();
      await dockerd.stop();
    },
  };
}

const INIT = {
  advertiseAddress: ENGINE_ADDRESS,
  labels: { 'pi-swarm.tag': 'abc' },
  dispatcherHeartbeatMs: 1_000,
  nodeCertExpiryMs: 10 * 365 * 86_400_000,
};

const WHOAMI: ServiceWish = {
  name: 'whoami',
  image: WHOAMI_IMAGE,
  platforms: [{ os: 'linux', architecture: 'x86_64' }],
  replicas: 2,
  ports: [{ protocol: 'tcp', published: 80, target: 8000, mode: 'ingress' }],
  env: [],
  constraints: [],
  labels: {},
  mounts: [],
  networks: [],
  restartDelayMs: 100,
};

const thrown = (call: Promise<unknown>): Promise<EngineError> =>
  call.then(
    () => Promise.reject(new Error('it should have thrown')),
    (error: EngineError) => error,
  );

describe('Engine contract: the fake engine', () => contract(fakeSubject));
describeWithDockerd('Engine contract: a real dockerd', () => contract(realSubject));

function contract(make: () => Promise<Subject>): void {
  let subject: Subject;
  let engine: Engine;
  let nodeId = '';

  beforeAll(async () => {
    subject = await make();
    engine = subject.engine;
  }, 120_000);
  afterAll(() => subject?.end(), 60_000);

  it('is ready, and outside of any swarm, at first', async () => {
    const info = await engine.info();
    expect(engine.state()).toBe('ready');
    expect(engine.problem()).toBeUndefined();
    expect(info.swarm).toMatchObject({
      localState: 'inactive',
      nodeId: '',
      controlAvailable: false,
      remoteManagers: [],
    });
    expect(info.architecture).toBe('x86_64');
    expect(info.apiVersion).toMatch(/^1\.\d+$/);
  });

  it('refuses manager calls outside of a swarm with status 503', async () => {
    expect((await thrown(engine.nodes())).status).toBe(503);
    expect((await thrown(engine.workerToken())).status).toBe(503);
  });

  it('reports a join that gets no answer as a timeout, stays pending, and can leave again', async () => {
    const join = {
      advertiseAddress: ENGINE_ADDRESS,
      managers: ['10.99.0.77:2377'],
      token: foreignToken,
      timeoutMs: 2_000,
    };
    expect((await thrown(engine.swarmJoin(join))).code).toBe('timeout');
    expect((await engine.info()).swarm.localState).toBe('pending');
    await engine.swarmLeave(true);
    await subject.eventually('outside', async () => (await engine.info()).swarm.localState === 'inactive');
  }, 60_000);

  it('makes a swarm with the settings and labels asked for', async () => {
    nodeId = await engine.swarmInit(INIT);
    const { swarm } = await engine.info();
    expect(swarm).toMatchObject({
      localState: 'active',
      nodeId,
      controlAvailable: true,
      nodeAddress: ENGINE_ADDRESS,
    });
    expect(swarm.remoteManagers).toEqual([`${ENGINE_ADDRESS}:2377`]);
    expect(swarm.cluster?.labels).toEqual({ 'pi-swarm.tag': 'abc' });
    expect(swarm.nodes).toBe(1);
    const { dispatcherHeartbeatMs, nodeCertExpiryMs, labels } = INIT;
    expect(await engine.swarmSettings()).toEqual({ dispatcherHeartbeatMs, nodeCertExpiryMs, labels });
    expect(await engine.workerToken()).toMatch(/^SWMTKN-1-/);
    expect((await thrown(engine.swarmInit(INIT))).status).toBe(503);
  }, 60_000);

  it('changes the swarm settings that were named and keeps the others', async () => {
    await engine.swarmTune({ dispatcherHeartbeatMs: 2_000, labels: { site: 'shelf' } });
    expect(await engine.swarmSettings()).toEqual({
      dispatcherHeartbeatMs: 2_000,
      nodeCertExpiryMs: INIT.nodeCertExpiryMs,
      labels: { 'pi-swarm.tag': 'abc', site: 'shelf' },
    });
  });

  it('lists itself as leader, and changes labels and availability of a node', async () => {
    await engine.nodeUpdate(nodeId, { labels: { a: '1', b: '2' } });
    await engine.nodeUpdate(nodeId, { labels: { a: null, c: '3' }, availability: 'drain' });
    const [node] = await engine.nodes();
    expect(node).toMatchObject({ nodeId, role: 'manager', leader: true, reachable: true, address: ENGINE_ADDRESS });
    expect(node).toMatchObject({ labels: { b: '2', c: '3' }, availability: 'drain', architecture: 'x86_64' });
    await engine.nodeUpdate(nodeId, { availability: 'active' });
  });

  it('carries out changes of one node that were asked for at the same time', async () => {
    const keys = ['k1', 'k2', 'k3', 'k4'];
    await Promise.all(keys.map(key => engine.nodeUpdate(nodeId, { labels: { [key]: 'x' } })));
    expect(Object.keys((await engine.nodes())[0]?.labels ?? {})).toEqual(expect.arrayContaining(keys));
  });

  it('refuses to demote the last manager and to remove a manager', async () => {
    expect((await thrown(engine.nodeUpdate(nodeId, { role: 'worker' }))).message).toMatch(/last manager/);
    expect((await thrown(engine.nodeRemove(nodeId, true))).message).toMatch(/must be demoted/);
  });

  it('runs a service, counts its tasks and gives them addresses on the ingress network', async () => {
    await subject.provideWhoami();
    expect(await engine.hasImage(WHOAMI_IMAGE)).toBe(true);
    const { id } = await engine.serviceCreate(WHOAMI);
    await subject.eventually('2 of 2', async () => (await engine.services())[0]?.running === 2);
    const [service] = await engine.services();
    expect(service).toMatchObject({
      id,
      name: 'whoami',
      image: WHOAMI_IMAGE,
      replicas: 2,
      desired: 2,
      ports: WHOAMI.ports,
    });
    const tasks = (await engine.tasks()).filter(task => task.desired === 'running');
    expect(tasks.map(task => task.slot).sort()).toEqual([1, 2]);
    for (const task of tasks)
      expect(task).toMatchObject({
        serviceId: id,
        nodeId,
        state: 'running',
        ingressAddress: expect.stringMatching(/^10\./),
      });
    expect(await engine.runningTaskContainers()).toBe(2);
  }, 90_000);

  it('refuses a second service of the same name, and one with a published port that is taken', async () => {
    expect((await thrown(engine.serviceCreate({ ...WHOAMI, ports: [] }))).status).toBe(409);
    const taken = await thrown(engine.serviceCreate({ ...WHOAMI, name: 'other' }));
    expect(taken.code).toBe('refused');
    expect(taken.message).toMatch(/80.* is already in use/);
  });

  it('scales and removes a service; an unknown one is notFound', async () => {
    await engine.serviceScale('whoami', 3);
    await subject.eventually('3 of 3', async () => (await engine.services())[0]?.running === 3);
    await engine.serviceRemove('whoami');
    await subject.eventually('no container left', async () => (await engine.runningTaskContainers()) === 0);
    expect(await engine.services()).toEqual([]);
    expect((await thrown(engine.serviceScale('whoami', 1))).code).toBe('notFound');
    expect((await thrown(engine.serviceRemove('whoami'))).code).toBe('notFound');
  }, 90_000);

  it('runs a global service once on each node and does not scale it', async () => {
    await engine.serviceCreate({ ...WHOAMI, name: 'everywhere', replicas: undefined, ports: [] });
    await subject.eventually('1 of 1', async () => (await engine.services())[0]?.running === 1);
    expect((await engine.services())[0]).toMatchObject({ name: 'everywhere', desired: 1 });
    expect((await engine.services())[0]?.replicas).toBeUndefined();
    expect((await thrown(engine.serviceScale('everywhere', 2))).code).toBe('refused');
    await engine.serviceRemove('everywhere');
  }, 90_000);

  it('lets a manager leave only by force, and is outside then', async () => {
    expect((await thrown(engine.swarmLeave(false))).message).toMatch(/manager/);
    await engine.swarmLeave(true);
    expect((await engine.info()).swarm).toMatchObject({ localState: 'inactive', nodeId: '' });
  }, 60_000);
}

/** Well formed and of no swarm. */
const foreignToken = `SWMTKN-1-${'0'.repeat(49)}1-${'a'.repeat(25)}`;
