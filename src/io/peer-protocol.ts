/** What goes over the wire between two agents: versions, limits, shapes. docs/protocol.md says it in words. */
import { isIPv4 } from 'node:net';
import * as z from 'zod';
import type { ActiveSwarm, NodeId, PeerHint, PiStatus, SwarmSummary, Vitals } from '../core/world.ts';
import { RefusedError } from '../errors.ts';
import { printable } from '../printable.ts';

/** Integer versions of the peer protocol that this release speaks. The path's `v1` is the framing, which stays. */
export const VERSIONS: VersionRange = { min: 1, max: 1 };

export const PATH = {
  prefix: '/peer/',
  hello: '/peer/v1/hello',
  heartbeat: '/peer/v1/heartbeat',
  command: '/peer/v1/command/',
};

/** Requests; statuses of a thousand Pis stay well below. */
export const BODY_BYTES_MAX = 256 * 1024;
/** Answers to commands. */
export const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
/** For a whole request to arrive (slow loris). */
export const BODY_TIMEOUT_MS = 5000;
/** For TCP: nobody is that far away. */
export const CONNECT_TIMEOUT_MS = 2000;
/**
 * For TLS after that. A Pi that has just been switched on computes for seconds, and who gives up makes both begin anew, with more
 * to do than before: three of them kept each other from meeting for minutes.
 */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
export const COMMAND_TIMEOUT_MS = 10_000;
export const PEERS_MAX = 1024;
export const GOSSIP_MAX = 64;

export interface VersionRange {
  min: number;
  max: number;
}

export interface Hello {
  id: NodeId;
  versions: VersionRange;
  /** pi-swarm's version and this Pi's name, for the people who read the refusal. */
  release: string;
  name: string;
  /** Where the sender's own server listens. */
  port: number;
}

/** One direction of a heartbeat. At rest it is a hundred bytes: the status travels only when the other has not seen it. */
export interface Beat {
  /** Names the sender's present status. */
  etag: string;
  /** The etag that the sender last saw of the receiver, empty if none. */
  seen: string;
  wallMs: number;
  status?: PiStatus;
}

/** Ends in logs, MQTT and on terminals. */
const text = z.string().max(256).overwrite(printable);
const port = z.int().min(1).max(65_535);
const count = z.number().min(0).max(1e15);
const id = z.string().regex(/^[0-9a-f]{16}$/);
const strings = (max: number) => z.array(text).max(max);

const hint = z.object({ id: id.optional(), host: text, port });
const summary = z.object({ services: count, nodes: count, createdAtMs: count });
const active = z.object({
  state: z.literal('active'),
  swarmId: text,
  nodeId: text,
  role: z.enum(['worker', 'manager']),
  leader: z.boolean(),
  quorum: z.boolean(),
  managers: strings(64),
  summary: summary.optional(),
});
const stuck = <S extends string>(state: S) =>
  z.object({ state: z.literal(state), nodeId: text, reason: z.string().max(1024).overwrite(printable) });
const swarm = z.discriminatedUnion('state', [
  z.object({ state: z.literal('none') }),
  z.object({ state: z.literal('foreign'), nodeId: text }),
  stuck('pending'),
  stuck('error'),
  stuck('locked'),
  active,
]);
const vitals = z.object({
  cpuPercent: z.number().optional(),
  memoryPercent: z.number().optional(),
  diskPercent: z.number().optional(),
  temperatureCelsius: z.number().optional(),
  underVoltage: z.boolean().optional(),
  throttled: z.boolean().optional(),
  uptimeSeconds: z.number().optional(),
});
const status = z.object({
  id,
  name: text,
  version: text,
  boot: text,
  hardware: text,
  address: text,
  port,
  engine: z.enum(['absent', 'slow', 'ready']),
  swarm,
  intent: z.enum(['stay', 'leave', 'shutdown', 'left']),
  candidate: text.optional(),
  dissolving: z.object({ into: text }).optional(),
  members: strings(4096).optional(),
  meshVersion: text.optional(),
  meshApplied: text.optional(),
  events: text.optional(),
  images: strings(64).optional(),
  leaving: strings(PEERS_MAX).optional(),
  released: strings(PEERS_MAX).optional(),
  patience: z.object({ heartbeatMs: count, name: text.optional() }).optional(),
  tasks: count,
  model: text.optional(),
  architecture: text.optional(),
  vitals: vitals.optional(),
  wallMs: count,
  // Agents tell addresses only. Looking names up blocks one of four threads, on which files wait too, for seconds each.
  peers: z
    .array(hint)
    .max(GOSSIP_MAX)
    .transform(hints => hints.filter(({ host }) => isIPv4(host))),
});
const versions = z.object({ min: z.int().min(1).max(1e6), max: z.int().min(1).max(1e6) });
const hello = z.object({ id, versions, release: text, name: text, port });
const beat = z.object({ etag: text, seen: text, wallMs: count, status: status.optional() });

/** Fields that the types have and a schema lacks would be lost on the way: this line then fails to compile. */
type Lost<T, S extends z.ZodObject> = Exclude<keyof T, keyof z.infer<S>>;
type AllLost =
  | Lost<PiStatus, typeof status>
  | Lost<ActiveSwarm, typeof active>
  | Lost<SwarmSummary, typeof summary>
  | Lost<Vitals, typeof vitals>
  | Lost<PeerHint, typeof hint>;
const nothingIsLost: AllLost[] & { length: 0 } = [] as never[] & { length: 0 };
void nothingIsLost;

function read<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new RefusedError(
    `a peer's ${what} is not understood: ${issue?.path.join('.') || what}: ${issue?.message ?? 'wrong shape'}`,
    'Run the same release of pi-swarm on both Pis.',
  );
}

/** @throws RefusedError */
export const readHello = (value: unknown): Hello => read<Hello>(hello, value, 'hello');
/** @throws RefusedError */
export const readBeat = (value: unknown): Beat => read<Beat>(beat, value, 'heartbeat');

/** The highest version that both speak. */
export function commonVersion(a: VersionRange, b: VersionRange): number | undefined {
  const version = Math.min(a.max, b.max);
  return version >= Math.max(a.min, b.min) ? version : undefined;
}

const spoken = ({ min, max }: VersionRange): string => (min === max ? `${max}` : `${min} to ${max}`);

type Speaker = Pick<Hello, 'name' | 'release' | 'versions'>;

/** The same words on both sides: which of the two has to be updated. */
export function versionRefusal(one: Speaker, other: Speaker): RefusedError {
  const [older, newer] = one.versions.max < other.versions.max ? [one, other] : [other, one];
  return new RefusedError(
    `${older.name} (pi-swarm ${older.release}) speaks peer protocol ${spoken(older.versions)}, ` +
      `${newer.name} (pi-swarm ${newer.release}) speaks ${spoken(newer.versions)}: they cannot work together`,
    `Update pi-swarm on ${older.name}.`,
  );
}
