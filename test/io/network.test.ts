import type { NetworkInterfaceInfo } from 'node:os';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { chooseInterface, defaultRouteInterfaces, HostNetwork, type Interfaces } from '../../src/io/network.ts';

const ipv4 = (address: string, internal = false): NetworkInterfaceInfo => ({
  address,
  netmask: '255.255.255.0',
  family: 'IPv4',
  mac: 'b8:27:eb:00:00:01',
  internal,
  cidr: `${address}/24`,
});
const lo = { lo: [ipv4('127.0.0.1', true)] };
const header = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n';
const route = (name: string, metric: number): string =>
  `${name}\t00000000\t0101A8C0\t0003\t0\t0\t${metric}\t00000000\t0\t0\t0\n`;
const choose = (interfaces: Interfaces, routes = '', wanted = 'auto') =>
  chooseInterface(wanted, interfaces, header + routes)?.name;

describe('the chosen interface', () => {
  it('is the one with the default route', () => {
    const both = { ...lo, eth0: [ipv4('10.0.0.2')], wlan0: [ipv4('192.168.1.7')] };
    expect(choose(both, route('wlan0', 600))).toBe('wlan0');
  });

  it('is the one with the lower metric when two have a default route', () => {
    const both = { ...lo, eth0: [ipv4('192.168.1.6')], wlan0: [ipv4('192.168.1.7')] };
    expect(choose(both, route('wlan0', 600) + route('eth0', 100))).toBe('eth0');
  });

  it.each(['docker0', 'docker_gwbridge', 'br-1f2e3d', 'veth01ab', 'virbr0', 'tun0', 'wg0', 'tailscale0'])(
    'is never %s',
    name => {
      expect(choose({ ...lo, [name]: [ipv4('172.17.0.1')] }, route(name, 0))).toBeUndefined();
      expect(choose({ ...lo, [name]: [ipv4('172.17.0.1')], eth0: [ipv4('10.0.0.2')] }, route(name, 0))).toBe('eth0');
    },
  );

  it('is the first real one without any default route', () => {
    expect(choose({ ...lo, docker0: [ipv4('172.17.0.1')], eth0: [ipv4('10.0.0.2')], eth1: [ipv4('10.1.0.2')] })).toBe(
      'eth0',
    );
  });

  it('has a link-local address only where there is nothing else', () => {
    const cable = { ...lo, eth0: [ipv4('169.254.7.7')] };
    expect(choose(cable)).toBe('eth0');
    expect(choose({ ...cable, wlan0: [ipv4('192.168.1.7')] }, route('eth0', 0))).toBe('wlan0');
  });

  it('is the configured one, even a virtual one, and nothing else while that one is away', () => {
    const some = { ...lo, eth0: [ipv4('10.0.0.2')], wg0: [ipv4('10.9.0.2')] };
    expect(choose(some, route('eth0', 0), 'wg0')).toBe('wg0');
    expect(choose(some, route('eth0', 0), 'eth7')).toBeUndefined();
  });

  it('keeps its address while that is still there, and prefers a routable one at first', () => {
    const infos = { eth0: [ipv4('169.254.7.7'), ipv4('10.0.0.2'), ipv4('10.0.0.3')] };
    expect(chooseInterface('auto', infos, '')?.address).toBe('10.0.0.2');
    const before = { name: 'eth0', address: '10.0.0.3', mac: '' };
    expect(chooseInterface('auto', infos, '', before)?.address).toBe('10.0.0.3');
  });

  it('ignores routes that are down, and lines that are not routes', () => {
    expect(defaultRouteInterfaces(`${header}eth0\t00000000\t0101A8C0\t0002\t0\t0\t0\t00000000\n\nnonsense\n`)).toEqual(
      [],
    );
  });
});

describe('HostNetwork', () => {
  afterEach(() => void vi.useRealTimers());

  it('tells when the address changes, goes away and comes back, and only then', () => {
    vi.useFakeTimers();
    let interfaces: Interfaces = { ...lo, eth0: [ipv4('10.0.0.2')] };
    const network = new HostNetwork({ interface: 'auto', read: () => ({ interfaces, routes: header }) });
    const seen: (string | undefined)[] = [];
    network.onChange(state => seen.push(state.chosen?.address));
    expect(network.state().chosen?.address).toBe('10.0.0.2');
    vi.advanceTimersByTime(10_000);
    expect(seen).toEqual([]);
    for (const next of [{ ...lo, eth0: [ipv4('10.0.0.9')] }, lo, { ...lo, eth0: [ipv4('10.0.0.2')] }]) {
      interfaces = next;
      vi.advanceTimersByTime(2000);
    }
    expect(seen).toEqual(['10.0.0.9', undefined, '10.0.0.2']);
    network.stop();
    interfaces = lo;
    vi.advanceTimersByTime(10_000);
    expect(seen).toHaveLength(3);
  });

  it('reads this machine without failing', () => {
    const network = new HostNetwork({ interface: 'auto' });
    expect(network.state().addresses).toEqual(expect.any(Array));
    network.stop();
  });
});
