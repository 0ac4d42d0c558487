/**
 * The routing mesh as data and as nftables rules: every published port answers on every Pi, whichever runs the tasks.
 * For kernels without ip_vs, where Docker programs nothing; the shape is kube-proxy's nftables mode. No I/O in here.
 */
import type { SwarmService, SwarmTask } from './world.ts';

export interface MeshTarget {
  /** The task's IPv4 address on the ingress network. */
  address: string;
  /** Swarm node id of the Pi that runs it. */
  nodeId: string;
}

export interface MeshPort {
  protocol: 'tcp' | 'udp';
  published: number;
  /** Running tasks that take new connections; sorted by address. */
  targets: MeshTarget[];
  /** Running tasks that were told to stop: they may finish what they have, and get nothing new. */
  draining: MeshTarget[];
}

/** Sorted by port and protocol. Travels between Pis as JSON. */
export type MeshTable = MeshPort[];

/** Both tables have this name: one in the Pi's own network namespace, one in the ingress network's. */
export const MESH_TABLE = 'pi_swarm_mesh';

/** These must never be taken over by a service, or the cluster loses its own ports: SSH, swarm, vxlan, endpoint, agent. */
export const RESERVED_PORTS: readonly { protocol: 'tcp' | 'udp'; port: number; use: string }[] = [
  { protocol: 'tcp', port: 22, use: 'SSH' },
  { protocol: 'tcp', port: 2377, use: "the swarm's managers" },
  { protocol: 'tcp', port: 7946, use: "the swarm's gossip" },
  { protocol: 'udp', port: 7946, use: "the swarm's gossip" },
  { protocol: 'udp', port: 4789, use: 'the overlay networks (vxlan)' },
  { protocol: 'udp', port: 5353, use: 'mDNS' },
  { protocol: 'tcp', port: 3376, use: "the cluster's Docker endpoint" },
  { protocol: 'tcp', port: 3378, use: 'the pi-swarm agent' },
];

/**
 * Published ports in ingress mode and the tasks behind them. A port without a running task is listed: it refuses.
 * Tasks that are about to stop get nothing new while others run: those on `leavingNodes`, and those that a move takes away.
 */
export function meshTable(
  services: readonly SwarmService[],
  tasks: readonly SwarmTask[],
  leavingNodes: readonly string[] = [],
): MeshTable {
  const running = new Map<string, SwarmTask[]>();
  for (const task of tasks) {
    if (task.state !== 'running' || task.ingressAddress === undefined) continue;
    running.set(task.serviceId, [...(running.get(task.serviceId) ?? []), task]);
  }
  const soon = howSoon(services, tasks, leavingNodes);
  return services
    .flatMap(({ id, ports }) =>
      ports
        .filter(port => port.mode === 'ingress')
        .map(({ protocol, published }) => ({ protocol, published, ...split(running.get(id) ?? [], soon) })),
    )
    .sort((a, b) => a.published - b.published || (a.protocol < b.protocol ? -1 : 1));
}

/** How soon a task will be stopped: 0 not at all, 1 as soon as another one runs for it, 2 next. */
type Soon = (task: SwarmTask) => 0 | 1 | 2;

function howSoon(
  services: readonly SwarmService[],
  tasks: readonly SwarmTask[],
  leavingNodes: readonly string[],
): Soon {
  const moving = new Set(services.filter(({ move }) => move?.phase === 'block').map(({ id }) => id));
  const slotOf = ({ serviceId, slot }: SwarmTask): string => `${serviceId} ${slot}`;
  const superseded = new Set(
    tasks
      .filter(({ serviceId, nodeId, desired }) => moving.has(serviceId) && nodeId === '' && desired === 'running')
      .map(slotOf),
  );
  return task => (superseded.has(slotOf(task)) ? 2 : leavingNodes.includes(task.nodeId) ? 1 : 0);
}

/** Where nothing else runs, the ones that go still have to answer: those that go last. */
function split(tasks: readonly SwarmTask[], soon: Soon): Pick<MeshPort, 'targets' | 'draining'> {
  const wanted = tasks.filter(({ desired }) => desired === 'running');
  const last = Math.min(...wanted.map(soon));
  const targets = wanted.filter(task => soon(task) === last);
  return { targets: addresses(targets), draining: addresses(tasks.filter(task => !targets.includes(task))) };
}

const addresses = (tasks: readonly SwarmTask[]): MeshTarget[] =>
  tasks
    .map(({ ingressAddress = '', nodeId }) => ({ address: ingressAddress, nodeId }))
    .sort((a, b) => (a.address < b.address ? -1 : 1));

/** Changes exactly when the table does (FNV-1a, 53 bits of it; a fingerprint among friends, not a signature). */
export function meshVersion(table: MeshTable): string {
  const text = table.map(line).join('\n');
  let high = 0x811c9dc5;
  let low = 0xc9dc5118;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    high = Math.imul(high ^ code, 0x01000193);
    low = Math.imul(low ^ (code + index), 0x01000193);
  }
  return `${table.length}-${(high >>> 0).toString(16).padStart(8, '0')}${(low >>> 0).toString(16).padStart(8, '0')}`;
}

/** Takes the tasks of dead Pis out, before the swarm's managers know that they are gone. */
export function withoutDead(table: MeshTable, deadNodeIds: readonly string[]): MeshTable {
  if (deadNodeIds.length === 0) return table;
  const dead = new Set(deadNodeIds);
  const living = (targets: MeshTarget[]): MeshTarget[] => targets.filter(({ nodeId }) => !dead.has(nodeId));
  return table.map(port => ({ ...port, targets: living(port.targets), draining: living(port.draining) }));
}

/**
 * Silent Pis get nothing new while others can answer: most come back after a stutter, and nobody waits for those that do not.
 * What they have is left alone.
 */
export function withoutSuspects(table: MeshTable, suspectNodeIds: readonly string[]): MeshTable {
  if (suspectNodeIds.length === 0) return table;
  const silent = new Set(suspectNodeIds);
  return table.map(port => {
    const heard = port.targets.filter(({ nodeId }) => !silent.has(nodeId));
    if (heard.length === 0) return port;
    const unheard = port.targets.filter(({ nodeId }) => silent.has(nodeId));
    return { ...port, targets: heard, draining: [...port.draining, ...unheard] };
  });
}

/** Drops what is not well formed (the table may come from another Pi and becomes a root's script), and reserved ports. */
export function soundTable(table: MeshTable): MeshTable {
  return table.filter(isSound).filter(port => !isReserved(port.protocol, port.published));
}

export const isReserved = (protocol: string, port: number): boolean =>
  RESERVED_PORTS.some(reserved => reserved.protocol === protocol && reserved.port === port);

/**
 * For the Pi's own namespace: published ports on any local address go to the ingress namespace. For `nft -f -`, where a
 * file is one transaction. One step before Docker's own DNAT, as its routing mesh is. Masquerading makes the answer come
 * back this way also for containers on the same bridge.
 */
export function nodeRuleset(table: MeshTable, ingressAddress: string): string {
  const ports = portsByProtocol(table);
  if (ports.length === 0 || !isAddress(ingressAddress)) return removal();
  const dnat = ports.map(
    ({ protocol, list }) => `    fib daddr type local ${protocol} dport { ${list} } dnat to ${ingressAddress}`,
  );
  return [
    removal(),
    `table ip ${MESH_TABLE} {`,
    '  chain prerouting {',
    '    type nat hook prerouting priority -105; policy accept;',
    ...dnat,
    '  }',
    '  chain output {',
    '    type nat hook output priority -105; policy accept;',
    ...dnat,
    '  }',
    '  chain postrouting {',
    '    type nat hook postrouting priority 95; policy accept;',
    `    ip daddr ${ingressAddress} ct status dnat masquerade`,
    '  }',
    '}',
    '',
  ].join('\n');
}

/**
 * For the ingress namespace: each new connection goes to the next task, on the published port (the task's namespace turns
 * it into the target port). A port without tasks has no rule: nothing listens, so it is refused at once. Connections to
 * tasks that are in the table no longer are reset, or their clients would wait for a Pi that is gone.
 */
export function ingressRuleset(table: MeshTable, ingressAddress: string): string {
  if (table.length === 0 || !isAddress(ingressAddress)) return removal();
  const balanced = table.filter(({ targets }) => targets.length > 0);
  const live = new Set(
    table.flatMap(({ targets, draining }) => [...targets, ...draining].map(({ address }) => address)),
  );
  const unlessLive = live.size === 0 ? '' : ' ip daddr != @live';
  return [
    removal(),
    `table ip ${MESH_TABLE} {`,
    ...(live.size === 0
      ? []
      : ['  set live {', '    type ipv4_addr;', `    elements = { ${[...live].sort().join(', ')} }`, '  }']),
    '  chain prerouting {',
    '    type nat hook prerouting priority -100; policy accept;',
    ...balanced.map(
      ({ protocol, published, targets }) =>
        `    ip daddr ${ingressAddress} ${protocol} dport ${published} dnat to numgen inc mod ${targets.length} map { ${targets
          .map(({ address }, index) => `${index} : ${address}`)
          .join(', ')} }`,
    ),
    '  }',
    '  chain forward {',
    '    type filter hook forward priority 0; policy accept;',
    `    ct status dnat ct direction original meta l4proto tcp${unlessLive} reject with tcp reset`,
    `    ct status dnat ct direction original${unlessLive} reject`,
    '  }',
    '  chain postrouting {',
    '    type nat hook postrouting priority 100; policy accept;',
    '    ct status dnat masquerade',
    '  }',
    '}',
    '',
  ].join('\n');
}

/** Removes the table, also where there is none (`delete` alone fails then; `destroy` is too new for Debian bookworm). */
export const removal = (): string => `table ip ${MESH_TABLE} {}\ndelete table ip ${MESH_TABLE}\n`;

function portsByProtocol(table: MeshTable): { protocol: string; list: string }[] {
  return ['tcp', 'udp'].flatMap(protocol => {
    const list = table.filter(port => port.protocol === protocol).map(port => port.published);
    return list.length === 0 ? [] : [{ protocol, list: [...new Set(list)].join(', ') }];
  });
}

function isSound(port: MeshPort | null): boolean {
  if (port === null || typeof port !== 'object') return false;
  const { protocol, published, targets, draining } = port;
  if (protocol !== 'tcp' && protocol !== 'udp') return false;
  if (!Number.isInteger(published) || published < 1 || published > 65535) return false;
  return [targets, draining].every(list => Array.isArray(list) && list.every(target => isAddress(target?.address)));
}

const isAddress = (value: unknown): value is string =>
  typeof value === 'string' &&
  /^\d{1,3}(\.\d{1,3}){3}$/.test(value) &&
  value.split('.').every(part => Number(part) <= 255);

const line = ({ protocol, published, targets, draining }: MeshPort): string =>
  `${published}/${protocol} ${[targets, draining].map(list => list.map(({ address, nodeId }) => `${address}@${nodeId}`).join(',')).join(' ')}`;
