import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { killInside } from '../../src/lab/enter.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { docker, dockerOf, labBase, loadBusybox, useLab, waitFor, withLab } from './harness.ts';
import { processesNaming } from './tools.ts';

// Engines start and stop in here, on machines that may be slow and busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 90_000 });

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
  let base = '';
  let bundle = '';
  beforeAll(() => {
    base = labBase();
    bundle = join(base, 'agent.mjs');
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
