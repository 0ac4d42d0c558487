import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type MeshTable, meshTable, withoutDead } from '../../src/core/mesh.ts';
import { DockerEngine } from '../../src/io/engine.ts';
import { ensureWhoami, WHOAMI_IMAGE } from '../../src/io/whoami.ts';
import { describeOnNamespaces } from '../io/netns.ts';
import { useLab, waitFor } from './harness.ts';

/** The reconciler, running inside a Pi. */
class Driver {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null) throw new Error('no stdout');
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  async send(wish: { table: MeshTable; deadNodeIds: string[] } | 'remove'): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(wish)}\n`);
    return JSON.parse((await this.#answers.next()).value as string);
  }
}

async function bundleDriver(): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'pisw-mesh-'));
  const outfile = join(dir, 'driver.mjs');
  const entry = join(import.meta.dirname, 'mesh-driver.ts');
  await build({ entryPoints: [entry], outfile, bundle: true, platform: 'node', format: 'esm', logLevel: 'error' });
  const code = readFileSync(outfile, 'utf8');
  rmSync(dir, { recursive: true });
  return code;
}

const PIS = ['pi1', 'pi2', 'pi3'];

describeOnNamespaces('the routing mesh by nftables, on three real engines', () => {
  const lab = useLab({ pis: 3, agents: false });
  const engines = new Map<string, DockerEngine>();
  const drivers = new Map<string, Driver>();
  /** Swarm node id of the Pi that lost its power. */
  let dead = '';

  const engine = (pi: string): DockerEngine => {
    const found = engines.get(pi);
    if (found === undefined) throw new Error(`no engine ${pi}`);
    return found;
  };

  /** What `GET /` on port 80 says, asked from the laptop or a Pi; the last word is curl's exit code where it failed. */
  const ask = async (from: string, host: string, port = 80): Promise<string> => {
    const answer = await lab().exec(from, ['curl', '-s', '--max-time', '5', `http://${host}:${port}/`]);
    return answer.code === 0 ? answer.stdout.trim() : `curl ended with ${answer.code}`;
  };

  const askOften = async (from: string, host: string, times: number): Promise<string[]> => {
    const command = `for i in $(seq ${times}); do curl -s --max-time 5 http://${host}/ || echo "curl ended with $?"; done`;
    return (await lab().run(from, ['sh', '-c', command])).split('\n');
  };

  const tableNow = async (): Promise<MeshTable> =>
    meshTable(await engine('pi1').services(), await engine('pi1').tasks());
  const apply = async (table: MeshTable, deadNodeIds: string[] = [], pis = PIS): Promise<unknown[]> =>
    Promise.all(pis.map(pi => drivers.get(pi)?.send({ table, deadNodeIds })));
  const replicas = (count: number) =>
    waitFor(async () => (await tableNow())[0]?.targets.length, {
      what: `${count} tasks`,
      is: length => length === count,
    });
  const namesOf = async (): Promise<string[]> =>
    (await engine('pi1').tasks())
      .filter(task => task.state === 'running' && task.desired === 'running')
      .map(task => `I'm ${task.containerId?.slice(0, 12)}`);
  /** Every trace of ours in a Pi's kernel. */
  const traces = (pi: string): Promise<string> =>
    lab().run(pi, [
      'sh',
      '-c',
      'nft list tables; iptables -S; nsenter --net=/run/docker/netns/ingress_sbox nft list tables',
    ]);

  beforeAll(async () => {
    const code = await bundleDriver();
    for (const pi of PIS) {
      engines.set(pi, new DockerEngine({ socketPath: lab().engine(pi) }));
      writeFileSync(lab().disk(pi, '/var/lib/mesh-driver.mjs'), code);
    }
    await engine('pi1').swarmInit({
      advertiseAddress: lab().address('pi1'),
      labels: {},
      dispatcherHeartbeatMs: 1_000,
      nodeCertExpiryMs: 1e12,
    });
    const token = await engine('pi1').workerToken();
    for (const pi of ['pi2', 'pi3']) {
      await engine(pi).swarmJoin({
        advertiseAddress: lab().address(pi),
        managers: [`${lab().address('pi1')}:2377`],
        token,
      });
    }
    for (const pi of PIS) await ensureWhoami(engine(pi), (await engine(pi).info()).architecture);
    await engine('pi1').serviceCreate({
      name: 'whoami',
      image: WHOAMI_IMAGE,
      platforms: [],
      replicas: 5,
      ports: [{ protocol: 'tcp', published: 80, target: 8000, mode: 'ingress' }],
      env: [],
      constraints: [],
      labels: {},
      mounts: [],
      networks: [],
      restartDelayMs: 100,
    });
    await replicas(5);
    for (const pi of PIS) {
      const child = lab().spawn(pi, ['node', '/var/lib/mesh-driver.mjs'], { stdio: ['pipe', 'pipe', 'inherit'] });
      drivers.set(pi, new Driver(child));
    }
  }, 120_000);

  afterAll(async () => {
    for (const one of engines.values()) await one.stop();
  });

  it('answers nowhere before', async () => {
    expect(await ask('laptop', lab().address('pi1'))).toMatch(/curl ended/);
  });

  it('answers on every Pi, each of the five tasks in turn', async () => {
    await waitFor(async () => apply(await tableNow()), {
      what: 'the rules on all Pis',
      is: all => all.every(status => JSON.stringify(status) === JSON.stringify({ mode: 'nftables', ports: 1 })),
    });
    const expected = (await namesOf()).sort();
    expect(expected).toHaveLength(5);
    for (const pi of PIS) {
      const answers = await askOften('laptop', lab().address(pi), 10);
      expect([...new Set(answers)].sort()).toEqual(expected);
      for (const name of expected) expect(answers.filter(answer => answer === name)).toHaveLength(2);
    }
  }, 60_000);

  it('answers from the Pi itself, from other Pis and from containers', async () => {
    const address = lab().address('pi1');
    expect(await ask('pi1', 'localhost')).toMatch(/^I'm /);
    expect(await ask('pi1', address)).toMatch(/^I'm /);
    expect(await ask('pi2', address)).toMatch(/^I'm /);
    const request = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 ${address} 80`;
    const get = (...entry: string[]) => lab().run('pi1', ['docker', ...entry, 'sh', '-c', request]);
    expect(await get('run', '--rm', '-i', '--entrypoint', '', WHOAMI_IMAGE)).toMatch(/I'm /);
    const task = await lab().run('pi1', ['docker', 'ps', '-q', '--filter', 'name=whoami', '-n', '1']);
    expect(await get('exec', task)).toMatch(/I'm /);
  }, 60_000);

  it('puts the rules back after somebody flushed the firewall', async () => {
    await lab().run('pi2', ['nft', 'delete', 'table', 'ip', 'pi_swarm_mesh']);
    expect(await ask('laptop', lab().address('pi2'))).toMatch(/curl ended/);
    await waitFor(() => ask('laptop', lab().address('pi2')), {
      what: 'an answer',
      is: answer => answer.startsWith("I'm"),
    });
  }, 60_000);

  it('follows the tasks when the service is scaled', async () => {
    await engine('pi1').serviceScale('whoami', 2);
    await replicas(2);
    await apply(await tableNow());
    const answers = await askOften('laptop', lab().address('pi3'), 6);
    expect([...new Set(answers)].sort()).toEqual((await namesOf()).sort());
    await engine('pi1').serviceScale('whoami', 6);
    await replicas(6);
    await apply(await tableNow());
    expect(new Set(await askOften('laptop', lab().address('pi3'), 6)).size).toBe(6);
  }, 60_000);

  it('fails no request once a dead Pi is taken out, before the swarm has noticed', async () => {
    const table = await tableNow();
    dead = (await engine('pi3').info()).swarm.nodeId;
    expect(withoutDead(table, [dead])[0]?.targets.length).toBeLessThan(6);
    await lab().powerCut('pi3');
    await apply(table, [dead], ['pi1', 'pi2']);
    const answers = await askOften('laptop', lab().address('pi2'), 20);
    expect(answers.filter(answer => !answer.startsWith("I'm"))).toEqual([]);
  }, 60_000);

  it('resets an open connection to a task that is gone as soon as its client speaks', async () => {
    const address = lab().address('pi1');
    await apply(await tableNow(), [dead], ['pi1', 'pi2']);
    const request = "printf 'GET / HTTP/1.0\\r\\n\\r\\n'";
    const script = `exec 3<>/dev/tcp/${address}/80 && echo open && read word && ${request} >&3 && cat <&3; echo over`;
    const client = lab().spawn('laptop', ['bash', '-c', script], { stdio: ['pipe', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [client.stdout, client.stderr]) stream?.on('data', chunk => (said += chunk));
    await waitFor(() => said.includes('open'), { what: 'the connection' });
    await apply(
      (await tableNow()).map(port => ({ ...port, targets: [], draining: [] })),
      [],
      ['pi1', 'pi2'],
    );
    client.stdin?.write('go\n');
    await waitFor(() => said.includes('over'), { what: 'the end of the connection', timeoutMs: 10_000 });
    expect(said).toMatch(/reset by peer/);
  }, 30_000);

  it('refuses at once when no task is left', async () => {
    const table = (await tableNow()).map(port => ({ ...port, targets: [], draining: [] }));
    await apply(table, [], ['pi1', 'pi2']);
    const began = performance.now();
    expect(await ask('laptop', lab().address('pi1'))).toBe('curl ended with 7');
    expect(performance.now() - began).toBeLessThan(3_000);
  }, 30_000);

  it('leaves nothing behind when it is removed', async () => {
    await apply(await tableNow(), [], ['pi1']);
    expect(await traces('pi1')).toMatch(/pi[_-]swarm/);
    for (const pi of ['pi1', 'pi2']) {
      expect(await drivers.get(pi)?.send('remove')).toEqual({ removed: true });
      expect(await traces(pi)).not.toMatch(/pi[_-]swarm/);
    }
  }, 30_000);
});
