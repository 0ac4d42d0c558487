/** `deploy` and `prepare-whoami`: a new service, checked before anything is created. On a manager. */
import * as z from 'zod';
import { isImageName } from '../core/image.ts';
import { RESERVED_PORTS } from '../core/mesh.ts';
import type { SwarmNode, SwarmService } from '../core/world.ts';
import { messageOf, RefusedError, UsageError } from '../errors.ts';
import type { ServiceWish } from '../ports.ts';
import { readBody, replicaCount, serviceName } from './body.ts';
import { placementOf } from './placement.ts';
import type { CommandDeps, DeployReport } from './types.ts';

/** What people call the demo image. */
const WHOAMI = 'whoami';
const WHOAMI_PUBLISHED = 80;
/** Making the image takes a second on a new Pi, some on an old one. */
const PREPARE_MS = 45_000;
const PEERS_AT_ONCE = 8;

const text = z.string().max(4096);
const port = z.int().min(1).max(65535);
const deployBody = z.strictObject({
  image: z.string().min(1).max(512),
  name: serviceName.optional(),
  global: z.boolean().default(false),
  replicas: replicaCount.optional(),
  ports: z
    .array(
      z.strictObject({
        protocol: z.enum(['tcp', 'udp']),
        published: port,
        target: port,
        mode: z.enum(['ingress', 'host']),
      }),
    )
    .max(100)
    .optional(),
  env: z.array(z.string().max(32_768)).max(500).default([]),
  constraints: z.array(text).max(50).default([]),
  labels: z.record(z.string().max(256), text).default({}),
  command: z.array(text).max(100).optional(),
  mounts: z
    .array(z.strictObject({ type: z.enum(['volume', 'bind']), source: text, target: text, readOnly: z.boolean() }))
    .max(50)
    .default([]),
  networks: z.array(text).max(20).default([]),
  restartDelayMs: z.int().min(0).max(3_600_000).optional(),
  memoryLimitBytes: z
    .int()
    .min(4 * 1024 * 1024)
    .optional(),
});

/** What the command line sends; everything but the image may be left out. */
export type DeployBody = z.input<typeof deployBody>;

/** @returns DeployReport @throws RefusedError for a name in use, or an image that runs on none of the Pis */
export async function deploy(deps: CommandDeps, body: unknown): Promise<DeployReport> {
  const asked = readBody(deployBody, body);
  const wish = wishOf(deps, asked);
  const [services, nodes] = await Promise.all([deps.engine.services(), deps.engine.nodes()]);
  const report: Omit<DeployReport, 'unchanged' | 'warnings'> = {
    name: wish.name,
    image: wish.image,
    ports: wish.ports,
    addresses: addressesOf(deps, nodes),
  };
  const same = services.find(service => service.name === wish.name);
  if (same !== undefined) {
    // Who names no number takes what is there, also after a scale.
    const any = asked.replicas === undefined && !asked.global && same.replicas !== undefined;
    refuseUnlessSame(any ? { ...wish, replicas: same.replicas } : wish, same);
    return { ...report, unchanged: true, warnings: [] };
  }
  refuseReservedPorts(wish);
  refuseTakenPorts(wish, services);
  const warnings: string[] = [];
  if (wish.image === deps.whoami.image) warnings.push(...(await prepareEverywhere(deps)));
  else {
    const placement = placementOf(wish.image, await deps.engine.imagePlatforms(wish.image), nodes);
    wish.platforms = placement.platforms;
    warnings.push(...placement.warnings);
  }
  const created = await deps.engine.serviceCreate(wish);
  return { ...report, unchanged: false, warnings: [...warnings, ...created.warnings] };
}

function wishOf(deps: CommandDeps, body: z.output<typeof deployBody>): ServiceWish {
  const demo = body.image === WHOAMI;
  if (body.global && body.replicas !== undefined) {
    throw new UsageError(
      '--global and --replicas contradict each other',
      '--global runs one on every Pi; leave out one of the two.',
    );
  }
  if (!isImageName(body.image)) throw notAnImage(body.image);
  const { image, name, global, replicas = 1, ports, restartDelayMs, command, memoryLimitBytes, ...rest } = body;
  return {
    ...rest,
    name: name ?? nameOf(image),
    image: demo ? deps.whoami.image : image,
    platforms: [],
    ...(global ? {} : { replicas }),
    ports:
      ports ??
      (demo ? [{ protocol: 'tcp', published: WHOAMI_PUBLISHED, target: deps.whoami.port, mode: 'ingress' }] : []),
    restartDelayMs: restartDelayMs ?? deps.restartDelayMs,
    ...(command === undefined ? {} : { command }),
    ...(memoryLimitBytes === undefined ? {} : { memoryLimitBytes }),
  };
}

/** `registry.example.org/team/web:1.2@sha256:…` → `web` */
export function nameOf(image: string): string {
  const last = image.split('@')[0]?.split('/').at(-1)?.split(':')[0] ?? '';
  const name = last.replace(/[^a-zA-Z0-9_.-]/g, '-').slice(0, 63);
  if (/^[a-zA-Z0-9]/.test(name)) return name.replace(/[^a-zA-Z0-9]+$/, '');
  throw notAnImage(image);
}

const notAnImage = (image: string): UsageError =>
  new UsageError(
    `${image} is not the name of an image`,
    'Write it as for docker run: nginx, nginx:1.27, registry.example.org/team/web',
  );

/** The same deploy again is fine; anything else needs a decision that is not ours. */
function refuseUnlessSame(wish: ServiceWish, service: SwarmService): void {
  const key = (ports: ServiceWish['ports']) =>
    ports
      .map(({ protocol, published, target, mode }) => `${mode} ${published}:${target}/${protocol}`)
      .sort()
      .join();
  const sameImage = service.image.split('@')[0] === wish.image.split('@')[0];
  const samePorts = key(service.ports) === key(wish.ports);
  if (sameImage && samePorts && service.replicas === wish.replicas) return;
  const both = service.replicas !== undefined && wish.replicas !== undefined;
  if (sameImage && samePorts && both) {
    throw new RefusedError(
      `${wish.name} is there already, with ${service.replicas} replicas`,
      `To change how many run: pi-swarm scale ${wish.name}=${wish.replicas}`,
    );
  }
  throw new RefusedError(
    `there is another service called ${wish.name} (${service.image})`,
    `Remove it first: pi-swarm rm ${wish.name}. Or choose another name: --name ${wish.name}2`,
  );
}

/** A service on one of these would take the cluster's own connections, on every Pi at once. */
function refuseReservedPorts({ name, ports }: ServiceWish): void {
  for (const { protocol, published } of ports) {
    const taken = RESERVED_PORTS.find(it => it.protocol === protocol && it.port === published);
    if (taken === undefined) continue;
    throw new RefusedError(
      `${name} cannot be published on port ${published}/${protocol}: it belongs to ${taken.use}`,
      `Choose another one, for example --publish 8080:${ports[0]?.target ?? 80}`,
    );
  }
}

/** The engine says the same, but not whose port it is. */
function refuseTakenPorts(wish: ServiceWish, services: readonly SwarmService[]): void {
  for (const { published, protocol, mode } of wish.ports) {
    if (mode !== 'ingress') continue;
    const owner = services.find(service =>
      service.ports.some(port => port.published === published && port.protocol === protocol && port.mode === 'ingress'),
    );
    if (owner === undefined) continue;
    throw new RefusedError(
      `port ${published}/${protocol} is published by ${owner.name} already`,
      `Choose another: --publish ${published === 80 ? 8080 : published + 1}:…, or remove it: pi-swarm rm ${owner.name}`,
    );
  }
}

/** Where published ports answer: every Pi that is up, this one first. */
function addressesOf(deps: CommandDeps, nodes: readonly SwarmNode[]): string[] {
  const own = deps.snapshot().self.address;
  const others = nodes.filter(node => node.state === 'ready').map(node => node.address);
  return [...new Set([own, ...others])].filter(address => address !== '' && address !== '0.0.0.0');
}

/** Makes the image on this Pi. Peers ask for it, too. */
export async function prepareWhoami({ whoami, self }: CommandDeps): Promise<{ name: string }> {
  await whoami.ensure();
  return { name: self.name };
}

/** @returns a warning for each Pi that could not; the others run it. @throws when none could */
async function prepareEverywhere(deps: CommandDeps): Promise<string[]> {
  const peers = deps.peers.list().filter(peer => peer.liveness !== 'dead' && peer.status.swarm.state === 'active');
  const works = [
    { name: deps.self.name, run: () => deps.whoami.ensure() },
    ...peers.map(({ id, status }) => ({
      name: status.name,
      run: () => deps.peers.request(id, 'prepare-whoami', {}, { timeoutMs: PREPARE_MS }),
    })),
  ];
  const errors: { name: string; error: unknown }[] = [];
  const queue = [...works];
  const worker = async (): Promise<void> => {
    for (let work = queue.shift(); work !== undefined; work = queue.shift()) {
      const { name, run } = work;
      await run().catch((error: unknown) => errors.push({ name, error }));
    }
  };
  await Promise.all(Array.from({ length: PEERS_AT_ONCE }, worker));
  const [first] = errors;
  if (first !== undefined && errors.length === works.length) throw first.error;
  return errors.map(({ name, error }) => `${name} could not make the whoami image: ${messageOf(error)}`);
}
