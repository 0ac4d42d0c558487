/** What this Pi has of its cluster: nothing without a secret, and with one its peers and how it finds them. */
import type { Config } from './config.ts';
import type { NodeId } from './core/world.ts';
import type { SystemClock } from './io/clock.ts';
import { deriveCluster } from './io/cluster.ts';
import { type Identity, issueNodeCertificate } from './io/identity.ts';
import { MdnsDiscovery } from './io/mdns.ts';
import { TlsPeers } from './io/peers.ts';
import type { ClusterSecret } from './io/secret.ts';
import { combineDiscovery, StaticPeers } from './io/static-peers.ts';
import type { Logger } from './log.ts';
import type { Discovery, Network, Peers } from './ports.ts';

export interface MembershipPorts {
  config: Config;
  identity: Identity;
  clock: SystemClock;
  network: Network;
  log: Logger;
  /** A peer came, went, or said something new. */
  onChange(): void;
  onRequest(from: NodeId, command: string, body: unknown): Promise<unknown>;
}

interface Belonging {
  tag: string;
  peers: Peers;
  discovery: Discovery;
}

export class Membership {
  readonly #ports: MembershipPorts;
  #now: Belonging | undefined;

  constructor(ports: MembershipPorts) {
    this.#ports = ports;
  }

  /** Public tag of the cluster; undefined while unclaimed. */
  get tag(): string | undefined {
    return this.#now?.tag;
  }

  get peers(): Peers | undefined {
    return this.#now?.peers;
  }

  /** Belongs to the cluster of this secret from now on; the one before, if there was one, is left behind. */
  async enter(secret: ClusterSecret): Promise<void> {
    await this.leave();
    const { config, identity, clock, network, log, onChange, onRequest } = this.#ports;
    const cluster = deriveCluster(secret);
    const certificate = (): string =>
      issueNodeCertificate(cluster, identity, { hostname: config.name, addresses: network.state().addresses });
    const peers = new TlsPeers({ cluster, identity, certificate, port: config.port, clock, network, log });
    peers.onChange(onChange);
    peers.onRequest(onRequest);
    const discovery = this.#discovery(cluster.tag);
    discovery.onHint(hint => peers.hint(hint));
    discovery.onGoodbye(id => peers.probe(id));
    await peers.start();
    this.#now = { tag: cluster.tag, peers, discovery };
    await discovery.start();
  }

  #discovery(tag: string): Discovery {
    const { config, identity, clock, network, log } = this.#ports;
    const sources: Discovery[] = [
      new StaticPeers({
        peers: config.peers.map(({ host, port }) => `${host}:${port}`),
        defaultPort: config.port,
        clock,
      }),
    ];
    if (config.mdns) {
      sources.push(
        new MdnsDiscovery({ tag, id: identity.id, port: config.port, name: config.name, network, clock, log }),
      );
    }
    return combineDiscovery(sources);
  }

  async leave(): Promise<void> {
    const before = this.#now;
    this.#now = undefined;
    await before?.discovery.stop();
    await before?.peers.stop();
  }
}
