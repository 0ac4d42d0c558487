import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { bundleScript, describeOnNamespaces, NetnsLan, type NetnsProcess, until } from './netns.ts';

const OURS = 'aaaaaaaaaaaaaaaa';
const THEIRS = 'bbbbbbbbbbbbbbbb';
const idOf = (number: number): string => String(number).repeat(16).slice(0, 16);
const hints = (child: NetnsProcess, number: number) =>
  child.lines.filter(line => line['event'] === 'hint' && line['id'] === idOf(number));
const last = (child: NetnsProcess, event: string) => child.lines.filter(line => line['event'] === event).at(-1);

describeOnNamespaces('mDNS on a LAN of namespaces', () => {
  let script: Awaited<ReturnType<typeof bundleScript>>;
  let fuzzer: Awaited<ReturnType<typeof bundleScript>>;
  let lan: NetnsLan;

  beforeAll(async () => {
    script = await bundleScript('test/io/mdns-child.ts');
    fuzzer = await bundleScript('test/io/mdns-fuzz-child.ts');
  });
  afterAll(() => {
    script.remove();
    fuzzer.remove();
  });
  beforeEach(() => {
    lan = new NetnsLan();
  });
  afterEach(() => lan.remove());

  const start = (number: number, tag = OURS): NetnsProcess =>
    lan.run(lan.addPi(number), script.path, { tag, id: idOf(number), name: `pi${number}`, port: 3378 });

  const sees = (child: NetnsProcess, number: number): Promise<void> =>
    until(`a hint of pi${number}`, () => hints(child, number).length > 0);

  it('lets three that start together hear of each other within a second', async () => {
    const children = [1, 2, 3].map(number => start(number));
    for (const [i, child] of children.entries())
      for (const other of [1, 2, 3]) if (other !== i + 1) await sees(child, other);
    const startedMs = Math.max(...children.map(child => Number(last(child, 'started')?.['atMs'])));
    for (const [i, child] of children.entries()) {
      for (const other of [1, 2, 3].filter(number => number !== i + 1)) {
        expect(Number(hints(child, other)[0]?.['atMs']) - startedMs).toBeLessThan(1000);
        expect(hints(child, other)[0]).toMatchObject({ host: `10.77.0.${other}`, port: 3378 });
      }
    }
    // Own records come back by multicast loopback and are not hints.
    expect(hints(children[0] as NetnsProcess, 1)).toEqual([]);
  });

  it('announces only the chosen address, however many the machine has', async () => {
    // Before eth0 in the kernel's order.
    const docker = lan.addPi(1, namespace => {
      lan.in(namespace, 'link', 'add', 'docker0', 'type', 'veth', 'peer', 'name', 'vethc');
      lan.in(namespace, 'link', 'set', 'vethc', 'up');
      lan.in(namespace, 'address', 'add', '172.17.0.1/16', 'dev', 'docker0');
      lan.in(namespace, 'link', 'set', 'docker0', 'up');
    });
    lan.run(docker, script.path, { tag: OURS, id: idOf(1), name: 'pi1', port: 3378 });
    const two = start(2);
    await sees(two, 1);
    expect(new Set(hints(two, 1).map(hint => hint['host']))).toEqual(new Set(['10.77.0.1']));
  });

  it('lets a late one find those that were there, and them find it', async () => {
    const one = start(1);
    const two = start(2);
    await sees(one, 2);
    await sees(two, 1);
    const late = start(3);
    await Promise.all([sees(late, 1), sees(late, 2), sees(one, 3), sees(two, 3)]);
    expect(Number(hints(late, 1)[0]?.['atMs']) - Number(last(late, 'started')?.['atMs'])).toBeLessThan(1000);
  });

  it('finds the others again when its cable was out, and when its address changed', async () => {
    const one = start(1);
    const two = start(2);
    await sees(one, 2);
    lan.cable(1, 'down');
    await until('the network is gone', () => last(one, 'network') && last(one, 'network')?.['address'] === undefined);
    const before = hints(one, 2).length;
    lan.cable(1, 'up');
    await until('pi2 is heard again', () => hints(one, 2).length > before);

    const namespace = lan.addPi(9);
    const nine = lan.run(namespace, script.path, { tag: OURS, id: idOf(9), name: 'pi9', port: 3378 });
    await sees(two, 9);
    lan.in(namespace, 'address', 'delete', '10.77.0.9/24', 'dev', 'eth0');
    lan.in(namespace, 'address', 'add', '10.77.0.99/24', 'dev', 'eth0');
    await until('pi2 hears the new address', () => hints(two, 9).at(-1)?.['host'] === '10.77.0.99');
    expect(nine.running).toBe(true);
  });

  it('starts before there is any network', async () => {
    const namespace = lan.addPi(1);
    lan.in(namespace, 'link', 'set', 'eth0', 'down');
    const one = lan.run(namespace, script.path, { tag: OURS, id: idOf(1), name: 'pi1', port: 3378 });
    const two = start(2);
    await until('both started', () => last(one, 'started') && last(two, 'started'));
    lan.in(namespace, 'link', 'set', 'eth0', 'up');
    await Promise.all([sees(one, 2), sees(two, 1)]);
  });

  it('says goodbye when it stops, and leaves nothing running', async () => {
    const one = start(1);
    const two = start(2);
    await sees(one, 2);
    await sees(two, 1);
    two.say('stop');
    await until('the goodbye', () => last(one, 'goodbye')?.['id'] === idOf(2));
    await two.ended();
  });

  it('keeps two clusters on one LAN apart, and counts the other', async () => {
    const one = start(1);
    const two = start(2, THEIRS);
    const three = start(3);
    await sees(one, 3);
    await sees(three, 1);
    one.say('stats');
    await until('the statistics', () => last(one, 'stats'));
    expect(hints(one, 2)).toEqual([]);
    expect(hints(two, 1)).toEqual([]);
    expect(last(one, 'stats')).toMatchObject({ foreignClusters: 1 });
  });

  it('writes one line, not thousands, when somebody makes up clusters', async () => {
    const one = start(1);
    await until('pi1 started', () => last(one, 'started'));
    const fuzz = lan.run(lan.addPi(66), fuzzer.path, { address: '10.77.0.66', seed: 1, tags: true });
    await until('the forgeries are out', () => last(fuzz, 'done'));
    one.say('stats');
    await until('the statistics', () => last(one, 'stats'));
    expect(last(one, 'stats')).toMatchObject({ foreignClusters: 32 });
    expect(one.lines.filter(line => line['event'] === 'log')).toHaveLength(1);
  });

  it('survives garbage and forgeries, counts them, and goes on finding Pis', async () => {
    const one = start(1);
    await until('pi1 started', () => last(one, 'started'));
    const fuzz = lan.run(lan.addPi(66), fuzzer.path, { address: '10.77.0.66', seed: 20260 });
    await until('the garbage is out', () => last(fuzz, 'done'));
    const two = start(2);
    await Promise.all([sees(one, 2), sees(two, 1)]);
    one.say('stats');
    await until('the statistics', () => last(one, 'stats'));
    const stats = last(one, 'stats') as Record<string, number>;
    expect(stats['oversized']).toBeGreaterThan(100);
    expect(stats['malformed']).toBeGreaterThan(100);
    expect(stats['invalid']).toBeGreaterThan(100);
    expect(one.running).toBe(true);
    const claimed = one.lines.filter(line => line['event'] === 'hint').map(line => String(line['host']));
    expect(claimed.every(host => /^\d+\.\d+\.\d+\.\d+$/.test(host) && !host.startsWith('127.'))).toBe(true);
  });
});
