/** Checks of Docker and of what the kernel has for it. Pure. */
import { type Check, type DoctorFacts, error, type KernelFeature, ok, warning } from './doctor-check.ts';

/** 1.40 (Docker 19.03) is the first whose swarm routes are what we use. */
const API_MIN = [1, 40] as const;

export function dockerChecks(facts: DoctorFacts): Check[] {
  return [engine(facts), foreign(facts), openEngine(facts), ...kernel(facts), mesh(facts), memoryCgroup(facts)];
}

function engine({ engine }: DoctorFacts): Check {
  if (engine.version === undefined) {
    return error(
      'engine',
      `the Docker Engine does not answer on ${engine.socket}: ${engine.problem ?? 'no reason was given'}`,
      'Install it: sudo apt install docker.io. Start it: sudo systemctl start docker. Why not: journalctl -u docker',
    );
  }
  const [major = 0, minor = 0] = (engine.apiVersion ?? '').split('.').map(Number);
  if (major < API_MIN[0] || (major === API_MIN[0] && minor < API_MIN[1])) {
    return error(
      'engine',
      `Docker Engine ${engine.version} (API ${engine.apiVersion}) is too old`,
      'Install 19.03 or newer: sudo apt install docker.io',
    );
  }
  return ok('engine', `Docker Engine ${engine.version}, API ${engine.apiVersion}`);
}

function foreign({ engine, agent }: DoctorFacts): Check {
  const state = agent.snapshot?.self.swarm.state;
  const inSwarm = engine.swarmState !== undefined && engine.swarmState !== 'inactive';
  if (state === 'foreign' || (state === undefined && inSwarm && engine.swarmIsOurs === false)) {
    return error(
      'foreign-swarm',
      'the engine is in a swarm that pi-swarm did not make; it is left alone',
      'To give this Pi to the cluster: sudo docker swarm leave (with --force on a manager). Its services end then.',
    );
  }
  return ok(
    'foreign-swarm',
    inSwarm ? `the engine’s swarm is ${state ?? engine.swarmState}` : 'no swarm of somebody else is known on this Pi',
  );
}

/** An engine on a TCP port without TLS is a root shell for the whole network, and is found within hours. */
function openEngine({ openEngine }: DoctorFacts): Check {
  const { addresses, answers } = openEngine;
  if (!answers) return ok('open-engine', 'no unauthenticated engine on port 2375');
  const cure =
    'Take tcp://…:2375 out of /etc/docker/daemon.json and of the docker unit, then: sudo systemctl restart docker';
  const local = addresses.every(address => address === '::1' || address.startsWith('127.'));
  if (local) return warning('open-engine', 'the engine answers everyone on this machine on port 2375', cure);
  return error(
    'open-engine',
    'the engine answers on port 2375 without asking who it is: anybody on the network is root here',
    cure,
  );
}

const NEEDED: Partial<Record<KernelFeature, string>> = {
  vxlan: 'overlay networks between the Pis',
  bridge: 'container networks',
  overlay: 'the engine’s storage',
  nf_tables: 'the firewall rules of published ports',
};

function kernel({ kernel, kernelRelease, engine }: DoctorFacts): Check[] {
  return (Object.entries(NEEDED) as [KernelFeature, string][]).map(([feature, purpose]) => {
    const has = kernel[feature];
    if (has) return ok(feature, `the kernel has ${feature}`);
    if (has === undefined)
      return warning(feature, `cannot tell whether the kernel has ${feature}`, `sudo modprobe ${feature} && echo yes`);
    const text = `kernel ${kernelRelease} lacks ${feature}: ${purpose} will not work`;
    const cure = `sudo modprobe ${feature}. On Ubuntu: sudo apt install linux-modules-extra-raspi. After a kernel update: reboot.`;
    // Docker may use iptables-legacy or another storage driver instead.
    const other = (feature === 'nf_tables' || feature === 'overlay') && engine.version !== undefined;
    return other ? warning(feature, text, cure) : error(feature, text, cure);
  });
}

/** Which of the two routing meshes makes published ports answer on every Pi. */
function mesh({ kernel, agent }: DoctorFacts): Check {
  const name = 'routing-mesh';
  const now = agent.snapshot?.mesh;
  if (now?.problem !== undefined)
    return error(
      name,
      `published ports may not answer on every Pi: ${now.problem}`,
      'See the log: journalctl -u pi-swarm',
    );
  if (now?.mode === 'kernel')
    return ok(name, 'published ports answer on every Pi by Docker’s own routing mesh (ip_vs)');
  if (now?.mode === 'nftables')
    return ok(
      name,
      'published ports answer on every Pi by pi-swarm’s routing mesh (nftables): the kernel has no ip_vs',
    );
  if (kernel.ip_vs && kernel.br_netfilter !== false) return ok(name, 'Docker’s own routing mesh will be used (ip_vs)');
  if (kernel.ip_vs) {
    return warning(
      name,
      'the kernel has ip_vs, but no br_netfilter: containers on one Pi may not reach each other’s ports',
      'sudo modprobe br_netfilter',
    );
  }
  if (kernel.nf_tables) return ok(name, 'pi-swarm’s routing mesh will be used (nftables): the kernel has no ip_vs');
  if (kernel.ip_vs === undefined)
    return warning(name, 'cannot tell which routing mesh will be used', 'sudo modprobe ip_vs && echo yes');
  return error(
    name,
    'the kernel has neither ip_vs nor nf_tables: published ports answer only where a task runs',
    'Use a kernel of Debian or Raspberry Pi OS.',
  );
}

function memoryCgroup({ memoryCgroup, engine }: DoctorFacts): Check {
  const name = 'memory-cgroup';
  const works = engine.memoryLimit ?? (memoryCgroup === undefined ? undefined : memoryCgroup !== 'off');
  if (works) return ok(name, `memory limits work (cgroup ${memoryCgroup ?? 'version unknown'})`);
  const cure = 'Add cgroup_enable=memory cgroup_memory=1 to the one line of /boot/firmware/cmdline.txt and reboot.';
  if (works === undefined) return warning(name, 'cannot tell whether memory limits work', cure);
  return warning(name, 'the kernel does not limit memory: one container can take it all', cure);
}
