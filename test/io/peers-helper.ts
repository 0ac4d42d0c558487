/** Real TLS peers on loopback: each its own identity and port, under a cluster of one's choice. */
import { generateKeyPairSync } from 'node:crypto';
import type { PiStatus } from '../../src/core/world.ts';
import { type Cluster, deriveCluster } from '../../src/io/cluster.ts';
import { type Identity, issueNodeCertificate, nodeIdOf } from '../../src/io/identity.ts';
import { TlsPeers, type TlsPeersOptions } from '../../src/io/peers.ts';
import { generateSecret } from '../../src/io/secret.ts';

export const makeCluster = (): Cluster => deriveCluster(generateSecret());

export function makeIdentity(): Identity {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { id: nodeIdOf(publicKey), privateKey, publicKey };
}

export const certificateOf = (cluster: Cluster, identity: Identity): string =>
  issueNodeCertificate(cluster, identity, { hostname: 'pi', addresses: [] });

export const systemClock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  sleep: (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms)),
  random: () => Math.random(),
};

export const statusOf = (id: string, port: number, more: Partial<PiStatus> = {}): PiStatus => ({
  id,
  name: `pi-${id.slice(0, 4)}`,
  version: '0.0.0',
  boot: `boot-${id}`,
  hardware: `board-${id}`,
  address: '127.0.0.1',
  port,
  engine: 'ready',
  swarm: { state: 'none' },
  intent: 'stay',
  tasks: 0,
  wallMs: Date.now(),
  peers: [],
  ...more,
});

export class TestPi {
  readonly identity: Identity;
  readonly peers: TlsPeers;
  readonly id: string;

  constructor(cluster: Cluster, options: Partial<TlsPeersOptions> = {}) {
    this.identity = options.identity ?? makeIdentity();
    this.id = this.identity.id;
    this.peers = new TlsPeers({
      cluster,
      identity: this.identity,
      certificate: () => certificateOf(cluster, this.identity),
      clock: systemClock,
      port: 0,
      host: '127.0.0.1',
      heartbeatMs: 400,
      ...options,
    });
  }

  get port(): number {
    return this.peers.server.port;
  }

  async start(more: Partial<PiStatus> = {}): Promise<this> {
    await this.peers.start();
    this.say(more);
    return this;
  }

  say(more: Partial<PiStatus> = {}): void {
    this.peers.setStatus(statusOf(this.id, this.port, more));
  }

  hintAt(port: number): void {
    this.peers.hint({ host: '127.0.0.1', port });
  }

  sees(other: { id: string }): string {
    return this.peers.list().find(peer => peer.id === other.id)?.liveness ?? 'unknown';
  }
}
