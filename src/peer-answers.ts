/**
 * What other Pis answer to commands, checked before it is believed: another release, or a Pi that has lost its mind, must
 * not take the others with it. Unknown fields stay, so that a newer release may say more.
 */
import * as z from 'zod';
import { type ChronicleAnswer, type ChronicleRequest, EVENTS_MAX } from './core/chronicle.ts';
import type { ClusterEvent, Told, ToldPi } from './core/event-types.ts';
import type { MeshTable } from './core/mesh.ts';
import type { ClusterView } from './core/show.ts';
import { printable } from './printable.ts';

/** Far above what a shelf of Pis runs; more is a mistake, and each becomes rules in the kernel. */
const PORTS_MAX = 4096;
const TARGETS_MAX = 4096;
const ROWS_MAX = 16_384;

const text = z.string().max(4096);
const count = z.number().min(0).max(1e15);
const flag = z.boolean();
const protocol = z.enum(['tcp', 'udp']);
const port = z.int().min(1).max(65_535);

const targets = z.array(z.looseObject({ address: text, nodeId: text })).max(TARGETS_MAX);
const mesh = z.object({
  version: text,
  table: z.array(z.looseObject({ protocol, published: port, targets, draining: targets })).max(PORTS_MAX),
});

const node = z.looseObject({
  nodeId: text,
  hostname: text,
  labels: z.record(text, text),
  role: z.enum(['worker', 'manager']),
  availability: z.enum(['active', 'pause', 'drain']),
  state: z.enum(['ready', 'down', 'unknown', 'disconnected']),
  leader: flag,
  voter: flag,
  reachable: flag,
  address: text,
  architecture: text,
  os: text,
  createdAtMs: count,
});
const service = z.looseObject({
  id: text,
  name: text,
  image: text,
  replicas: count.optional(),
  running: count,
  desired: count,
  ports: z
    .array(
      z.looseObject({
        protocol,
        published: z.int().min(0).max(65_535),
        target: port,
        mode: z.enum(['ingress', 'host']),
      }),
    )
    .max(PORTS_MAX),
  createdAtMs: count,
});
const task = z.looseObject({
  id: text,
  serviceId: text,
  nodeId: text,
  slot: count,
  state: text,
  desired: text,
  error: text.optional(),
  containerId: text.optional(),
  ingressAddress: text.optional(),
});
const view = z.object({
  nodes: z.array(node).max(ROWS_MAX),
  services: z.array(service).max(ROWS_MAX),
  tasks: z.array(task).max(ROWS_MAX),
});

/** The answer to `mesh-table`; undefined where it is not one (also where that Pi has none yet). */
export const readMeshTable = (answer: unknown): { version: string; table: MeshTable } | undefined =>
  mesh.safeParse(answer).data;

/** The answer to `cluster-view`; undefined where it is not one (also where that Pi leads no swarm). */
export const readClusterView = (answer: unknown): ClusterView | undefined => view.safeParse(answer).data;

/** Ends on terminals and dashboards. */
const words = z.string().max(512).overwrite(printable);
const name = z.string().max(256).overwrite(printable);
/** Thirty years with a change each second. Whoever leads next counts on from here: near 2^53 that would stand still. */
const revision = z.int().min(0).max(999_999_999);
const event = z.object({
  id: z.string().regex(/^[0-9a-z-]{1,64}$/),
  revision,
  at: z.iso.datetime(),
  kind: z.string().regex(/^[a-z-]{1,40}$/),
  pi: name.optional(),
  service: name.optional(),
  tasks: count.optional(),
  durationMs: count.optional(),
  text: words,
});
const toldPi = z.object({
  nodeId: name,
  id: name,
  name,
  hardware: name,
  role: z.enum(['worker', 'manager']),
  state: z.enum(['here', 'lost', 'off', 'left']),
  cause: z.enum(['silence', 'engine', 'swarm']).optional(),
  goneAtMs: count.optional(),
  tasks: count.optional(),
  losses: z.array(count).max(200).optional(),
  use: z.enum(['active', 'drained', 'paused']),
  drainedAtMs: count.optional(),
  draining: count.optional(),
  unwell: z.object({ word: name, sinceMs: count }).optional(),
});
const told = z.object({
  swarmId: name,
  leader: name,
  heartbeatMs: count.optional(),
  pis: z.array(toldPi).max(4096),
  ghosts: z.array(name).max(4096),
  merging: z.object({ swarmId: name, sinceMs: count }).optional(),
});
const chronicle = z
  .object({
    origin: z.string().regex(/^[0-9a-z]{0,32}$/),
    revision,
    whole: flag,
    events: z.array(event).max(EVENTS_MAX),
    open: z.record(name, name).refine(it => Object.keys(it).length <= EVENTS_MAX),
    // Another release may remember it differently: the events are still good.
    told: told.optional().catch(undefined),
  })
  .refine(({ revision, events }) => events.every(event => event.revision <= revision));
const chronicleRequest = z
  .object({ version: z.string().max(64), manager: flag })
  .catch({ version: '', manager: false });

/** Fields that the types have and a schema lacks would be lost on the way: this line then fails to compile. */
type Lost<T, S extends z.ZodObject> = Exclude<keyof T, keyof z.infer<S>>;
type AllLost = Lost<ClusterEvent, typeof event> | Lost<Told, typeof told> | Lost<ToldPi, typeof toldPi>;
const nothingIsLost: AllLost[] & { length: 0 } = [] as never[] & { length: 0 };
void nothingIsLost;

/** The answer to `chronicle`; undefined where it is not one. */
export function readChronicle(answer: unknown): ChronicleAnswer | undefined {
  const read = chronicle.safeParse(answer).data;
  if (read === undefined) return undefined;
  const { told, ...rest } = read;
  return told === undefined ? rest : { ...rest, told };
}

/** What a peer asks for; of one that asks for nothing sensible, everything. */
export const readChronicleRequest = (body: unknown): ChronicleRequest => chronicleRequest.parse(body);
