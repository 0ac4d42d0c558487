import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { checkEnvironment } from '../../src/lab/environment.ts';
import { Lab } from '../../src/lab/lab.ts';
import { markOf } from '../../src/lab/process.ts';
import { labBase, labName, waitFor, withLab } from './harness.ts';
import { groups, labProgram, machineState, processesNaming } from './tools.ts';

// Engines start and stop in here, on machines that may be slow and busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 90_000 });

test('a machine with control groups of version 2 only runs labs too', async () => {
  const base = labBase();
  const program = await labProgram(
    base,
    `const lab = new Lab({ name: process.argv[2], dir: process.argv[3] });
    try {
      await lab.up({ pis: 1, agents: false });
      const image = 'mkdir -p /tmp/b/bin && cp "$(command -v busybox)" /tmp/b/bin/sleep && tar -C /tmp/b -c . | docker import - busybox';
      await lab.run('pi1', ['sh', '-c', image]);
      await lab.run('pi1', ['docker', 'run', '-d', '--name', 'one', 'busybox', 'sleep', '999']);
      console.log(await lab.run('pi1', ['docker', 'info', '--format', 'version {{.CgroupVersion}} running {{.ContainersRunning}}']));
      console.log(await lab.run('pi1', ['sh', '-c', 'ls -d /sys/fs/cgroup/docker/*/']));
      await lab.powerCut('pi1');
      console.log((await lab.status()).pis[0].power);
    } finally { await lab.down(); }`,
  );
  // In a mount namespace of its own this machine looks like one that has nothing but version 2.
  const only2 = 'umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"';
  const name = labName();
  const words = ['--mount', '--propagation', 'private', 'sh', '-c', only2, 'sh', process.execPath, program, name, base];
  const { stdout, stderr } = await promisify(execFile)('unshare', words, { timeout: 50_000 }).finally(() =>
    rmSync(base, { recursive: true }),
  );
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^version 2 running 1\n\/sys\/fs\/cgroup\/docker\/[0-9a-f]{64}\/\noff\n$/);
});

describe('labs side by side', () => {
  test('do not see each other, and removing one leaves the other', async () => {
    await withLab({ pis: 1, agents: false }, async first => {
      await withLab({ pis: 1, agents: false }, async second => {
        expect((await first.exec('laptop', ['busybox', 'ping', '-c1', '-W1', second.address('pi1')])).code).not.toBe(0);
        expect(await first.run('laptop', ['ls', '/sys/class/net'])).toBe('lan\nlo\npi1');
      });
      expect((await first.status()).pis[0]?.engine).toBe('up');
    });
  });
});

describe('removing', () => {
  let base = '';
  beforeAll(() => {
    base = labBase();
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  test('is no error when there is nothing, twice over', async () => {
    const lab = new Lab({ name: labName(), dir: base });
    expect(await lab.down()).toBe(false);
    await lab.up({ pis: 1, agents: false });
    await expect(lab.up({ pis: 1, agents: false })).rejects.toThrow('already there');
    expect((await lab.status()).pis[0]?.engine).toBe('up');
    expect(await lab.down()).toBe(true);
    expect(await lab.down()).toBe(false);
    expect([groups(lab.name), readdirSync(base)]).toEqual([[], []]);
    await expect(lab.status()).rejects.toThrow(`There is no lab «${lab.name}»`);
  });

  test('cleans up after a lab command that was killed at any moment', async () => {
    const program = await labProgram(
      base,
      `console.log('begun'); await new Lab({ name: process.argv[2], dir: process.argv[3] }).up({ pis: 2, agents: false });`,
    );
    for (const delayMs of [20, 60, 100, 150, 200, 300, 450]) {
      const name = labName();
      const dir = join(base, name);
      const child = spawn(process.execPath, [program, name, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
      await new Promise(resolve => child.stdout.once('data', resolve));
      // The moment itself is what is tried here, so nothing else can be waited for.
      await new Promise(resolve => setTimeout(resolve, delayMs));
      child.kill('SIGKILL');
      const lab = new Lab({ name, dir });
      await lab.down();
      expect({ delayMs, groups: groups(name), left: processesNaming(name) }).toEqual({ delayMs, groups: [], left: [] });
      expect(existsSync(dir) ? readdirSync(dir) : []).toEqual([]);
    }
  });

  test('is refused for a directory that no lab has made, which stays as it is', async () => {
    const name = labName();
    mkdirSync(join(base, name));
    writeFileSync(join(base, name, 'thesis.txt'), 'years of work');
    const lab = new Lab({ name, dir: base });
    await expect(lab.down()).rejects.toThrow('was not made by a lab');
    await expect(lab.up({ pis: 1, agents: false })).rejects.toThrow('was not made by a lab');
    expect(readFileSync(join(base, name, 'thesis.txt'), 'utf8')).toBe('years of work');
  });

  test('never ends a process that merely has a pid from the record', async () => {
    const name = labName();
    const bystander = spawn('sleep', ['60']);
    const lab = new Lab({ name, dir: base });
    await lab.up({ pis: 1, agents: false });
    await lab.powerCut('pi1');
    const record = lab.place.read();
    record.pis['pi1'] = { index: 1, init: { pid: bystander.pid ?? 0, startTicks: '1' } };
    lab.place.write(record);
    await lab.down();
    // As after a reboot: everything is gone but the directory, and another process has pid and start time.
    await lab.up({ pis: 1, agents: false });
    await lab.place.cgroup.remove();
    const init = { pid: bystander.pid ?? 0, startTicks: markOf(bystander.pid ?? 0).startTicks };
    lab.place.write({ ...lab.place.read(), bootId: 'an earlier one', lan: init, pis: { pi1: { index: 1, init } } });
    expect((await lab.status()).pis[0]?.power).toBe('off');
    await expect(lab.powerOn('pi1')).rejects.toThrow('this machine was restarted');
    expect(await lab.down()).toBe(true);
    expect(bystander.exitCode === null && bystander.signalCode === null).toBe(true);
    bystander.kill();
  });

  test('happens by itself when a lab cannot come up, and the reason has the log', async () => {
    const name = labName();
    const lab = new Lab({ name, dir: base });
    const up = lab.up({ pis: 2, agents: false, engineArgs: ['--no-such-flag'], engineTimeoutMs: 3_000 });
    await expect(up).rejects.toThrow(/did not answer within 3 s[\s\S]*unknown flag: --no-such-flag/);
    expect([groups(name), existsSync(join(base, name))]).toEqual([[], false]);
  });

  test('happens by itself when coming up is interrupted', async () => {
    const name = labName();
    const interrupt = new AbortController();
    const lab = new Lab({ name, dir: base });
    const up = lab.up({ pis: 2, agents: false, signal: interrupt.signal });
    await waitFor(() => lab.place.cgroup.exists(), { what: 'the lab to begin', everyMs: 5 });
    interrupt.abort(new Error('enough'));
    await expect(up).rejects.toThrow('enough');
    expect([groups(name), existsSync(join(base, name))]).toEqual([[], false]);
  });
});

test('who is not root, or has no dockerd, is told so with the cure', async () => {
  const lab = new Lab({ name: labName() });
  const uid = vi.spyOn(process, 'getuid').mockReturnValue(1000);
  await expect(lab.up()).rejects.toMatchObject({ code: 'environment', cure: 'Run it with sudo.' });
  uid.mockRestore();
  expect(() => checkEnvironment('/nowhere')).toThrow(/^The lab needs dockerd, .* are not installed\.$/);
});

test('a lab adds no link, route, mount, name or firewall rule to its machine, and leaves none', async () => {
  const before = new Set(machineState());
  const added = () => machineState().filter(line => !before.has(line));
  // Other tests have namespaces of their own at the same time; theirs go away.
  const nothing = { what: 'the machine to be as before', is: (lines: string[]) => lines.length === 0 };
  await withLab({ pis: 1, agents: false }, () => waitFor(added, nothing));
  await waitFor(added, nothing);
});
