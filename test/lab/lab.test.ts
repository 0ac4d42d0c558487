import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { hierarchies } from '../../src/lab/cgroup.ts';
import { killInside } from '../../src/lab/enter.ts';
import { checkEnvironment } from '../../src/lab/environment.ts';
import { Lab } from '../../src/lab/lab.ts';
import { markOf } from '../../src/lab/process.ts';
import { docker, dockerOf, labBase, labName, loadBusybox, useLab, waitFor, withLab } from './harness.ts';

// Engines start and stop in here, on machines that may be slow and busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 90_000 });

/** What a lab must never add to on the machine it runs on, line by line. */
function machineState(): string[] {
  const run = (program: string, ...words: string[]) => execFileSync(program, words, { encoding: 'utf8' }).split('\n');
  const links = (JSON.parse(run('ip', '-json', 'link').join('')) as { ifname: string }[]).map(({ ifname }) => ifname);
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const rules = run('iptables-save').filter(line => line.startsWith('-A'));
  return [...links, ...mounts, ...run('ip', 'route'), ...run('ip', 'netns'), ...rules];
}

const groups = (name: string) =>
  hierarchies().flatMap(({ path }) => readdirSync(path).filter(entry => entry.startsWith(`piswarm-${name}-`)));

const processesNaming = (text: string) =>
  readdirSync('/proc').filter(entry => {
    try {
      return /^\d+$/.test(entry) && readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(text);
    } catch {
      return false;
    }
  });

/** Opens a TCP connection from the laptop to a Pi; the function says what the laptop's kernel thinks of it. */
async function connectFromLaptop(lab: Lab, pi: string): Promise<() => Promise<string>> {
  lab.spawn(pi, ['node', '-e', `require('net').createServer(() => {}).listen(9)`]).unref();
  const connect = `const c = () => require('net').connect(9, '${pi}').on('error', () => setTimeout(c, 50)); c();
    setTimeout(() => process.exit(), 30000);`;
  lab.spawn('laptop', [process.execPath, '-e', connect]).unref();
  const state = async () => (await lab.run('laptop', ['ss', '-Htn', 'dst', lab.address(pi)])).split(' ')[0] ?? '';
  await waitFor(state, { what: 'a connection to be there', is: text => text === 'ESTAB' });
  return state;
}

/** A program of its own that has `Lab`; arguments begin at process.argv[2]. */
async function labProgram(directory: string, text: string): Promise<string> {
  const outfile = join(directory, `${labName()}.mjs`);
  const banner = { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" };
  const contents = `import { Lab } from './src/lab/lab.ts';\n${text}`;
  const stdin = { contents, resolveDir: process.cwd(), loader: 'ts' as const };
  await build({ stdin, outfile, bundle: true, platform: 'node', format: 'esm', banner, logLevel: 'warning' });
  return outfile;
}

describe('a lab of three', () => {
  const lab = useLab({ pis: 3, agents: false, config: pi => ({ name: pi }), secret: 'PISW1-NOT-A-REAL-ONE' });

  test('has three engines that answer, each with a name and an id of its own', async () => {
    const infos = await Promise.all(
      lab()
        .pis()
        .map(pi => dockerOf(lab(), pi).info()),
    );
    expect(infos.map(info => info.Name)).toEqual(['pi1', 'pi2', 'pi3']);
    expect(new Set(infos.map(info => info.ID)).size).toBe(3);
    const ids = await Promise.all(
      lab()
        .pis()
        .map(pi => lab().run(pi, ['cat', '/etc/machine-id'])),
    );
    expect(new Set(ids).size).toBe(3);
  });

  test('gives each Pi its address, its name in /etc/hosts, and no way out of the LAN', async () => {
    for (const pi of lab().pis()) {
      expect(await lab().run(pi, ['ip', '-4', '-o', 'address', 'show', 'eth0'])).toContain(` ${lab().address(pi)}/24 `);
      expect(await lab().run(pi, ['ip', 'route', 'show', 'default'])).toBe('');
    }
    await lab().run('pi1', ['busybox', 'ping', '-c1', '-W2', 'pi3']);
    await lab().run('laptop', ['busybox', 'ping', '-c1', '-W2', 'pi2']);
    await lab().run('pi2', ['busybox', 'ping', '-c1', '-W2', 'laptop']);
  });

  test('flashes configuration and secret, the secret for root only', async () => {
    expect(await lab().run('pi2', ['cat', '/etc/pi-swarm/config.yaml'])).toBe('name: pi2');
    expect(await lab().run('pi2', ['stat', '-c', '%a %U', '/etc/pi-swarm/secret'])).toBe('600 root');
  });

  test('shows a Pi only its own processes, links and files below /run, /tmp and /var', async () => {
    const processes = await lab().run('pi1', ['ps', '-e', '-o', 'comm=']);
    expect(processes.split('\n').filter(name => name === 'dockerd')).toHaveLength(1);
    expect(await lab().run('pi1', ['ls', '/sys/class/net'])).not.toContain('pi2');
    await lab().run('pi1', ['sh', '-c', 'touch /tmp/mine /run/mine /var/lib/mine /etc/mine']);
    expect(
      await lab().run('pi2', ['sh', '-c', 'ls /tmp/mine /run/mine /var/lib/mine /etc/mine 2>/dev/null || :']),
    ).toBe('');
    expect(existsSync('/etc/mine') || existsSync('/var/lib/mine')).toBe(false);
  });

  test('carries multicast from Pi to Pi and to the laptop', async () => {
    const listen = `const s = require('dgram').createSocket({ type: 'udp4', reuseAddr: true });
      s.on('message', m => { console.log('heard ' + m); process.exit(); });
      s.bind(5353, () => { s.addMembership('224.0.0.251'); console.log('listening'); });`;
    const say = `const s = require('dgram').createSocket('udp4');
      s.send('hello', 5353, '224.0.0.251', () => s.close());`;
    const listeners = ['pi2', 'laptop'].map(place => lab().spawn(place, [process.execPath, '-e', listen]));
    const heard = listeners.map(() => '');
    listeners.forEach((child, number) => {
      child.stdout?.on('data', chunk => {
        heard[number] += chunk;
      });
    });
    await waitFor(() => heard, { what: 'both to listen', is: all => all.every(text => text.includes('listening')) });
    await lab().run('pi1', ['node', '-e', say]);
    await waitFor(() => heard, { what: 'both to hear', is: all => all.every(text => text.includes('heard hello')) });
    for (const child of listeners) killInside(child);
  });

  test('an engine that is killed comes back by itself', async () => {
    const pid = await lab().run('pi1', ['cat', '/run/lab/engine.pid']);
    await lab().run('pi1', ['kill', '-KILL', pid]);
    await waitFor(() => lab().run('pi1', ['cat', '/run/lab/engine.pid']), {
      what: 'another engine',
      is: now => now !== pid,
    });
    await waitFor(() => dockerOf(lab(), 'pi1').ping(), { what: 'the engine of pi1 to answer', timeoutMs: 60_000 });
  });

  test('lets engines form a swarm and run replicas on all Pis', async () => {
    await docker(lab(), 'pi1', 'swarm', 'init', '--advertise-addr', lab().address('pi1'));
    const token = await docker(lab(), 'pi1', 'swarm', 'join-token', '-q', 'worker');
    const manager = `${lab().address('pi1')}:2377`;
    for (const pi of ['pi2', 'pi3']) await docker(lab(), pi, 'swarm', 'join', '--token', token, manager);
    await loadBusybox(lab(), 'pi1', 'pi2', 'pi3');
    const create = [
      'service',
      'create',
      '-d',
      '--no-resolve-image',
      '--name',
      'work',
      '--mode',
      'global',
      'busybox',
      'sleep',
      '999',
    ];
    await docker(lab(), 'pi1', ...create);
    const running = () => docker(lab(), 'pi1', 'service', 'ps', 'work', '--format', '{{.Node}} {{.CurrentState}}');
    const rows = await waitFor(running, {
      what: 'three tasks to run',
      is: text => text.split('\n').filter(row => row.includes(' Running')).length === 3,
    });
    expect(
      rows
        .split('\n')
        .map(row => row.split(' ')[0])
        .sort(),
    ).toEqual(['pi1', 'pi2', 'pi3']);
  });

  test('a power cut ends every process, link and control group of that Pi, and of no other', async () => {
    await docker(lab(), 'pi3', 'run', '-d', '--name', 'kept', 'busybox', 'sleep', '4242');
    const sleeper = () => processesNaming('4242');
    expect(sleeper()).not.toEqual([]);
    const connection = await connectFromLaptop(lab(), 'pi3');
    await lab().powerCut('pi3');
    expect(await connection()).toBe('ESTAB'); // No FIN and no RST went out.
    expect(sleeper()).toEqual([]);
    expect(lab().place.cgroup.pids('pi3')).toEqual([]);
    expect(await lab().run('laptop', ['ls', '/sys/class/net'])).not.toContain('pi3');
    const { pis } = await lab().status();
    expect(pis.map(({ power, engine }) => `${power} ${engine}`)).toEqual(['on up', 'on up', 'off down']);
    await lab().powerCut('pi3'); // Off is off.
    await expect(lab().exec('pi3', ['true'])).rejects.toThrow('pi3 is off.');
  });

  test('power-on brings the engine back with its disk, its address and its MAC', async () => {
    const mac = JSON.parse(await lab().run('pi2', ['ip', '-json', 'neighbour'])) as { dst: string; lladdr?: string }[];
    await lab().powerOn('pi3');
    expect(await docker(lab(), 'pi3', 'ps', '-a', '--format', '{{.Names}}')).toContain('kept');
    expect(await docker(lab(), 'pi3', 'image', 'ls', '-q', 'busybox')).not.toBe('');
    const seen = mac.find(({ dst }) => dst === lab().address('pi3'))?.lladdr;
    expect(await lab().run('pi3', ['cat', '/sys/class/net/eth0/address'])).toBe(seen);
    await lab().run('pi1', ['busybox', 'ping', '-c1', '-W2', lab().address('pi3')]);
  });

  test('a Pi whose cable is pulled lives on alone until it is plugged in', async () => {
    const reachable = async () => (await lab().exec('pi1', ['busybox', 'ping', '-c1', '-W1', 'pi2'])).code === 0;
    await lab().unplug('pi2');
    expect(await reachable()).toBe(false);
    expect(await lab().run('pi2', ['cat', '/sys/class/net/eth0/carrier'])).toBe('0');
    expect((await lab().status()).pis[1]).toMatchObject({ power: 'on', engine: 'up', cable: 'unplugged' });
    await lab().plug('pi2');
    await waitFor(reachable, { what: 'pi2 to answer again' });
  });

  test('a split LAN is two LANs until it is joined', async () => {
    const reaches = async (from: string, to: string) =>
      (await lab().exec(from, ['busybox', 'ping', '-c1', '-W1', to])).code === 0;
    await lab().split(['pi1'], ['pi2', 'pi3']);
    await waitFor(() => reaches('pi2', 'pi3'), { what: 'pi2 to reach pi3' });
    expect([await reaches('laptop', 'pi1'), await reaches('pi1', 'pi2')]).toEqual([true, false]);
    await lab().join();
    await waitFor(() => reaches('pi1', 'pi2'), { what: 'pi1 to reach pi2' });
    expect((await lab().status()).pis.map(({ segment }) => segment)).toEqual(['lan', 'lan', 'lan']);
  });

  test('a Pi can be added, shut down in order and flashed anew', async () => {
    expect(await lab().add({ config: { name: 'late' } })).toBe('pi4');
    await lab().run('pi1', ['busybox', 'ping', '-c1', '-W2', 'pi4']);
    expect(await lab().run('pi4', ['cat', '/etc/pi-swarm/secret'])).toBe('PISW1-NOT-A-REAL-ONE');
    await lab().run('pi4', ['touch', '/var/lib/pi-swarm/state']);
    await expect(lab().wipe('pi4')).rejects.toThrow('pi4 is on');
    await lab().shutdown('pi4');
    expect(lab().logs('pi4', 'init')).toContain('engine ended after');
    expect(lab().logs('pi4', 'init')).toMatch(/off$/);
    expect(existsSync(lab().disk('pi4', '/var/lib/pi-swarm/state'))).toBe(true);
    await lab().wipe('pi4');
    expect(existsSync(lab().disk('pi4', '/var/lib/pi-swarm/state'))).toBe(false);
    expect(readFileSync(lab().disk('pi4', '/etc/pi-swarm/config.yaml'), 'utf8')).toBe('name: late\n');
  });

  test('a command that does not end is killed at its limit, and nothing of it stays', async () => {
    await expect(lab().exec('pi1', ['sleep', '31337'], { timeoutMs: 500 })).rejects.toThrow('did not end within 0.5 s');
    await waitFor(() => processesNaming('31337'), { what: 'sleep to be gone', is: found => found.length === 0 });
  });
});

describe('the agent of a Pi', () => {
  const base = labBase();
  const bundle = join(base, 'agent.mjs');
  beforeAll(() => {
    const stop = `process.on('SIGTERM', () => { console.log('goodbye'); process.exit(); });`;
    writeFileSync(
      bundle,
      `console.log('agent', process.argv[2], process.env.MARK);${stop} setInterval(() => {}, 1000);`,
    );
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  test('starts with its Pi or when asked, comes back when it dies, and ends before the engine', async () => {
    const options = { pis: 2, bundle, agents: (pi: string) => pi === 'pi1', agentEnv: { MARK: "it's me" } };
    await withLab(options, async lab => {
      const runs = (pi: string) => (lab.logs(pi).match(/agent agent it's me/g) ?? []).length;
      await waitFor(() => runs('pi1'), { what: 'the agent of pi1 to start' });
      expect(runs('pi2')).toBe(0);
      await lab.startAgent('pi2');
      await waitFor(() => runs('pi2'), { what: 'the agent of pi2 to start' });
      await lab.signalAgent('pi1', 'SIGKILL');
      await waitFor(() => runs('pi1'), { what: 'the agent of pi1 to start again', is: starts => starts === 2 });
      await lab.stopAgent('pi2');
      expect(lab.logs('pi2')).toContain('goodbye');
      expect((await lab.status()).pis.map(({ agent }) => agent)).toEqual(['running', 'off']);
      await lab.shutdown('pi1');
      expect(lab.logs('pi1', 'init')).toMatch(/agent ended after[^\n]*\n[^\n]*engine ended after/);
    });
  });
});

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
  const { stdout, stderr } = await promisify(execFile)('unshare', words, { timeout: 50_000 });
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^version 2 running 1\n\/sys\/fs\/cgroup\/docker\/[0-9a-f]{64}\/\noff\n$/);
  rmSync(base, { recursive: true });
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
  const base = labBase();
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
