/** Which interface and address the cluster uses on this machine: the Network port. */
import { readFileSync } from 'node:fs';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import type { Network, NetworkState } from '../ports.ts';

/** Looking again costs about 0.1 ms; two seconds is quick enough for a plug that was pulled. */
const REFRESH_MS = 2000;

/** Interfaces that lead to containers, virtual machines or tunnels, never to another Pi on the shelf. */
const VIRTUAL = /^(lo|docker|br-|veth|virbr|vnet|lxc|lxd|cni|flannel|cali|vxlan|tun|tap|wg|zt|tailscale|ppp|dummy)/;

export type Interfaces = NodeJS.Dict<NetworkInterfaceInfo[]>;

export interface NetworkOptions {
  /** `auto`, or the name of the interface to use. */
  interface: string;
  refreshMs?: number;
  /** For tests. */
  read?: () => { interfaces: Interfaces; routes: string };
}

const readMachine = (): { interfaces: Interfaces; routes: string } => {
  let routes = '';
  try {
    routes = readFileSync('/proc/net/route', 'utf8');
  } catch {
    // Not Linux, or no IPv4 at all: then there is simply no default route.
  }
  return { interfaces: networkInterfaces(), routes };
};

const isLinkLocal = (address: string): boolean => address.startsWith('169.254.');

/**
 * Interfaces with an IPv4 default route, best metric first.
 *
 * @param table `/proc/net/route`: Iface, Destination, Gateway, Flags, RefCnt, Use, Metric, Mask, … numbers in hex but Metric
 */
export function defaultRouteInterfaces(table: string): string[] {
  return table
    .split('\n')
    .slice(1)
    .map(line => line.trim().split(/\s+/))
    .filter(
      fields =>
        fields[1] === '00000000' && fields[7] === '00000000' && (Number.parseInt(fields[3] ?? '', 16) & 1) === 1,
    )
    .sort((a, b) => Number(a[6]) - Number(b[6]))
    .map(fields => fields[0] ?? '');
}

/** The address to use on one interface: the one used before while it is still there, else the first that is not link-local. */
function addressOn(
  infos: NetworkInterfaceInfo[] | undefined,
  before: string | undefined,
): NetworkInterfaceInfo | undefined {
  const usable = (infos ?? []).filter(info => info.family === 'IPv4' && !info.internal);
  const routable = usable.filter(info => !isLinkLocal(info.address));
  const candidates = routable.length > 0 ? routable : usable;
  return candidates.find(info => info.address === before) ?? candidates[0];
}

/**
 * Chooses the interface: the named one; or with `auto` the one with the best default route, else the first that is up and
 * real, and link-local addresses (RFC 3927) only where there is nothing else. Pure.
 */
export function chooseInterface(
  wanted: string,
  interfaces: Interfaces,
  routes: string,
  before?: NetworkState['chosen'],
): NetworkState['chosen'] {
  const names = wanted === 'auto' ? Object.keys(interfaces).filter(name => !VIRTUAL.test(name)) : [wanted];
  const byRoute = defaultRouteInterfaces(routes);
  const rank = (name: string): number => {
    const position = byRoute.indexOf(name);
    return position === -1 ? byRoute.length : position;
  };
  const found = names.flatMap(name => {
    const info = addressOn(interfaces[name], before?.name === name ? before.address : undefined);
    return info ? [{ name, address: info.address, mac: info.mac }] : [];
  });
  // Array.sort is stable: equal ranks stay in the kernel's order.
  return found.sort(
    (a, b) => Number(isLinkLocal(a.address)) - Number(isLinkLocal(b.address)) || rank(a.name) - rank(b.name),
  )[0];
}

const allAddresses = (interfaces: Interfaces): string[] =>
  Object.values(interfaces)
    .flatMap(infos => infos ?? [])
    .filter(info => info.family === 'IPv4' && !info.internal)
    .map(info => info.address);

/** Watches the machine's interfaces by looking again every two seconds: works on every kernel and needs no helper. */
export class HostNetwork implements Network {
  readonly #options: NetworkOptions;
  readonly #listeners: ((state: NetworkState) => void)[] = [];
  readonly #timer: NodeJS.Timeout;
  #state: NetworkState;

  constructor(options: NetworkOptions) {
    this.#options = options;
    this.#state = this.#look();
    this.#timer = setInterval(() => this.#refresh(), options.refreshMs ?? REFRESH_MS);
    this.#timer.unref();
  }

  state(): NetworkState {
    return this.#state;
  }

  onChange(listener: (state: NetworkState) => void): void {
    this.#listeners.push(listener);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#listeners.length = 0;
  }

  #look(): NetworkState {
    const { interfaces, routes } = (this.#options.read ?? readMachine)();
    const chosen = chooseInterface(this.#options.interface, interfaces, routes, this.#state?.chosen);
    return { ...(chosen ? { chosen } : {}), addresses: allAddresses(interfaces) };
  }

  #refresh(): void {
    const before = this.#state.chosen;
    this.#state = this.#look();
    const now = this.#state.chosen;
    if (before?.name === now?.name && before?.address === now?.address) return;
    for (const listener of this.#listeners) listener(this.#state);
  }
}
