/** What pi-swarm says over mDNS, and how it reads what others say. Pure; everything read here is unauthenticated. */
import { isIPv4 } from 'node:net';
import type { NodeId } from '../core/world.ts';

/** DNS-SD service type (RFC 6763 §7) as bonjour-service takes it. */
export const SERVICE_TYPE = 'pi-swarm';
export const SERVICE_NAME = `_${SERVICE_TYPE}._tcp.local`;
export const RECORD_VERSION = '1';

/** More records than any honest announcement of ours has; the rest of a packet is not read. */
const RECORDS_PER_PACKET_MAX = 64;
/** Each Pi announces itself and nobody else. A reflector may put some together; a forger as many as fit. */
const PIS_PER_PACKET_MAX = 4;
const NAME_CHARS_MAX = 63;
const HEX16 = /^[0-9a-f]{16}$/;

/** A record as multicast-dns decodes it. `data` depends on the type and is whatever the sender wrote. */
export interface MdnsRecord {
  name: string;
  type: string;
  ttl?: number;
  data?: unknown;
}

export interface MdnsPacket {
  answers: MdnsRecord[];
  additionals: MdnsRecord[];
}

/** The TXT record: constant for the life of the process, since bonjour-service cannot update one. */
export interface OwnRecord {
  /** Public tag of the cluster, 16 hex digits. */
  tag: string;
  id: NodeId;
  /** For people. */
  name: string;
  port: number;
}

export const txtOf = (own: OwnRecord): Record<string, string> => ({
  v: RECORD_VERSION,
  tag: own.tag,
  id: own.id,
  port: String(own.port),
  name: own.name.slice(0, NAME_CHARS_MAX),
});

/** One Pi that a packet spoke of. */
export interface Heard {
  tag: string;
  id: NodeId;
  host: string;
  port: number;
  goodbye: boolean;
}

export interface ReadResult {
  heard: Heard[];
  /** Records of our service type that were not what they should be. */
  invalid: number;
}

const equal = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

/** Key–value pairs of a TXT record (RFC 6763 §6.3: keys are case-insensitive and the first of equal ones counts). */
function pairsOf(data: unknown): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const entry of Array.isArray(data) ? data.slice(0, 16) : []) {
    if (!Buffer.isBuffer(entry)) continue;
    const text = entry.toString('utf8');
    const at = text.indexOf('=');
    const key = text.slice(0, at).toLowerCase();
    if (at > 0 && !pairs.has(key)) pairs.set(key, text.slice(at + 1));
  }
  return pairs;
}

/** Whether an address can belong to a Pi on this network: unicast IPv4 that is not this machine's loopback. */
export function isPlausibleAddress(address: string): boolean {
  if (!isIPv4(address)) return false;
  const first = Number(address.split('.')[0]);
  return first !== 0 && first !== 127 && first < 224;
}

/** The A record that the instance's SRV record points to, else the packet's sender. */
function addressFor(instance: string, records: MdnsRecord[], sender: string): string {
  const srv = records.find(record => record.type === 'SRV' && equal(record.name, instance))?.data as
    | { target?: unknown }
    | undefined;
  const target = typeof srv?.target === 'string' ? srv.target : undefined;
  const a = target && records.find(record => record.type === 'A' && equal(record.name, target))?.data;
  return typeof a === 'string' ? a : sender;
}

/**
 * Reads the TXT records of our service type out of a response. A name whose label is not the id it claims, a wrong
 * version, an implausible address or port: counted as invalid, otherwise ignored.
 *
 * @param sender source address of the packet
 */
export function readPacket(packet: MdnsPacket, sender: string): ReadResult {
  const records = [...packet.answers, ...packet.additionals].slice(0, RECORDS_PER_PACKET_MAX);
  const result: ReadResult = { heard: [], invalid: 0 };
  for (const record of records) {
    if (result.heard.length >= PIS_PER_PACKET_MAX) break;
    const dot = record.name.indexOf('.');
    if (record.type !== 'TXT' || !equal(record.name.slice(dot + 1), SERVICE_NAME)) continue;
    const pairs = pairsOf(record.data);
    const id = pairs.get('id') ?? '';
    const tag = pairs.get('tag') ?? '';
    const port = Number(pairs.get('port'));
    const host = addressFor(record.name, records, sender);
    const sound =
      pairs.get('v') === RECORD_VERSION &&
      HEX16.test(id) &&
      HEX16.test(tag) &&
      equal(record.name.slice(0, dot), id) &&
      Number.isInteger(port) &&
      port > 0 &&
      port < 65_536 &&
      isPlausibleAddress(host);
    if (sound) result.heard.push({ tag, id, host, port, goodbye: record.ttl === 0 });
    else result.invalid += 1;
  }
  return result;
}
