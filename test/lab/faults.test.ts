import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { EXIT } from '../../src/errors.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { describeOnNamespaces } from '../io/netns.ts';
import { agentPid, formed, nodesOf, oneCluster, oneOf, others, secondsSince, snapshotOf } from './cluster.ts';
import { useLab, waitFor, withLab } from './harness.ts';

const sh = (lab: Lab, pi: string, script: string): Promise<string> => lab.run(pi, ['sh', '-c', script]);

/** All agents say that nothing is left to do. */
const calm = (lab: Lab): Promise<unknown> =>
  Promise.all(
    lab.pis().map(pi =>
      waitFor(() => snapshotOf(lab, pi), {
        what: `${pi} to be calm`,
        is: ({ cluster, doing }) => cluster.state === 'ok' && /all is well/.test(doing),
      }),
    ),
  );

/** The agent's process as this machine numbers it, or undefined: a kill from here takes no program to start first. */
function hostPidOf(lab: Lab, pi: string): number | undefined {
  const inner = agentPid(lab, pi);
  const init = lab.inside(pi).split('/')[2];
  const space = readlinkSync(`/proc/${init}/ns/pid`);
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .find(pid => {
      try {
        const [, ids = ''] = /^NSpid:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
        return ids.split('\t').at(-1) === inner && readlinkSync(`/proc/${pid}/ns/pid`) === space;
      } catch {
        return false; // It has ended meanwhile.
      }
    });
}

/** What the agent has decided to do and what it has done so far, one entry a line of its log, without ids. */
function deedsOf(lab: Lab, pi: string): string[] {
  let text: string;
  try {
    text = readFileSync(lab.logFile(pi, 'agent'), 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap(line => {
    if (!line.startsWith('{') || !line.endsWith('}')) return [];
    const { step, ok, plan } = JSON.parse(line) as { step?: string; ok?: boolean; plan?: string };
    const deed = step === undefined ? (plan === 'wait' ? undefined : plan) : `${step}: ${ok ? 'done' : 'failed'}`;
    return deed === undefined ? [] : [deed.replace(/[a-z0-9]{25}/g, 'ID')];
  });
}

describeOnNamespaces('an agent that is killed', () => {
  it.concurrent.each([
    ['when it has made a plan', /^(?!.*: (done|failed)$)/, [/^init/, /^remember swarm ID; join/, /^promote/]],
    [
      'when it has carried out a step',
      /: (done|failed)$/,
      [/^init.*done/, /^remember.*done/, /^join.*done/, /^promote.*done/],
    ],
  ])(
    '%s, each time, still ends in one healthy swarm',
    async (_when, deadly, expected) => {
      await withLab(oneCluster({ pis: 3, config: { settleAlone: '2s' } }), async lab => {
        const killed = new Map(lab.pis().map(pi => [pi, new Set<string>()]));
        const KILLS_MAX = 60;
        let kills = 0;
        let over = false;
        const hunt = async (pi: string, done: Set<string>) => {
          while (!over && kills < KILLS_MAX) {
            const fresh = deedsOf(lab, pi).find(deed => deadly.test(deed) && !done.has(deed));
            const pid = fresh === undefined ? undefined : hostPidOf(lab, pi);
            if (fresh !== undefined && pid !== undefined) {
              process.kill(pid, 'SIGKILL');
              for (const deed of deedsOf(lab, pi)) done.add(deed);
              kills++;
            }
            await new Promise(resolve => setTimeout(resolve, 2));
          }
        };
        const hunters = [...killed].map(([pi, done]) => hunt(pi, done));
        try {
          await formed(lab, lab.pis(), 3, 90_000);
          await calm(lab);
        } finally {
          over = true;
          await Promise.all(hunters);
        }
        const deeds = lab.pis().flatMap(pi => [...(killed.get(pi) ?? [])]);
        for (const deed of expected)
          expect(
            deeds.filter(seen => deed.test(seen)),
            `${deed}`,
          ).not.toEqual([]);
        expect(kills).toBeLessThan(KILLS_MAX);
        const swarms = await Promise.all(lab.pis().map(pi => snapshotOf(lab, pi)));
        expect(new Set(swarms.map(({ cluster }) => cluster.swarmId)).size).toBe(1);
      });
    },
    180_000,
  );
});

/** Three labs at once: they mostly wait, for brokers, elections and timeouts. The tests of each run one after the other. */
const inParallel = describeOnNamespaces.concurrent;

inParallel('three Pis whose broker is down', () => {
  const lab = useLab(oneCluster({ pis: 3, mqtt: 'mqtt://laptop:1883' }));
  beforeAll(() => formed(lab(), lab().pis(), 3));

  /** Topics as in docs/mqtt.md, with the names of Pis instead of ids, and what the broker keeps for each. */
  const retained = async (): Promise<Map<string, string>> => {
    const words = ['-h', 'laptop', '-t', 'pi-swarm/#', '--retained-only', '-W', '1', '-v'];
    const { stdout } = await lab().exec('laptop', ['mosquitto_sub', ...words]);
    const names = await namesById();
    const entries = stdout.split('\n').flatMap(line => {
      const [, tag = '', id = '', rest = '', payload = ''] = /^pi-swarm\/(\w+)\/(\w+)\/(\w+) (.*)$/.exec(line) ?? [];
      return tag === '' ? [] : [[`${names.get(id) ?? id}/${rest}`, payload] as const];
    });
    return new Map(entries);
  };
  const namesById = async () => {
    const on = (await lab().status()).pis.find(({ power }) => power === 'on');
    const { cluster } = await snapshotOf(lab(), on?.name ?? 'pi1');
    return new Map(cluster.pis.map(({ id, name }) => [id, name]));
  };

  it.sequential('form a swarm, and say that the broker is offline', async () => {
    for (const pi of lab().pis()) {
      const { mqtt } = await waitFor(() => snapshotOf(lab(), pi), {
        what: `${pi} to know that the broker is down`,
        is: snapshot => snapshot.mqtt.state === 'offline' && snapshot.cluster.state === 'ok',
      });
      expect(mqtt.problem).toMatch(/laptop|1883|refused/);
    }
  });

  it.sequential('tell it everything as soon as it is there', async () => {
    const file = join(lab().place.directory, 'mosquitto.conf');
    writeFileSync(file, 'listener 1883\nallow_anonymous true\n');
    lab().spawn('laptop', ['mosquitto', '-c', file], { stdio: 'ignore' });
    const topics = await waitFor(retained, {
      what: 'the state of each Pi and of the cluster',
      timeoutMs: 60_000,
      is: seen =>
        lab()
          .pis()
          .every(pi => seen.has(`${pi}/state`)) && seen.has('cluster/state'),
    });
    for (const pi of lab().pis()) expect(topics.get(`${pi}/availability`)).toBe('online');
    expect(JSON.parse(topics.get('cluster/state') ?? '')).toMatchObject({ state: 'ok' });
    expect((await snapshotOf(lab(), 'pi1')).mqtt).toEqual({ state: 'connected' });
  });

  it.sequential('are called offline by it when their plug is pulled, and online when they are back', async ({
    annotate,
  }) => {
    const began = performance.now();
    await lab().powerCut('pi3');
    const availability = async () => (await retained()).get('pi3/availability');
    await waitFor(availability, { what: 'the will of pi3', is: word => word === 'offline' });
    await annotate(`will: after ${secondsSince(began)} s`);
    await lab().powerOn('pi3');
    await waitFor(availability, { what: 'pi3 to be back', is: word => word === 'online' });
    await formed(lab(), lab().pis(), 3);
  });
});

inParallel('an engine', () => {
  const lab = useLab(oneCluster({ pis: 3 }));
  let before: Awaited<ReturnType<typeof nodesOf>>;

  beforeAll(async () => {
    before = await formed(lab(), lab().pis(), 3);
  });

  const sameSwarm = async () => {
    // Seven engines share two cores here, and elections that nobody wins in time follow each other.
    const after = await formed(lab(), lab().pis(), 3, 120_000);
    expect(after.map(({ id }) => id).sort()).toEqual(before.map(({ id }) => id).sort());
    await calm(lab());
  };

  /** The agent of this Pi says that its engine is like that, as a notice with a cure and by `status`'s exit code. */
  const says = async (pi: string, state: 'absent' | 'slow') => {
    const snapshot = await waitFor(() => snapshotOf(lab(), pi), {
      what: `${pi} to say that its engine is ${state}`,
      is: ({ self }) => self.engine.state === state,
    });
    expect(snapshot.notices).toContainEqual(
      expect.objectContaining({ kind: `engine-${state}`, severity: 'error', cure: expect.stringContaining('docker') }),
    );
    expect((await lab().exec(pi, ['pi-swarm', 'status'])).code).toBe(EXIT.unhealthy);
  };

  it.sequential('that starts after the agent is waited for', async () => {
    // The supervisor's loop stands still, so that the killed engine stays away.
    const pid = await sh(lab(), 'pi1', 'cat /run/lab/engine.pid');
    const loop = await sh(lab(), 'pi1', `sed -n 's/^PPid:.//p' /proc/${pid}/status`);
    await sh(lab(), 'pi1', `kill -STOP ${loop}; kill -KILL ${pid}`);
    const old = agentPid(lab(), 'pi1');
    await lab().signalAgent('pi1', 'SIGTERM');
    await waitFor(() => !['none', old].includes(agentPid(lab(), 'pi1')), { what: 'a new agent' });
    await says('pi1', 'absent');
    await sh(lab(), 'pi1', `kill -CONT ${loop}`);
    await sameSwarm();
  }, 180_000);

  it.sequential('that crashes on the leader is in the same swarm again when it is back', async () => {
    const { name } = oneOf(await nodesOf(lab()), 'leader');
    await sh(lab(), name, 'kill -KILL "$(cat /run/lab/engine.pid)"');
    await waitFor(() => snapshotOf(lab(), name), {
      what: `${name} to notice`,
      everyMs: 20,
      is: ({ self }) => self.engine.state === 'absent',
    });
    await sameSwarm();
  }, 180_000);

  it.sequential('that is frozen is called slow, and is used again when it thaws', async () => {
    const { name } = oneOf(await nodesOf(lab()), 'manager');
    await sh(lab(), name, 'kill -STOP "$(cat /run/lab/engine.pid)"');
    await says(name, 'slow');
    // The others see that its engine is away, although its agent is there.
    await waitFor(() => nodesOf(lab(), others(lab(), name)), {
      what: `${name} to be down`,
      is: nodes => nodes.some(node => node.name === name && !node.ready),
    });
    await sh(lab(), name, 'kill -CONT "$(cat /run/lab/engine.pid)"');
    await sameSwarm();
  }, 180_000);
});

inParallel('one Pi', () => {
  const lab = useLab(oneCluster({ pis: 1, agents: false, config: { settleAlone: '500ms' } }));
  const STATE = '/var/lib/pi-swarm';

  it.sequential('whose configuration has a mistake does not start its agent, and says where the mistake is', async () => {
    const file = lab().disk('pi1', '/etc/pi-swarm/config.yaml');
    const good = readFileSync(file, 'utf8');
    writeFileSync(file, `${good}manager: 3\n`);
    const { code, stderr } = await lab().exec('pi1', ['pi-swarm', 'agent']);
    expect(code).toBe(EXIT.usage);
    expect(stderr).toMatch(/\/etc\/pi-swarm\/config\.yaml:2:1\b.*manager/);
    await lab().startAgent('pi1');
    await waitFor(() => lab().logs('pi1', 'init'), {
      what: 'the supervisor to see it end',
      is: text => text.includes(`agent ended with ${EXIT.usage}`),
    });
    expect(lab().logs('pi1', 'agent')).toMatch(/config\.yaml:2:1\b/);
    writeFileSync(file, good);
    await formed(lab(), ['pi1'], 1);
  });

  it.sequential('whose disk is full says so, tears nothing, and goes on when there is room again', async () => {
    await waitFor(() => snapshotOf(lab(), 'pi1'), {
      what: 'pi1 to be calm',
      is: ({ doing }) => /all is well/.test(doing),
    });
    await lab().stopAgent('pi1');
    const memory = () => JSON.parse(readFileSync(lab().inside('pi1', `${STATE}/state.json`), 'utf8')) as unknown;
    await sh(
      lab(),
      'pi1',
      `cp -a ${STATE} /run/kept && mount -t tmpfs -o size=256k,mode=700 state ${STATE} && cp -a /run/kept/. ${STATE}/`,
    );
    const fill = `dd if=/dev/zero of=${STATE}/ballast bs=4096 2>/dev/null; [ -s ${STATE}/ballast ]`;
    await sh(lab(), 'pi1', fill);
    await lab().startAgent('pi1');
    await waitFor(() => snapshotOf(lab(), 'pi1'), {
      what: 'the new agent',
      is: ({ doing }) => /all is well/.test(doing),
    });
    const kept = memory();
    const { code, stderr } = await lab().exec('pi1', ['pi-swarm', 'leave', '--force']);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/full|no space/i);
    expect(memory()).toEqual(kept);
    expect((await nodesOf(lab())).map(({ ready }) => ready)).toEqual([true]);

    await sh(lab(), 'pi1', `rm ${STATE}/ballast`);
    await lab().run('pi1', ['pi-swarm', 'leave', '--force']);
    expect((await snapshotOf(lab(), 'pi1')).self).toMatchObject({ intent: 'left', swarm: { state: 'none' } });
  }, 60_000);

  it.sequential('that has no room even for its first key says so, and starts when there is', async () => {
    await lab().stopAgent('pi1');
    await sh(lab(), 'pi1', `rm -r ${STATE}/*; dd if=/dev/zero of=${STATE}/ballast bs=4096 2>/dev/null; true`);
    const { code, stderr } = await lab().exec('pi1', ['pi-swarm', 'agent']);
    expect(code).toBe(EXIT.environment);
    expect(stderr).toMatch(/full|no space/i);
    await lab().startAgent('pi1');
    await sh(lab(), 'pi1', `rm ${STATE}/ballast`);
    await formed(lab(), ['pi1'], 1);
  }, 60_000);
});
