import { readFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { describeOnNamespaces } from '../io/netns.ts';
import {
  agentPid,
  answersEverywhere,
  containersOf,
  containersOn,
  formed,
  nodesOf,
  oneCluster,
  oneOf,
  others,
  running,
  secondsSince,
  tasksOf,
} from './cluster.ts';
import { docker, useLab, waitFor } from './harness.ts';
import { expectUnnoticed, type Traffic, underLoad } from './load.ts';

const DRAIN_TIMEOUT_S = 20;
const REPLICAS = 4;
const LOADS = [{ service: 'whoami', port: 80, ratePerSecond: 40 }];

describeOnNamespaces('a Pi with systemd', () => {
  const lab = useLab(oneCluster({ init: 'systemd', config: { drainTimeout: `${DRAIN_TIMEOUT_S}s` } }));
  const systemctl = (pi: string, ...words: string[]) => lab().run(pi, ['systemctl', ...words], { timeoutMs: 100_000 });
  const agentLog = (pi: string) => readFileSync(lab().logFile(pi, 'agent'), 'utf8');
  /** Units in the order in which they ended; kept on the card, for the Pi is off then. */
  const ended = (pi: string) => readFileSync(lab().disk(pi, '/var/log/ended.log'), 'utf8').trim().split('\n');

  const everywhere = async () => {
    await formed(lab(), lab().pis(), 3);
    return running(lab(), REPLICAS, lab().pis());
  };

  /** A Pi of that role with some of the work. */
  const busy = async (role: 'leader' | 'manager'): Promise<string> => {
    const { name } = oneOf(await nodesOf(lab()), role);
    const works = async () => (await everywhere()).some(({ pi }) => pi === name);
    if (!(await works())) {
      // To its end: a service is not moved while it is updated.
      await docker(lab(), name, 'service', 'update', '--force', '--quiet', '--no-resolve-image', 'whoami');
      await waitFor(works, { what: `work on ${name}` });
    }
    return name;
  };

  const isOff = async (pi: string) =>
    (await lab().status()).pis.some(({ name, power }) => name === pi && power === 'off');
  const availability = async (pi: string) =>
    (await nodesOf(lab(), others(lab(), pi))).find(({ name }) => name === pi)?.availability;
  /** Who works as seen from the others: the first answer after an election counts. */
  const workers = (pi: string) =>
    waitFor(() => tasksOf(lab(), 'whoami', others(lab(), pi)), { what: 'a manager that answers', is: () => true });

  /** Asks it no more when nothing runs there, as a router does: from then on it may go at any time. */
  const dropWhenIdle = async (pi: string, { drop }: Traffic) => {
    const rest = others(lab(), pi);
    const id = (await nodesOf(lab(), rest)).find(({ name }) => name === pi)?.id ?? '';
    const what = `${pi} to have nothing to do`;
    await waitFor(() => containersOn(lab(), id, rest), { what, timeoutMs: 60_000, everyMs: 50, is: n => n === 0 });
    await drop(pi);
  };

  beforeAll(async () => {
    await formed(lab(), lab().pis(), 3);
    await lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', '--replicas', `${REPLICAS}`, '--publish', '80:8000']);
    await everywhere();
  }, 120_000);

  it('has a unit that systemd finds nothing wrong with', async () => {
    const { code, stdout, stderr } = await lab().exec('pi1', ['systemd-analyze', 'verify', 'pi-swarm.service']);
    expect(`${stdout}${stderr}`.split('\n').filter(line => line.includes('pi-swarm'))).toEqual([]);
    expect(code).toBe(0);
    expect(await systemctl('pi1', 'is-active', 'pi-swarm')).toBe('active');
  });

  it('moves nothing when its agent is restarted, as an upgrade does', async () => {
    const pi = await busy('manager');
    const [before, pid] = [await everywhere(), agentPid(lab(), pi)];
    const outcome = await underLoad(lab(), lab().pis(), LOADS, async () => {
      for (const verb of ['restart', 'try-restart']) {
        const began = performance.now();
        await systemctl(pi, verb, 'pi-swarm');
        expect(performance.now() - began).toBeLessThan(40_000);
      }
    });
    expectUnnoticed(outcome, { whoami: REPLICAS });
    expect(agentPid(lab(), pi)).not.toBe(pid);
    expect(await availability(pi)).toBe('active');
    expect(containersOf(await everywhere()).sort()).toEqual(containersOf(before).sort());
  });

  it('starts its agent again when that crashes, and moves nothing', async () => {
    const [before, pid] = [await everywhere(), agentPid(lab(), 'pi1')];
    await lab().signalAgent('pi1', 'SIGKILL');
    await waitFor(
      async () => agentPid(lab(), 'pi1') !== pid && (await systemctl('pi1', 'is-active', 'pi-swarm')) === 'active',
      {
        what: 'the agent to be started again',
      },
    );
    expect(await availability('pi1')).toBe('active');
    expect(containersOf(await everywhere()).sort()).toEqual(containersOf(before).sort());
  });

  it('lets its work move when somebody stops the agent, keeps its engine, and takes work again after a start', async ({
    annotate,
  }) => {
    const pi = await busy('manager');
    // Its engine and its network stay: it is asked to the end.
    const outcome = await underLoad(lab(), lab().pis(), LOADS, async () => {
      const began = performance.now();
      await systemctl(pi, 'stop', 'pi-swarm');
      await annotate(`stopped after ${secondsSince(began)} s`);
    });
    expectUnnoticed(outcome, { whoami: REPLICAS });
    const tasks = await workers(pi);
    expect(tasks).toHaveLength(REPLICAS);
    expect(tasks.map(task => task.pi)).not.toContain(pi);
    expect(await availability(pi)).toBe('drain');
    expect(await docker(lab(), pi, 'ps', '--quiet')).toBe('');
    expect(await systemctl(pi, 'show', '--property=Result', 'pi-swarm')).toBe('Result=success');

    await systemctl(pi, 'start', 'pi-swarm');
    await everywhere();
    expect(await busy('manager').then(() => availability(pi))).toBe('active');
  });

  for (const [verb, role] of [
    ['poweroff', 'leader'],
    ['reboot', 'manager'],
  ] as const) {
    it(`lets its work move before a ${verb} takes engine and network away (${role})`, async ({ annotate }) => {
      const pi = await busy(role);
      const outcome = await underLoad(lab(), lab().pis(), LOADS, async traffic => {
        const began = performance.now();
        await systemctl(pi, verb);
        await dropWhenIdle(pi, traffic);
        await waitFor(() => isOff(pi), { what: `${pi} to be off`, timeoutMs: 100_000 });
        await annotate(`${verb}: off after ${secondsSince(began)} s`);
      });
      const tasks = await workers(pi);
      await lab().powerOn(pi);
      expectUnnoticed(outcome, { whoami: REPLICAS });
      expect(tasks).toHaveLength(REPLICAS);
      expect(tasks.map(task => task.pi)).not.toContain(pi);
      expect(agentLog(pi)).toMatch(/the Pi shuts down: letting its work move first/);
      expect(ended(pi).slice(-4)).toEqual(['pi-swarm', 'docker', 'containerd', 'lab-network']);
      await answersEverywhere(lab(), lab().pis(), containersOf(await everywhere()));
    }, 400_000);
  }

  it('asks systemd for the time that it may need, where the unit allows less', async () => {
    const pi = await busy('manager');
    const dropIn = '/run/systemd/system/pi-swarm.service.d';
    await lab().run(pi, [
      'sh',
      '-c',
      `mkdir -p ${dropIn} && printf '[Service]\\nTimeoutStopSec=1\\n' >${dropIn}/a.conf`,
    ]);
    await systemctl(pi, 'daemon-reload');
    const began = performance.now();
    await systemctl(pi, 'stop', 'pi-swarm');
    expect(performance.now() - began).toBeGreaterThan(1_000);
    expect(await systemctl(pi, 'show', '--property=Result', 'pi-swarm')).toBe('Result=success');
    expect((await workers(pi)).map(task => task.pi)).not.toContain(pi);
  });
});
