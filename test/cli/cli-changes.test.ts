/** What changes the cluster or this Pi's place in it: on the real bundle. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { JUST_STARTED } from '../../src/control.ts';
import type { Snapshot } from '../../src/core/snapshot.ts';
import { EXIT, PiSwarmError } from '../../src/errors.ts';
import { formatSecret, generateSecret } from '../../src/io/secret.ts';
import { FakeManager } from './fakes.ts';
import { snapshotOf } from './fixtures.ts';
import { Program } from './program.ts';

let program: Program;
const run: Program['run'] = (...it) => program.run(...it);
const serve: Program['serve'] = (...it) => program.serve(...it);

beforeAll(async () => {
  program = await Program.build();
});
beforeEach(() => program.fresh());
afterEach(() => program.stop());
afterAll(() => program.remove());

describe('changing', () => {
  test('deploy waits until it runs and says what to try', async () => {
    await serve(new FakeManager());
    const { code, out, err } = await run(['deploy', 'whoami', '--replicas', '5']);
    expect(out).toBe(
      'whoami created from pi-swarm/whoami:1\nwhoami runs: 5/5 on pi1×2 pi2×2 pi3\ntry it, on any Pi: curl http://192.168.1.11/\n',
    );
    expect(err).toMatch(/whoami: published ports answer on 3 of 3 Pis/);
    expect(code).toBe(0);
  });

  test('scale waits while the swarm chooses a leader, and gives up where there is none to choose', async () => {
    const manager = new FakeManager();
    let elections = 2;
    const isManager = () => {
      if (elections-- <= 0) return true;
      throw new PiSwarmError('unavailable', 'no manager with a majority can be reached');
    };
    await serve(manager, undefined, { isManager });
    await run(['deploy', 'whoami']);
    elections = 2;
    const { code, out, err } = await run(['scale', 'whoami=4']);
    expect(err).toContain('waiting for the swarm to choose a leader');
    expect(out).toContain('whoami: 1 → 4');
    expect(code).toBe(0);
    elections = 1e6;
    const late = await run(['scale', 'whoami=5', '--timeout', '1500ms']);
    expect(late.code).toBe(EXIT.unavailable);
  });

  test('deploy waits while the engine is slow and the swarm forms, and says so', async () => {
    let calls = 0;
    const isManager = () => ++calls > 3;
    let starts = 2;
    const snapshot = () => {
      if (starts-- > 0) throw new PiSwarmError('unavailable', JUST_STARTED);
      return snapshotOf({
        pis: 1,
        change: it => {
          if (calls <= 2) it.self.engine = { state: 'slow' };
          if (calls <= 3) it.self.swarm = { state: 'none' };
          it.doing = 'wait: looking for others, 3 s more';
        },
      });
    };
    await serve(new FakeManager(), snapshot, { isManager });
    const { code, out, err } = await run(['deploy', 'whoami']);
    expect(err).toMatch(
      /only just started[\s\S]*engine .* slow[\s\S]*still forming: waiting for it \(looking for others, 3 s more\) …\n/i,
    );
    expect(out).toContain('whoami runs');
    expect(code).toBe(0);
  });

  test.each<[string, (it: Snapshot['self']) => void]>([
    ['an unclaimed Pi', it => (it.claimed = false)],
    ['a Pi that leaves', it => (it.intent = 'leave')],
    ['a Pi whose engine is off', it => (it.engine = { state: 'absent' })],
  ])('deploy does not wait on %s', async (_who, change) => {
    const off = (it: Snapshot) => {
      it.self.swarm = { state: 'none' };
      change(it.self);
    };
    await serve(new FakeManager(), () => snapshotOf({ change: off }), { isManager: () => false });
    const { code, err } = await run(['deploy', 'whoami']);
    expect(err).not.toContain('waiting for');
    expect(code).toBe(EXIT.unavailable);
  });

  test('all words of deploy reach the engine', async () => {
    const manager = new FakeManager();
    await serve(manager);
    const words =
      'deploy nginx:1 -n web -r 2 -p 8080:80 -p 53:53/udp -p host:90:90 -e A=1 -e FROM_HERE -c node.role==worker -l team=x'.split(
        ' ',
      );
    words.push('-v', 'data:/data', '-v', '/srv:/srv:ro', '-m', '64m', '--network', 'net1', '--', 'sh', '-c', 'sleep 1');
    expect((await run(words, { env: { FROM_HERE: 'yes' } })).code).toBe(0);
    expect(manager.wishes).toEqual([
      {
        name: 'web',
        image: 'nginx:1',
        platforms: [{ os: 'linux', architecture: 'aarch64' }],
        replicas: 2,
        ports: [
          { protocol: 'tcp', published: 8080, target: 80, mode: 'ingress' },
          { protocol: 'udp', published: 53, target: 53, mode: 'ingress' },
          { protocol: 'tcp', published: 90, target: 90, mode: 'host' },
        ],
        env: ['A=1', 'FROM_HERE=yes'],
        constraints: ['node.role==worker'],
        labels: { team: 'x' },
        mounts: [
          { type: 'volume', source: 'data', target: '/data', readOnly: false },
          { type: 'bind', source: '/srv', target: '/srv', readOnly: true },
        ],
        networks: ['net1'],
        memoryLimitBytes: 64 * 1024 * 1024,
        command: ['sh', '-c', 'sleep 1'],
        restartDelayMs: 100,
      },
    ]);
  });

  test('deploy takes a restart delay in place of the 100 ms of the settings', async () => {
    const manager = new FakeManager();
    await serve(manager);
    expect((await run(['deploy', 'nginx:1', '--restart-delay', '5s'])).code).toBe(0);
    expect((await run(['deploy', 'nginx:1', '--name', 'now', '--restart-delay', '0ms'])).code).toBe(0);
    expect(manager.wishes.map(({ restartDelayMs }) => restartDelayMs)).toEqual([5_000, 0]);
    for (const bad of ['5', '2h', 'soon', '-1s']) {
      const { code, err } = await run(['deploy', 'nginx:1', `--restart-delay=${bad}`]);
      expect([code, err]).toEqual([EXIT.usage, expect.stringContaining(`--restart-delay ${bad} is not a time`)]);
    }
  });

  test('deploy names a port that does not answer everywhere, after a while, and is done', async () => {
    const manager = new FakeManager();
    await serve(manager, undefined, { meshApplied: () => [...manager.applied().slice(1), undefined] });
    const { code, out, err } = await run(['deploy', 'whoami']);
    expect(out).toMatch(/whoami runs: 1\/1 on pi1/);
    expect(err).toMatch(/whoami: the new copies answer on 2 of 3 Pis yet/);
    expect(err).toMatch(/! its published ports answer on 2 of 3 Pis only/);
    expect(code).toBe(0);
  });

  test('deploy tells why tasks do not run, and gives up at its limit', async () => {
    const manager = new FakeManager();
    manager.fail = 'No such image: web:latest';
    await serve(manager);
    const { code, err } = await run(['deploy', 'web', '--timeout', '500ms']);
    expect(code).toBe(EXIT.timeout);
    expect(err).toMatch(/waited 1 s for web to run: pi1: No such image: web:latest/);
  });

  test('deploy gives up early when tasks fail again and again', async () => {
    const manager = new FakeManager();
    manager.fail = 'exec format error';
    await serve(manager);
    const again = setInterval(() => manager.services.length > 0 && manager.run('web', 1), 200);
    const { code, err } = await run(['deploy', 'web', '--timeout', '60s']).finally(() => clearInterval(again));
    expect(code).toBe(EXIT.unhealthy);
    expect(err).toMatch(/web does not run: pi1: exec format error/);
  });

  test.each([[['whoami=2']], [['whoami', '2']]])('scale %j', async words => {
    const manager = new FakeManager();
    await serve(manager);
    await run(['deploy', 'whoami', '-r', '5']);
    const { code, out } = await run(['scale', ...words]);
    expect([code, out]).toEqual([0, 'whoami: 5 → 2\nwhoami runs: 2/2 on pi1 pi2\n']);
  });

  test('rm removes what there is and ends with code 3 for what is not', async () => {
    const manager = new FakeManager();
    await serve(manager);
    await run(['deploy', 'whoami']);
    const { code, out, err } = await run(['rm', 'nothing', 'whoami']);
    expect([code, out]).toEqual([EXIT.notFound, 'removed whoami\n']);
    expect(err).toMatch(/there is no service nothing\nThere are: whoami/);
    expect((await run(['rm', '--force', 'nothing'])).code).toBe(0);
  });
});

describe.runIf(process.getuid?.() === 0)('membership', () => {
  const secret = formatSecret(generateSecret());

  test('join hands the secret to the agent and waits until the Pi is in', async () => {
    let asked = 0;
    const snapshot = () =>
      snapshotOf({
        pis: 2,
        change: it => {
          it.self.claimed = false;
          it.self.swarm = { state: 'none' };
          it.doing = `step ${++asked}`;
          if (asked < 4) return;
          it.self.claimed = true;
          it.self.swarm = snapshotOf().self.swarm;
        },
      });
    await serve(new FakeManager(), snapshot);
    const { code, out, err } = await run(['join', '-'], { input: `${secret}\n` });
    expect(out).toBe('pi1 is in cluster 3f2a91c0 as a manager; it has 2 Pis.\n');
    expect(err).toMatch(/step \d[\s\S]*in the swarm/);
    expect(err + out).not.toContain(secret);
    expect(code).toBe(0);
    expect((await readFile(join(program.directory, 'secret'), 'utf8')).trim()).toBe(secret);
  });

  test('join with another secret waits until the agent shows the new cluster', async () => {
    let asked = 0;
    const snapshot = () =>
      snapshotOf({
        change: it => {
          if (++asked > 3) it.cluster.tag = 'beef000000000000';
        },
      });
    await serve(new FakeManager(), snapshot);
    const { out } = await run(['join', '-'], { input: `${secret}\n` });
    expect(out).toContain('is in cluster beef0000 as');
  });

  test('join without an agent writes the secret and says what comes next', async () => {
    const { code, out } = await run(['join', secret]);
    expect([code, out]).toEqual([0, expect.stringContaining('systemctl start pi-swarm')]);
    expect((await stat(join(program.directory, 'secret'))).mode & 0o777).toBe(0o600);
    expect((await run(['secret', 'show'])).out).toBe(`${secret}\n`);
    expect((await run(['invite'])).out).toBe(`${secret}\n`);
    const other = await run(['join', formatSecret(generateSecret())]);
    expect(other).toMatchObject({ code: EXIT.refused, err: expect.stringContaining('--force') });
    expect((await run(['secret', 'show'])).out).toBe(`${secret}\n`);
  });

  test('a typo in the token is told by its checksum, without showing it', async () => {
    const typo = `${secret.slice(0, -1)}${secret.endsWith('0') ? '1' : '0'}`;
    const { code, err } = await run(['join', typo]);
    expect([code, err]).toEqual([EXIT.usage, expect.stringContaining('checksum')]);
    expect(err).not.toContain(typo.slice(0, 20));
  });

  test('join without token brings a Pi back that has left', async () => {
    const manager = new FakeManager();
    await serve(manager, () =>
      snapshotOf({ pis: 3, change: it => (it.self.intent = manager.intents.length > 0 ? 'stay' : 'left') }),
    );
    expect((await run(['join'])).code).toBe(0);
    expect(manager.intents).toEqual(['stay']);
  });

  test('join without token on a Pi without secret asks for one', async () => {
    await serve(new FakeManager(), () => snapshotOf({ change: it => (it.self.claimed = false) }));
    expect(await run(['join'])).toMatchObject({ code: EXIT.usage, err: expect.stringContaining('join TOKEN') });
  });

  test('leave shows how the work goes, and that it is out', async () => {
    const manager = new FakeManager();
    let tasks = 3;
    const snapshot = () =>
      snapshotOf({
        pis: 3,
        change: it => {
          if (manager.intents.length === 0) return;
          it.self.tasks = Math.max(0, --tasks);
          it.self.intent = 'leave';
          if (tasks >= -1) return;
          it.self.intent = 'left';
          it.self.swarm = { state: 'none' };
        },
      });
    await serve(manager, snapshot);
    const { code, out, err } = await run(['leave']);
    expect([code, out]).toEqual([0, 'pi1 has left the cluster. To bring it back: sudo pi-swarm join\n']);
    expect(err).toMatch(/draining 2 tasks[\s\S]*draining 1 task\n[\s\S]*handing over[\s\S]*left/);
  });

  test('secret new prints one, or keeps it; one that is there needs force', async () => {
    expect((await run(['secret', 'new'])).out).toMatch(/^PISW1(-[0-9A-Z]{4}){14}\n$/);
    expect(await run(['secret', 'new', '--write'])).toMatchObject({
      code: 0,
      out: expect.not.stringContaining('PISW1'),
    });
    const first = (await run(['secret', 'show'])).out;
    expect(await run(['secret', 'new', '--write'])).toMatchObject({ code: EXIT.refused });
    expect((await run(['secret', 'show'])).out).toBe(first);
    expect((await run(['secret', 'new', '--write', '--force'])).code).toBe(0);
    expect((await run(['secret', 'show'])).out).not.toBe(first);
  });
});
