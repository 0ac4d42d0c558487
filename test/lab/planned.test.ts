import { beforeAll, expect, it } from 'vitest';
import { WHOAMI_IMAGE } from '../../src/io/whoami.ts';
import { describeOnNamespaces } from '../io/netns.ts';
import {
  answersEverywhere,
  answersOf,
  containersOf,
  containersOn,
  failed,
  formed,
  type Node,
  nodesOf,
  oneCluster,
  oneOf,
  others,
  running,
  secondsSince,
  type Task,
  tasksOf,
} from './cluster.ts';
import { docker, useLab, waitFor } from './harness.ts';
import { expectUnnoticed, type ServiceLoad, summaryOf, underLoad } from './load.ts';

const LOADS: ServiceLoad[] = [
  { service: 'whoami', port: 80, ratePerSecond: 40 },
  { service: 'one', port: 81, ratePerSecond: 14 },
  { service: 'everywhere', port: 82, ratePerSecond: 7 },
  { service: 'kept', port: 83, ratePerSecond: 14, keepAliveClients: 3 },
];
const REPLICAS = 5;
/** Answers any number of requests on one connection, which whoami's server does not. SIGTERM ends it and all connections. */
const KEPT_REPLICAS = 3;
const ANSWER = `printf "HTTP/1.1 200 OK\\r\\nContent-Length: 17\\r\\n\\r\\nI'm $(hostname)\\n"`;
const KEPT_SERVER = [
  'export CR=$(printf "\\r"); trap "exit 0" TERM',
  `export EACH='while IFS= read -r line; do if [ "$line" = "$CR" ]; then eval "$ANSWER"; fi; done'`,
  'nc -ll -p 8000 -e sh -c \'eval "$EACH"\' & wait $!',
].join('\n');

describeOnNamespaces('what is planned, under the load of requests from outside', () => {
  const lab = useLab(oneCluster({ pis: 4, config: { drainTimeout: '40s', steadyFor: '2s' } }));

  const manager = async (): Promise<string> => oneOf(await nodesOf(lab()), 'leader').name;

  beforeAll(async () => {
    await formed(lab(), lab().pis(), 3);
    const deploy = (...words: string[]) => lab().run('pi1', ['pi-swarm', 'deploy', 'whoami', ...words]);
    await deploy('--replicas', `${REPLICAS}`, '--publish', '80:8000');
    await deploy('--name', 'one', '--publish', '81:8000');
    await deploy('--name', 'everywhere', '--global', '--publish', '82:8000');
    const kept = [
      '--name',
      'kept',
      '--replicas',
      `${KEPT_REPLICAS}`,
      '--publish',
      '83:8000',
      '--env',
      `ANSWER=${ANSWER}`,
    ];
    const image = ['--no-resolve-image', '--entrypoint', '/bin/sh', WHOAMI_IMAGE, '-c', KEPT_SERVER];
    await docker(lab(), await manager(), 'service', 'create', '--quiet', ...kept, ...image);
  }, 120_000);

  const settled = async (): Promise<Task[]> => {
    await formed(lab(), lab().pis(), 3);
    await waitFor(() => tasksOf(lab(), 'everywhere'), { what: 'a task on each Pi', is: ({ length }) => length === 4 });
    await waitFor(() => tasksOf(lab(), 'one'), { what: 'the only task', is: ({ length }) => length === 1 });
    await waitFor(() => tasksOf(lab(), 'kept'), { what: 'kept', is: ({ length }) => length === KEPT_REPLICAS });
    const tasks = await running(lab(), REPLICAS, lab().pis());
    await answersEverywhere(lab(), lab().pis(), containersOf(tasks));
    return tasks;
  };

  /** A Pi with that role, with the only task of `one` and some of `whoami` on it. */
  const pick = async (role: Node['role']): Promise<Node> => {
    await settled();
    const node = oneOf(await nodesOf(lab()), role);
    const update = async (...words: string[]) => {
      await docker(lab(), await manager(), 'service', 'update', '--quiet', '--no-resolve-image', ...words);
    };
    const rule = `node.id==${node.id}`;
    const works = async (service: string) => (await tasksOf(lab(), service)).some(({ pi }) => pi === node.name);
    if (!(await works('one'))) {
      await update('--constraint-add', rule, 'one');
      await update('--constraint-rm', rule, 'one');
    }
    if (!(await works('whoami'))) {
      await update('--force', '--detach', 'whoami');
      await waitFor(() => works('whoami'), { what: `work on ${node.name}` });
    }
    await settled();
    return node;
  };

  const placesOf = async (service: string) => (await tasksOf(lab(), service)).map(({ pi }) => pi);

  /** Nobody has two more than another, and everybody has some. */
  const even = () =>
    waitFor(() => placesOf('whoami'), {
      what: 'even load',
      timeoutMs: 90_000,
      is: places => places.length === REPLICAS && new Set(places).size === lab().pis().length,
    });

  /** Drops the Pi's address when no container of these runs there any more: from then on it may go at any time. */
  const dropWhenIdle = async (name: string, drop: (pi: string) => Promise<void>, rest: string[]) => {
    const id = (await nodesOf(lab(), rest)).find(node => node.name === name)?.id ?? '';
    const idle = () => containersOn(lab(), id, rest);
    await waitFor(idle, { what: `${name} to have nothing to do`, timeoutMs: 60_000, everyMs: 50, is: n => n === 0 });
    await drop(name);
  };

  /** Its address is asked again when it has answered ten times, as a router's probes find out. */
  const backInUse = async (name: string, add: (pi: string) => Promise<void>) => {
    await formed(lab(), lab().pis(), 3);
    const sound = (answers: string[]) => !answers.some(failed);
    await waitFor(() => answersOf(lab(), name, 10), { what: `${name} to answer`, timeoutMs: 60_000, is: sound });
    await add(name);
  };

  const nobodyMisses: Record<string, number> = { whoami: REPLICAS, one: 1, everywhere: 3, kept: KEPT_REPLICAS };

  for (const role of ['worker', 'manager', 'leader'] as const) {
    it(`loses no request when ${role === 'leader' ? 'the' : 'a'} ${role} leaves`, async ({ annotate }) => {
      const node = await pick(role);
      const rest = others(lab(), node.name);
      const outcome = await underLoad(lab(), lab().pis(), LOADS, async ({ drop, note }) => {
        const began = performance.now();
        note(`${node.name} is told to leave`);
        await Promise.all([lab().run(node.name, ['pi-swarm', 'leave']), dropWhenIdle(node.name, drop, rest)]);
        note(`${node.name} has left`);
        await annotate(`${role}: left after ${secondsSince(began)} s`);
      });
      await annotate(summaryOf(outcome));
      await lab().run(node.name, ['pi-swarm', 'join']);
      expectUnnoticed(outcome, nobodyMisses);
    }, 150_000);
  }

  it('loses no request when a Pi is drained, which stays and answers, and none when it works again', async ({
    annotate,
  }) => {
    const { name, id } = await pick('manager');
    const outcome = await underLoad(lab(), lab().pis(), LOADS, async ({ note }) => {
      const leader = await manager();
      const began = performance.now();
      await lab().run(leader, ['pi-swarm', 'drain', name]);
      note(`${name} is drained`);
      expect(await containersOn(lab(), id)).toBe(0);
      await annotate(`drained after ${secondsSince(began)} s`);
      await lab().run(leader, ['pi-swarm', 'drain', '--undo', name]);
      await even();
      await annotate(`drained, and even again after ${secondsSince(began)} s`);
    });
    await annotate(summaryOf(outcome));
    expectUnnoticed(outcome, nobodyMisses);
  }, 150_000);

  it('loses no request when a Pi joins and gets its share', async ({ annotate }) => {
    const { name } = await pick('worker');
    const rest = others(lab(), name);
    await lab().run(name, ['pi-swarm', 'leave']);
    const outcome = await underLoad(lab(), rest, LOADS, async ({ add, note }) => {
      const began = performance.now();
      await lab().run(name, ['pi-swarm', 'join']);
      note(`${name} has joined`);
      await backInUse(name, add);
      await even();
      await annotate(`even after ${secondsSince(began)} s`);
    });
    await annotate(summaryOf(outcome));
    expectUnnoticed(outcome, nobodyMisses);
  }, 150_000);

  for (const role of ['worker', 'leader'] as const) {
    it(`loses no request when the ${role} is powered off in order, and none when it is on again`, async ({
      annotate,
    }) => {
      const node = await pick(role);
      const rest = others(lab(), node.name);
      const off = await underLoad(lab(), lab().pis(), LOADS, async ({ drop, note }) => {
        const began = performance.now();
        note(`${node.name} is shut down`);
        await Promise.all([lab().shutdown(node.name), dropWhenIdle(node.name, drop, rest)]);
        note(`${node.name} is off`);
        await annotate(`${role}: off after ${secondsSince(began)} s`);
      });
      await annotate(summaryOf(off));
      const endedInOrder = !/agent did not end by itself/.test(lab().logs(node.name, 'init'));

      const on = await underLoad(lab(), rest, LOADS, async ({ add, note }) => {
        const began = performance.now();
        await lab().powerOn(node.name);
        note(`${node.name} is on again`);
        await backInUse(node.name, add);
        await even();
        await annotate(`${role}: even again after ${secondsSince(began)} s`);
      });
      await annotate(summaryOf(on));
      expectUnnoticed(off, nobodyMisses);
      expect(endedInOrder).toBe(true);
      expectUnnoticed(on, nobodyMisses);
    }, 240_000);
  }
});
