/**
 * The LAN: a network namespace with a bridge, on which the laptop's address lies. Both ends of every cable are inside
 * namespaces, so this machine's own interfaces, routes and firewall never change.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { LabCgroup } from './cgroup.ts';
import { SEARCH_PATH } from './environment.ts';
import { laptopAddress, piAddress, piMac, piName } from './names.ts';
import { command, commandOk, markOf, type ProcessMark, until } from './process.ts';

const BRIDGE = 'lan';

/** Starts the process that keeps the namespace; it also has the lab's /etc/hosts. */
export async function startLan(directory: string, name: string, cgroup: LabCgroup): Promise<ProcessMark> {
  cgroup.make('lan');
  const { root, leaf } = cgroup.joinFiles('lan');
  const join_ = [...(leaf.length > 0 ? leaf : root)].map(file => `echo $$ >'${file}'`).join('; ');
  const keep =
    'mount --bind "$1" /etc/hosts && mount -t sysfs sysfs /sys && echo ready && exec sleep infinity >/dev/null';
  const script = `set -e; ${join_}; exec unshare --net --mount --propagation private sh -c '${keep}' sh "$1"`;
  const holder = spawn('sh', ['-c', script, 'sh', join(directory, 'hosts')], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: SEARCH_PATH },
    cwd: '/',
  });
  await firstLine(holder, 'the LAN');
  const mark = markOf(holder.pid ?? 0);
  await inLan(mark, [
    'link set lo up',
    `link add ${BRIDGE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
    `address add ${laptopAddress(name)}/24 brd + dev ${BRIDGE}`,
    `link set ${BRIDGE} up`,
    `route add 224.0.0.0/4 dev ${BRIDGE}`,
  ]);
  return mark;
}

/** Waits for `ready` of a namespace's first process. The pipes are given up afterwards. */
export async function firstLine(child: ReturnType<typeof spawn>, what: string): Promise<void> {
  let said = '';
  let complaint = '';
  child.stdout?.on('data', chunk => {
    said += chunk;
  });
  child.stderr?.on('data', chunk => {
    complaint += chunk;
  });
  const failed = () => new Error(`${what} could not be started: ${complaint.trim() || 'it said nothing'}`);
  child.on('error', error => {
    complaint ||= error.message;
  });
  await until(
    () => failed().message,
    () => {
      if (said.includes('ready')) return true;
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) throw failed();
      return false;
    },
    { timeoutMs: 20_000, everyMs: 5 },
  );
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.unref();
}

/** Runs ip(8) commands in the network namespace of a process. */
export async function inLan(owner: ProcessMark, lines: string[]): Promise<void> {
  const stdin = lines.map(line => `${line}\n`).join('');
  await commandOk(['nsenter', `--net=/proc/${owner.pid}/ns/net`, 'ip', '-batch', '-'], { stdin });
}

/** The cable from the bridge to the Pi's eth0. No default route: see docs/decisions.md. */
export async function connectPi(lan: ProcessMark, lab: string, index: number, init: ProcessMark): Promise<void> {
  const port = piName(index);
  await inLan(lan, [
    `link add ${port} type veth peer name eth0 address ${piMac(lab, index)} netns ${init.pid}`,
    `link set ${port} master ${BRIDGE}`,
    `link set ${port} up`,
  ]);
  await inLan(init, [
    'link set lo up',
    `address add ${piAddress(lab, index)}/24 brd + dev eth0`,
    'link set eth0 up',
    'route add 224.0.0.0/4 dev eth0',
  ]);
}

/** The switch's side of the cable: pulled or plugged in. */
export const setCable = (lan: ProcessMark, pi: string, plugged: boolean): Promise<void> =>
  inLan(lan, [`link set ${pi} ${plugged ? 'up' : 'down'}`]);

/** Takes the cable away, where the kernel has not done so yet (it removes a dead namespace's links a little later). */
export async function removeCable(lan: ProcessMark, pi: string): Promise<void> {
  await command(['nsenter', `--net=/proc/${lan.pid}/ns/net`, 'ip', 'link', 'delete', pi]);
}

export interface Cable {
  plugged: boolean;
  /** Bridge it is on. */
  segment: string;
}

/** Cables as the LAN's namespace has them, by Pi. */
export async function cables(lan: ProcessMark): Promise<Map<string, Cable>> {
  const text = await commandOk(['nsenter', `--net=/proc/${lan.pid}/ns/net`, 'ip', '-json', 'link']);
  const links = JSON.parse(text) as { ifname: string; flags: string[]; master?: string }[];
  const found = new Map<string, Cable>();
  for (const { ifname, flags, master } of links) {
    if (master !== undefined) found.set(ifname, { plugged: flags.includes('UP'), segment: master });
  }
  return found;
}

/** Moves each group of Pis to a segment of its own; the first keeps the laptop's. */
export async function splitLan(lan: ProcessMark, groups: readonly (readonly string[])[]): Promise<void> {
  const present = await bridges(lan);
  const lines: string[] = [];
  groups.forEach((group, number) => {
    const bridge = number === 0 ? BRIDGE : `segment${number}`;
    if (!present.includes(bridge)) {
      lines.push(
        `link add ${bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
        `link set ${bridge} up`,
      );
    }
    for (const pi of group) lines.push(`link set ${pi} master ${bridge}`);
  });
  await inLan(lan, lines);
}

/** One LAN again. */
export async function joinLan(lan: ProcessMark): Promise<void> {
  const lines: string[] = [];
  for (const [pi, { segment }] of await cables(lan)) {
    if (segment !== BRIDGE) lines.push(`link set ${pi} master ${BRIDGE}`);
  }
  for (const bridge of await bridges(lan)) if (bridge !== BRIDGE) lines.push(`link delete ${bridge}`);
  await inLan(lan, lines);
}

async function bridges(lan: ProcessMark): Promise<string[]> {
  const text = await commandOk([
    'nsenter',
    `--net=/proc/${lan.pid}/ns/net`,
    'ip',
    '-json',
    'link',
    'show',
    'type',
    'bridge',
  ]);
  // ip prints empty objects for the links that are not of that type.
  return (JSON.parse(text) as { ifname?: string }[]).flatMap(({ ifname }) => (ifname === undefined ? [] : [ifname]));
}
