/** Checks of the network, of the agent and of what the agent knows of the cluster. Pure. */
import type { Snapshot } from '../core/snapshot.ts';
import { type Check, type DoctorFacts, error, ok, type PortFacts, warning } from './doctor-check.ts';
import { age, piState } from './render.ts';

export function clusterChecks(facts: DoctorFacts): Check[] {
  return [
    ...facts.ports.map(port => portCheck(port, facts)),
    ...network(facts),
    agent(facts),
    ...ofSnapshot(facts.agent.snapshot),
  ];
}

const PURPOSE: Record<number, string> = {
  2377: 'swarm managers',
  7946: 'the engines’ gossip',
  4789: 'overlay networks (vxlan)',
};

function portCheck({ port, protocol, held, holder }: PortFacts, facts: DoctorFacts): Check {
  const name = `port-${port}-${protocol}`;
  const purpose = PURPOSE[port] ?? 'the agent';
  const text = `port ${port}/${protocol} (${purpose})`;
  if (!held) return ok(name, `${text} is free`);
  const dockerMayHold = port !== facts.agentPort && (holder === undefined || holder === 'dockerd');
  const agentMayHold = port === facts.agentPort && facts.agent.running;
  if (dockerMayHold || agentMayHold) return ok(name, `${text} is in use, as it should be`);
  return error(
    name,
    `${text} is taken by ${holder ?? 'another program'}`,
    `Stop it (sudo ss -lnp 'sport = :${port}' shows it)${port === facts.agentPort ? ', or set another `port` in the configuration of all Pis' : ''}.`,
  );
}

function network(facts: DoctorFacts): Check[] {
  const { interfaces, defaultRoute, agent } = facts;
  const address = agent.snapshot?.self.address;
  const chosen =
    interfaces.find(candidate => candidate.address === address) ??
    interfaces.find(candidate => candidate.name === defaultRoute) ??
    interfaces[0];
  if (chosen === undefined) {
    const cure =
      'Plug in the cable, or set up the Wi-Fi: sudo nmtui (Raspberry Pi OS), /etc/network/interfaces (Debian).';
    return [error('network', 'this Pi has no IPv4 address on any interface', cure)];
  }
  const checks = [ok('network', `the cluster uses ${chosen.name} (${chosen.address})`)];
  if (chosen.multicast === false) {
    const cure = `sudo ip link set ${chosen.name} multicast on, or name the other Pis in the configuration: peers: [pi2.local]`;
    checks.push(warning('multicast', `${chosen.name} has no multicast: other Pis are not found by themselves`, cure));
  } else checks.push(ok('multicast', `${chosen.name} can multicast (mDNS)`));
  const way =
    defaultRoute === undefined
      ? 'no default route: images come only from this network; the cluster needs none'
      : `default route by ${defaultRoute}; DNS is not needed`;
  checks.push(ok('default-route', way));
  return checks;
}

function agent({ agent }: DoctorFacts): Check {
  if (agent.snapshot !== undefined)
    return ok('agent', `the agent runs (${agent.snapshot.version}): ${agent.snapshot.doing}`);
  return error(
    'agent',
    agent.problem ?? 'the agent does not run',
    'sudo systemctl start pi-swarm; why not: journalctl -u pi-swarm',
  );
}

function ofSnapshot(snapshot: Snapshot | undefined): Check[] {
  if (snapshot === undefined) return [];
  return [...peers(snapshot), ...doubles(snapshot), versions(snapshot), power(snapshot), ...notices(snapshot)];
}

function peers({ cluster }: Snapshot): Check[] {
  const others = cluster.pis.filter(pi => !pi.self);
  if (others.length === 0) return [ok('peers', 'no other Pi is known')];
  const silent = others.filter(pi => pi.liveness !== 'alive');
  if (silent.length === 0) {
    return [ok('peers', others.length === 1 ? 'the other Pi answers' : `the ${others.length} other Pis answer`)];
  }
  return silent.map(pi => {
    const since = pi.lastSeenSeconds === undefined ? '' : `, last heard ${age(pi.lastSeenSeconds)} ago`;
    const cure = `Check its power and cable; on it: sudo pi-swarm doctor. Firewalls must let 2377, 3378 and 7946 (tcp), 7946 and 4789 (udp) pass.`;
    return warning('peers', `${pi.name} (${pi.address || 'no address'}) is ${piState(pi)}${since}`, cure);
  });
}

/** What cloned SD cards have in common and must not. */
function doubles({ cluster }: Snapshot): Check[] {
  const living = cluster.pis.filter(pi => pi.liveness === 'alive');
  const of = (what: (pi: (typeof living)[number]) => string): string[] => {
    const values = living.map(what).filter(value => value !== '');
    return [...new Set(values.filter((value, index) => values.indexOf(value) !== index))];
  };
  const names = of(pi => pi.name).map(name =>
    warning(
      'same-name',
      `more than one Pi is called ${name}`,
      'Give one of them another name: sudo hostnamectl set-hostname pi2, then reboot.',
    ),
  );
  const addresses = of(pi => pi.address).map(address =>
    error(
      'same-address',
      `more than one Pi has the address ${address}`,
      'Cloned cards have the same /etc/machine-id and get the same address: on one of them sudo rm /etc/machine-id && sudo systemd-machine-id-setup, then reboot.',
    ),
  );
  const found = [...names, ...addresses];
  return found.length > 0 ? found : [ok('same-name', 'no two Pis have the same name or address')];
}

function versions({ cluster }: Snapshot): Check {
  const versions = [...new Set(cluster.pis.map(pi => pi.version).filter(version => version !== undefined))];
  if (versions.length <= 1) return ok('versions', 'all Pis run the same release of pi-swarm');
  return warning(
    'versions',
    `the Pis run different releases of pi-swarm: ${versions.join(', ')}`,
    'Install the newest on all of them.',
  );
}

function power({ self }: Snapshot): Check {
  if (self.vitals.underVoltage)
    return warning(
      'power',
      'this Pi gets too little voltage',
      'Use the power supply made for this board, and a short cable.',
    );
  if (self.vitals.throttled)
    return warning(
      'power',
      'this Pi is slowed down, by heat or by its power supply',
      'Give it air or a heat sink, and the power supply made for it.',
    );
  return ok('power', 'power and temperature are fine');
}

/** Kinds for which a check above says the same. */
const TOLD = new Set([
  'unclaimed',
  'engine-absent',
  'foreign-swarm',
  'under-voltage',
  'disk-full',
  'no-network',
  'clock',
  'pi-down',
]);

function notices({ notices }: Snapshot): Check[] {
  return notices
    .filter(({ kind, severity }) => !TOLD.has(kind) && (severity !== 'info' || kind === 'refused-peer'))
    .map(({ kind, severity, text, cure }) => ({
      name: kind,
      verdict: severity === 'error' ? 'error' : 'warning',
      text,
      ...(cure === undefined ? {} : { cure }),
    }));
}
