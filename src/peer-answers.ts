/**
 * What other Pis answer to commands, checked before it is believed: another release, or a Pi that has lost its mind, must
 * not take the others with it. Unknown fields stay, so that a newer release may say more.
 */
import * as z from 'zod';
import type { MeshTable } from './core/mesh.ts';
import type { ClusterView } from './core/show.ts';

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
