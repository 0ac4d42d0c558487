/** The real bundle as a child process, against the real control socket with fakes behind it. */
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type CommandDeps, runCommand } from '../../src/commands.ts';
import { type ControlServer, startControl } from '../../src/control.ts';
import type { Snapshot } from '../../src/core/snapshot.ts';
import { EXIT } from '../../src/errors.ts';
import { formatSecret, generateSecret } from '../../src/io/secret.ts';
import { FakeManager } from './fakes.ts';
import { snapshotOf, whoamiService } from './fixtures.ts';

let home: string;
let program: string;
let directory: string;
let socket: string;
let config: string;
let server: ControlServer | undefined;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'pi-swarm-cli-'));
  program = join(home, 'pi-swarm.mjs');
  const builder: { bundle(outfile: string): Promise<unknown> } = await import(
    new URL('../../scripts/build.mjs', import.meta.url).href
  );
  await builder.bundle(program);
});
afterAll(() => rm(home, { recursive: true, force: true }));

beforeEach(async () => {
  directory = await mkdtemp(join(home, 'pi-'));
  socket = join(directory, 'agent.sock');
  config = join(directory, 'config.yaml');
  await writeFile(config, `secretFile: ${directory}/secret\nsocket: ${socket}\nstateDir: ${directory}/state\n`);
});
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

interface Outcome {
  code: number;
  out: string;
  err: string;
}

function run(words: string[], options: { input?: string; env?: NodeJS.ProcessEnv } = {}): Promise<Outcome> {
  return new Promise(resolve => {
    const env = { ...process.env, NO_COLOR: '1', PI_SWARM_CONFIG: config, ...options.env };
    const child = execFile(process.execPath, [program, ...words], { env, timeout: 60_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, err });
    });
    child.stdin?.end(options.input ?? '');
  });
}

async function serve(
  manager: FakeManager,
  snapshot: () => Snapshot = () => snapshotOf({ pis: 3 }),
  more: Partial<CommandDeps> = {},
) {
  const commands = manager.commands({
    snapshot,
    secretFile: join(directory, 'secret'),
    pickUpSecret: async () => undefined,
    ...more,
  });
  server = await startControl(socket, {
    snapshot,
    command: (name, body) => runCommand(commands, name, body, { from: 'local' }),
  });
}

describe('words', () => {
  test('no words: help, and that is fine', async () => {
    const { code, out } = await run([]);
    expect(code).toBe(EXIT.ok);
    expect(out).toMatch(/Usage: pi-swarm/);
    expect(out).toMatch(/Exit codes:/);
  });

  test('an unknown command: did you mean', async () => {
    const { code, err } = await run(['statsu']);
    expect(code).toBe(EXIT.usage);
    expect(err).toMatch(/pi-swarm: unknown command 'statsu'\n\(Did you mean status\?\)/);
  });

  test.each([
    [['nodes', '--jsno'], /Did you mean --json/],
    [['scale'], /missing required argument/],
    [['scale', 'whoami'], /NAME=NUMBER/],
    [['deploy', 'nginx', '--publish', '80:99999'], /PUBLISHED:TARGET/],
    [['deploy', 'nginx', '--global', '--replicas', '2'], /contradict/],
    [['leave', '--timeout', 'soon'], /is not a time/],
    [['join', 'PISW1-AAAA'], /cluster secret/],
    [['nodes', '--config', '/nonexistent.yaml'], /there is no file/],
  ])('%j is a mistake of usage and says how it is right', async (words, message) => {
    const { code, out, err } = await run(words);
    expect(err).toMatch(message);
    expect([code, out]).toEqual([EXIT.usage, '']);
  });

  test('a mistake in the configuration: file, line and column', async () => {
    const { code, err } = await run(['agent'], { env: { PI_SWARM_CONFIG: program } });
    expect(code).toBe(EXIT.usage);
    expect(err).toMatch(/pi-swarm\.mjs:\d+:\d+: /);
  });

  test('version, as text and as JSON', async () => {
    const [text, json] = await Promise.all([run(['version']), run(['--json', 'version'])]);
    expect(text.out).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(JSON.parse(json.out)).toMatchObject({ version: text.out.trim() });
  });
});

describe('the way to the agent', () => {
  test('no agent: says how to start it', async () => {
    const { code, out, err } = await run(['status']);
    expect([code, out]).toEqual([EXIT.unavailable, '']);
    expect(err).toMatch(
      /^pi-swarm: the pi-swarm agent is not running on this Pi .*\nStart it: sudo systemctl start pi-swarm\n/,
    );
    expect(err).not.toMatch(/ at /);
  });

  test('--debug shows the stack', async () => {
    expect((await run(['status', '--debug'])).err).toMatch(/ at [\s\S]*caused by: Error: connect ENOENT/);
  });

  test.each([
    ['--socket before the command', () => ['--socket', socket, 'nodes'], {}],
    ['--socket after the command', () => ['nodes', '--socket', socket], {}],
    ['$PI_SWARM_SOCKET', () => ['nodes'], { env: 'PI_SWARM_SOCKET' }],
    ['the configuration', () => ['nodes', '--config', config], {}],
  ])('the socket is told by %s', async (_name, words, { env }: { env?: string }) => {
    await serve(new FakeManager());
    const elsewhere = { PI_SWARM_CONFIG: '' };
    const { code, out } = await run(words(), { env: env === undefined ? elsewhere : { ...elsewhere, [env]: socket } });
    expect(code).toBe(0);
    expect(out).toMatch(/pi3 {4}192\.168\.1\.13 {2}manager {2}ready/);
  });

  test('a reader that goes away is no error', async () => {
    await serve(new FakeManager(), () => snapshotOf({ pis: 20 }));
    const child = spawn(process.execPath, [program, 'status', '--watch'], {
      env: { ...process.env, PI_SWARM_SOCKET: socket },
    });
    let err = '';
    child.stderr.on('data', data => {
      err += data;
    });
    child.stdout.once('data', () => child.stdout.destroy());
    const code = await new Promise(resolve => child.once('exit', resolve));
    expect([code, err]).toEqual([0, '']);
  });
});

describe('reading', () => {
  test('status: the screen, and code 8 only when a person is needed', async () => {
    let snapshot = snapshotOf({ pis: 3, services: [whoamiService] });
    await serve(new FakeManager(), () => snapshot);
    const well = await run(['status']);
    expect(well.code).toBe(EXIT.ok);
    expect(well.out).toMatch(/^pi-swarm cluster 3f2a91c0 · ok · 3 Pis, 3 managers · whoami 5\/5\n/);
    snapshot = snapshotOf({
      pis: 3,
      notices: [{ severity: 'error', kind: 'quorum-lost', text: 'no leader', cure: 'power on' }],
    });
    const ill = await run(['status']);
    expect(ill.code).toBe(EXIT.unhealthy);
    expect(ill.out).toMatch(/✗ no leader\n {2}→ power on/);
    expect(JSON.parse((await run(['status', '--json'])).out)).toEqual(JSON.parse(JSON.stringify(snapshot)));
  });

  test('nodes and services as JSON', async () => {
    const manager = new FakeManager();
    await serve(manager);
    await run(['deploy', 'whoami', '--replicas', '5']);
    expect(JSON.parse((await run(['nodes', '--json'])).out)).toHaveLength(3);
    expect(JSON.parse((await run(['services', '--json'])).out)).toMatchObject([
      { name: 'whoami', where: { pi1: 2, pi2: 2, pi3: 1 } },
    ]);
    expect((await run(['services'])).out).toBe(
      'NAME    IMAGE              RUNNING  PORTS    WHERE\nwhoami  pi-swarm/whoami:1  5/5      80→8000  pi1×2 pi2×2 pi3\n',
    );
  });

  test('doctor works without the agent', async () => {
    const { code, out } = await run(['doctor', '--json']);
    expect(code).toBe(EXIT.unhealthy);
    expect(JSON.parse(out)).toContainEqual(expect.objectContaining({ name: 'agent', verdict: 'error' }));
  });
});

describe('changing', () => {
  test('deploy waits until it runs and says what to try', async () => {
    await serve(new FakeManager());
    const { code, out, err } = await run(['deploy', 'whoami', '--replicas', '5']);
    expect(out).toBe(
      'whoami created from pi-swarm/whoami:1\nwhoami runs: 5/5 on pi1×2 pi2×2 pi3\ntry it, on any Pi: curl http://192.168.1.11/\n',
    );
    expect(err).toMatch(/whoami: 5 of 5 run/);
    expect(code).toBe(0);
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

  test('deploy names a port that does not answer everywhere, after a while, and is done', async () => {
    const manager = new FakeManager();
    await serve(manager, undefined, { meshApplied: () => [...manager.applied().slice(1), undefined] });
    const { code, out, err } = await run(['deploy', 'whoami']);
    expect(out).toMatch(/whoami runs: 1\/1 on pi1/);
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
    expect((await readFile(join(directory, 'secret'), 'utf8')).trim()).toBe(secret);
  });

  test('join without an agent writes the secret and says what comes next', async () => {
    const { code, out } = await run(['join', secret]);
    expect([code, out]).toEqual([0, expect.stringContaining('systemctl start pi-swarm')]);
    expect((await stat(join(directory, 'secret'))).mode & 0o777).toBe(0o600);
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
