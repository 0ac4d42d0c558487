/** The words of the command line, the way to the agent, and what reads: on the real bundle. */
import { spawn } from 'node:child_process';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EXIT } from '../../src/errors.ts';
import { FakeManager } from './fakes.ts';
import { snapshotOf, whoamiService } from './fixtures.ts';
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
    [['scale'], /missing required argument[\s\S]*More: pi-swarm help scale\n/],
    [['drain'], /missing required argument[\s\S]*More: pi-swarm help drain\n/],
    [['drain', 'pi3', '--undoo'], /Did you mean --undo\?[\s\S]*More: pi-swarm help drain\n/],
    [['lab', 'power-cut'], /missing required argument[\s\S]*More: pi-swarm lab help power-cut\n/],
    [['undrain', 'pi3'], /unknown command 'undrain'\n.*pi-swarm drain PI --undo/],
    [['scale', 'whoami'], /NAME=NUMBER/],
    [['scale', 'whoami=100000'], /whoami cannot have 100000 copies: the number is from 0 to 1000\n/],
    [['scale', 'whoami=-1'], /whoami cannot have -1 copies: the number is from 0 to 1000\n/],
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
    const { code, err } = await run(['agent'], { env: { PI_SWARM_CONFIG: program.path } });
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
    ['--socket before the command', () => ['--socket', program.socket, 'nodes'], {}],
    ['--socket after the command', () => ['nodes', '--socket', program.socket], {}],
    ['$PI_SWARM_SOCKET', () => ['nodes'], { env: 'PI_SWARM_SOCKET' }],
    ['the configuration', () => ['nodes', '--config', program.config], {}],
  ])('the program.socket is told by %s', async (_name, words, { env }: { env?: string }) => {
    await serve(new FakeManager());
    const elsewhere = { PI_SWARM_CONFIG: '' };
    const { code, out } = await run(words(), {
      env: env === undefined ? elsewhere : { ...elsewhere, [env]: program.socket },
    });
    expect(code).toBe(0);
    expect(out).toMatch(/pi3 {4}192\.168\.1\.13 {2}manager {2}ready/);
  });

  test('a reader that goes away is no error', async () => {
    await serve(new FakeManager(), () => snapshotOf({ pis: 20 }));
    const child = spawn(process.execPath, [program.path, 'status', '--watch'], {
      env: { ...process.env, PI_SWARM_SOCKET: program.socket },
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
