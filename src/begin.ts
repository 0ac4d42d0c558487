/** What an agent reads or makes once, before anything runs: its state, key, clock, network and machine. */
import type { Config } from './config.ts';
import type { Memory } from './core/world.ts';
import { SystemClock } from './io/clock.ts';
import { MachineHost } from './io/host.ts';
import { type Identity, loadOrCreateIdentity } from './io/identity.ts';
import { HostNetwork } from './io/network.ts';
import { FileStore } from './io/store.ts';
import type { HostFacts } from './ports.ts';

export interface Beginnings {
  store: FileStore;
  memory: Memory;
  identity: Identity;
  clock: SystemClock;
  network: HostNetwork;
  host: MachineHost;
  facts: HostFacts;
}

/** @throws EnvironmentError where the state directory or the key cannot be read or written */
export async function begin(config: Config): Promise<Beginnings> {
  const store = new FileStore(config.stateDir);
  const memory = await store.load();
  const identity = await loadOrCreateIdentity(config.stateDir);
  const clock = new SystemClock({ stateDir: config.stateDir });
  await clock.start();
  const network = new HostNetwork({ interface: config.interface });
  const host = new MachineHost({
    stateDir: config.stateDir,
    mac: () => network.state().chosen?.mac,
    // The virtual Pis of a lab share one board, and are not one Pi.
    hardware: process.env.PI_SWARM_HARDWARE,
  });
  return { store, memory, identity, clock, network, host, facts: await host.facts() };
}
