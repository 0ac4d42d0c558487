/** What this Pi has of its cluster: nothing without a secret, and with one its peers and how it finds them. */
import type { Config } from './config.ts';
import type { Notice } from './core/snapshot.ts';
import type { NodeId } from './core/world.ts';
import { isPiSwarmError } from './errors.ts';
import type { SystemClock } from './io/clock.ts';
import { deriveCluster } from './io/cluster.ts';
import { type Identity, issueNodeCertificate } from './io/identity.ts';
import { MdnsDiscovery } from './io/mdns.ts';
import { TlsPeers } from './io/peers.ts';
import { type ClusterSecret, readSecretFile } from './io/secret.ts';
import { combineDiscovery, StaticPeers } from './io/static-peers.ts';
import type { Logger } from './log.ts';
import type { Discovery, Network, NetworkState, Peers } from './ports.ts';

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

type NetworkListener = (state: NetworkState) => void;

export class Membership {
  readonly #ports: MembershipPorts;
  #now: Belonging | undefined;
  #notice: Notice | undefined;
  /** Of the present belonging only: an earlier one hears nothing any more, and is not kept alive by it. */
  #networkListeners: NetworkListener[] = [];

  constructor(ports: MembershipPorts) {
    this.#ports = ports;
    ports.network.onChange(state => {
      for (const listener of this.#networkListeners) listener(state);
    });
  }

  /** Public tag of the cluster; undefined while unclaimed. */
  get tag(): string | undefined {
    return this.#now?.tag;
  }

  get peers(): Peers | undefined {
    return this.#now?.peers;
  }

  /** What is wrong with the secret's file; nothing while it could be read. */
  notices(): Notice[] {
    return this.#notice ? [this.#notice] : [];
  }

  /**
   * Reads the secret and belongs to its cluster. Without one, or with a damaged one, the Pi stays unclaimed and says so:
   * a Pi that can be asked is of more use than an agent that starts over and over.
   */
  async pickUp(secretFile: string): Promise<void> {
    this.#notice = undefined;
    let secret: ClusterSecret | undefined;
    try {
      secret = await readSecretFile(secretFile);
    } catch (error) {
      if (!isPiSwarmError(error)) throw error;
      const cure = `${error.cure ?? ''} Put the right one in its place: \`sudo pi-swarm join TOKEN --force\`.`.trim();
      this.#notice = {
        severity: 'error',
        kind: 'secret-damaged',
        text: `The cluster secret cannot be used: ${error.message}`,
        cure,
      };
      this.#ports.log.error({ error }, 'the cluster secret cannot be used; this Pi stays unclaimed');
    }
    if (secret === undefined) return;
    await this.enter(secret);
    this.#ports.log.info({ tag: this.tag }, 'this Pi belongs to a cluster');
  }

  /** Belongs to the cluster of this secret from now on; the one before, if there was one, is left behind. */
  async enter(secret: ClusterSecret): Promise<void> {
    await this.leave();
    const { config, identity, clock, log, onChange, onRequest } = this.#ports;
    const network = this.#network();
    const cluster = deriveCluster(secret);
    const certificate = (): string =>
      issueNodeCertificate(cluster, identity, { hostname: config.name, addresses: network.state().addresses });
    const peers = new TlsPeers({ cluster, identity, certificate, port: config.port, clock, network, log });
    peers.onChange(onChange);
    peers.onRequest(onRequest);
    const discovery = this.#discovery(cluster.tag, network);
    discovery.onHint(hint => peers.hint(hint));
    discovery.onGoodbye(id => peers.probe(id));
    try {
      await peers.start();
    } catch (error) {
      await peers.stop();
      throw error;
    }
    this.#now = { tag: cluster.tag, peers, discovery };
    await discovery.start();
  }

  /** The network as one belonging sees it. */
  #network(): Network {
    const { network } = this.#ports;
    const listeners: NetworkListener[] = [];
    this.#networkListeners = listeners;
    return { state: () => network.state(), onChange: listener => void listeners.push(listener), stop: () => {} };
  }

  #discovery(tag: string, network: Network): Discovery {
    const { config, identity, clock, log } = this.#ports;
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
