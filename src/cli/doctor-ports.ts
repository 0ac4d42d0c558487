/** Who listens on the cluster's ports: /proc/net and, for root, the open files of all processes (proc(5)). */
import { readdir, readFile, readlink } from 'node:fs/promises';
import type { PortFacts } from './doctor-check.ts';

export interface Binding {
  protocol: 'tcp' | 'udp';
  address: string;
  port: number;
  inode: string;
}

const TCP_LISTEN = '0A';
const UDP_UNCONNECTED = '07';

/** Pure: one file of /proc/net; only what listens. */
export function bindingsIn(text: string, protocol: 'tcp' | 'udp'): Binding[] {
  const state = protocol === 'tcp' ? TCP_LISTEN : UDP_UNCONNECTED;
  const result: Binding[] = [];
  for (const line of text.split('\n').slice(1)) {
    const columns = line.trim().split(/\s+/);
    const [address = '', port = ''] = (columns[1] ?? '').split(':');
    if (columns[3] !== state || port === '') continue;
    result.push({ protocol, address: addressOf(address), port: Number.parseInt(port, 16), inode: columns[9] ?? '' });
  }
  return result;
}

/** The kernel prints 32-bit words in the machine's order (little-endian on everything Docker runs on but s390x). */
function addressOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap(word =>
    (word.match(/../g) ?? []).reverse().map(byte => Number.parseInt(byte, 16)),
  );
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.every(byte => byte === 0)) return '::';
  if (bytes.slice(0, 15).every(byte => byte === 0) && bytes[15] === 1) return '::1';
  return (Buffer.from(bytes).toString('hex').match(/.{4}/g) ?? []).join(':');
}

async function allBindings(): Promise<Binding[]> {
  const files = (['tcp', 'tcp6', 'udp', 'udp6'] as const).map(async name => {
    const text = await readFile(`/proc/net/${name}`, 'utf8').catch(() => '');
    return bindingsIn(text, name.startsWith('tcp') ? 'tcp' : 'udp');
  });
  return (await Promise.all(files)).flat();
}

/** Addresses on which something listens on this TCP port. */
export async function listenersOn(port: number): Promise<string[]> {
  const bindings = await allBindings();
  return bindings
    .filter(binding => binding.protocol === 'tcp' && binding.port === port)
    .map(binding => binding.address);
}

export async function portFacts(agentPort: number): Promise<PortFacts[]> {
  const wanted: [number, 'tcp' | 'udp'][] = [
    [2377, 'tcp'],
    [7946, 'tcp'],
    [7946, 'udp'],
    [4789, 'udp'],
    [agentPort, 'tcp'],
  ];
  const bindings = await allBindings();
  const found = wanted.map(([port, protocol]) => ({
    port,
    protocol,
    binding: bindings.find(candidate => candidate.port === port && candidate.protocol === protocol),
  }));
  const inodes = new Set(
    found.map(({ binding }) => binding?.inode ?? '').filter(inode => inode !== '' && inode !== '0'),
  );
  const holders = inodes.size === 0 ? new Map<string, string>() : await holdersOf(inodes);
  return found.map(({ port, protocol, binding }) => {
    const holder = binding && holders.get(binding.inode);
    return { port, protocol, held: binding !== undefined, ...(holder === undefined ? {} : { holder }) };
  });
}

/** Socket inode → name of the process that has it open. Only root sees the files of others. */
async function holdersOf(inodes: ReadonlySet<string>): Promise<Map<string, string>> {
  const result = new Map<string, string>();
  const pids = (await readdir('/proc').catch(() => [])).filter(name => /^\d+$/.test(name));
  for (const pid of pids) {
    for (const file of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${pid}/fd/${file}`).catch(() => '');
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode === undefined || !inodes.has(inode)) continue;
      result.set(inode, (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?')).trim());
    }
    if (result.size === inodes.size) break;
  }
  return result;
}
