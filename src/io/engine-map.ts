/** The engine's JSON as far as pi-swarm reads it, and its translation into the core's words. No I/O. */
import type { PublishedPort, SwarmNode, SwarmService, SwarmTask } from '../core/world.ts';
import type { EngineInfo, ImagePlatform, ServiceWish } from '../ports.ts';
import { moveOf, wishedPlacement, wishedReplicas } from './service-move.ts';

const NS_PER_MS = 1_000_000;

export const toNanoseconds = (ms: number): number => Math.round(ms) * NS_PER_MS;

/** `GET /info`. */
export interface WireInfo {
  ID?: string;
  ServerVersion?: string;
  Architecture?: string;
  OSType?: string;
  NCPU?: number;
  MemTotal?: number;
  DockerRootDir?: string;
  Warnings?: string[] | null;
  Swarm?: {
    NodeID?: string;
    NodeAddr?: string;
    LocalNodeState?: string;
    ControlAvailable?: boolean;
    Error?: string;
    RemoteManagers?: { Addr?: string }[] | null;
    Nodes?: number;
    Managers?: number;
    Cluster?: { ID?: string; CreatedAt?: string; Spec?: { Labels?: Record<string, string> | null } } | null;
  };
}

/** `GET /swarm`. */
export interface WireSwarm {
  ID: string;
  Version: { Index: number };
  Spec: WireSwarmSpec;
  JoinTokens?: { Worker?: string };
}

export interface WireSwarmSpec {
  Labels?: Record<string, string> | null;
  Dispatcher?: { HeartbeatPeriod?: number };
  CAConfig?: { NodeCertExpiry?: number };
}

/** `GET /nodes`. */
export interface WireNode {
  ID: string;
  Version: { Index: number };
  CreatedAt?: string;
  Spec: { Labels?: Record<string, string> | null; Role?: string; Availability?: string };
  Description?: { Hostname?: string; Platform?: { Architecture?: string; OS?: string } };
  Status?: { State?: string; Addr?: string };
  ManagerStatus?: { Leader?: boolean; Reachability?: string; Addr?: string };
}

/** `GET /tasks`. */
export interface WireTask {
  ID: string;
  ServiceID?: string;
  NodeID?: string;
  Slot?: number;
  DesiredState?: string;
  Status?: { State?: string; Err?: string; ContainerStatus?: { ContainerID?: string } };
  NetworksAttachments?: { Network?: { Spec?: { Ingress?: boolean } }; Addresses?: string[] | null }[] | null;
}

/** `GET /services`. */
export interface WireService {
  ID: string;
  Version: { Index: number };
  CreatedAt?: string;
  Spec: WireServiceSpec;
  Endpoint?: { Ports?: WirePort[] | null };
  UpdateStatus?: { State?: string };
}

export interface WireServiceSpec {
  Name?: string;
  Labels?: Record<string, string> | null;
  TaskTemplate?: {
    ContainerSpec?: { Image?: string; Mounts?: WireMount[] | null };
    Placement?: WirePlacement;
  };
  UpdateConfig?: object;
  Mode?: { Replicated?: { Replicas?: number }; Global?: object };
  EndpointSpec?: { Ports?: WirePort[] | null };
}

export interface WireMount {
  Type?: string;
  VolumeOptions?: { DriverConfig?: { Name?: string; Options?: Record<string, string> | null } | null } | null;
}

export interface WirePlacement {
  Constraints?: string[] | null;
  MaxReplicas?: number;
  Preferences?: object[] | null;
  Platforms?: { OS?: string; Architecture?: string }[] | null;
}

export interface WirePort {
  Protocol?: string;
  PublishedPort?: number;
  TargetPort?: number;
  PublishMode?: string;
}

export function toInfo(wire: WireInfo, apiVersion: string): EngineInfo {
  const swarm = wire.Swarm ?? {};
  const cluster = swarm.Cluster;
  return {
    engineId: wire.ID ?? '',
    version: wire.ServerVersion ?? '',
    apiVersion,
    architecture: wire.Architecture ?? '',
    os: wire.OSType ?? 'linux',
    cpus: wire.NCPU ?? 0,
    memoryBytes: wire.MemTotal ?? 0,
    rootDirectory: wire.DockerRootDir,
    swarm: {
      localState: oneOf(swarm.LocalNodeState, ['inactive', 'pending', 'active', 'error', 'locked'] as const),
      nodeId: swarm.NodeID ?? '',
      nodeAddress: swarm.NodeAddr ?? '',
      controlAvailable: swarm.ControlAvailable === true,
      error: swarm.Error ?? '',
      remoteManagers: (swarm.RemoteManagers ?? []).flatMap(manager => manager.Addr ?? []),
      ...(cluster?.ID
        ? { cluster: { id: cluster.ID, labels: cluster.Spec?.Labels ?? {}, createdAtMs: toMs(cluster.CreatedAt) } }
        : {}),
      ...(swarm.ControlAvailable ? { nodes: swarm.Nodes ?? 0, managers: swarm.Managers ?? 0 } : {}),
    },
    warnings: wire.Warnings ?? [],
  };
}

export function toNode(wire: WireNode): SwarmNode {
  return {
    nodeId: wire.ID,
    hostname: wire.Description?.Hostname ?? '',
    labels: wire.Spec.Labels ?? {},
    role: wire.Spec.Role === 'manager' ? 'manager' : 'worker',
    availability: oneOf(wire.Spec.Availability, ['active', 'pause', 'drain'] as const),
    state: oneOf(wire.Status?.State, ['unknown', 'ready', 'down', 'disconnected'] as const),
    leader: wire.ManagerStatus?.Leader === true,
    voter: wire.ManagerStatus !== undefined && wire.ManagerStatus !== null,
    reachable: wire.ManagerStatus?.Reachability === 'reachable',
    // A manager's own entry says 0.0.0.0 in some versions; where it listens for managers is the better word.
    address: wire.ManagerStatus?.Addr?.replace(/:\d+$/, '') || (wire.Status?.Addr ?? ''),
    architecture: wire.Description?.Platform?.Architecture ?? '',
    os: wire.Description?.Platform?.OS ?? '',
    createdAtMs: toMs(wire.CreatedAt),
  };
}

export function toTask(wire: WireTask): SwarmTask {
  const ingress = wire.NetworksAttachments?.find(attachment => attachment.Network?.Spec?.Ingress === true);
  const ingressAddress = ingress?.Addresses?.[0]?.split('/')[0];
  const containerId = wire.Status?.ContainerStatus?.ContainerID;
  return {
    id: wire.ID,
    serviceId: wire.ServiceID ?? '',
    nodeId: wire.NodeID ?? '',
    slot: wire.Slot ?? 0,
    state: wire.Status?.State ?? 'new',
    desired: wire.DesiredState ?? '',
    ...(wire.Status?.Err ? { error: wire.Status.Err } : {}),
    ...(containerId ? { containerId } : {}),
    ...(ingressAddress ? { ingressAddress } : {}),
  };
}

/** Tasks of nodes that are down still say «running»; `docker service ls` does not count them, and neither do we. */
export function toServices(
  services: WireService[],
  tasks: SwarmTask[],
  downNodes: ReadonlySet<string>,
): SwarmService[] {
  const running = new Map<string, number>();
  const wanted = new Map<string, number>();
  for (const task of tasks) {
    if (task.desired !== 'running') continue;
    wanted.set(task.serviceId, (wanted.get(task.serviceId) ?? 0) + 1);
    if (task.state !== 'running' || downNodes.has(task.nodeId)) continue;
    running.set(task.serviceId, (running.get(task.serviceId) ?? 0) + 1);
  }
  return services.map(wire => {
    const replicas = wishedReplicas(wire.Spec);
    return {
      ...movable(wire),
      id: wire.ID,
      name: wire.Spec.Name ?? '',
      image: (wire.Spec.TaskTemplate?.ContainerSpec?.Image ?? '').replace(/@sha256:.*$/, ''),
      ...(replicas === undefined ? {} : { replicas }),
      // In a move more run than were asked for, for a moment.
      running: Math.min(running.get(wire.ID) ?? 0, replicas ?? Number.POSITIVE_INFINITY),
      desired: replicas ?? wanted.get(wire.ID) ?? 0,
      ports: (wire.Endpoint?.Ports ?? wire.Spec.EndpointSpec?.Ports ?? []).flatMap(toPort),
      createdAtMs: toMs(wire.CreatedAt),
    };
  });
}

/** What the rules about moving tasks have to know. */
function movable({ Spec, UpdateStatus }: WireService): Partial<SwarmService> {
  const move = moveOf(Spec);
  const { Constraints, Platforms, MaxReplicas, Preferences } = wishedPlacement(Spec);
  const state = UpdateStatus?.State;
  const halted = state === 'paused' || state === 'rollback_paused';
  // To the swarm, marking tasks is an update, too.
  const marking = move !== undefined && move.phase !== 'surge';
  const settled = marking || [undefined, '', 'completed', 'rollback_completed'].includes(state);
  return {
    labels: Spec.Labels ?? {},
    constraints: Constraints ?? [],
    platforms: (Platforms ?? []).map(({ OS = '', Architecture = '' }) => ({ os: OS, architecture: Architecture })),
    ...(MaxReplicas ? { maxReplicas: MaxReplicas } : {}),
    ...(Preferences?.length ? { preferences: true as const } : {}),
    ...((Spec.TaskTemplate?.ContainerSpec?.Mounts ?? []).some(isLocal) ? { localVolumes: true } : {}),
    ...(settled ? {} : { updating: true, ...(halted ? { updateHalted: true as const } : {}) }),
    ...(move === undefined ? {} : { move }),
  };
}

/** Directories of the Pi, and volumes that no driver or network share brings along. */
function isLocal({ Type, VolumeOptions }: WireMount): boolean {
  if (Type === 'bind') return true;
  if (Type !== 'volume') return false;
  const { Name = 'local', Options } = VolumeOptions?.DriverConfig ?? {};
  return (Name === '' || Name === 'local') && !/nfs|cifs|smb/.test(Options?.type ?? '');
}

/** `POST /services/create`. */
export function toServiceSpec(wish: ServiceWish): object {
  const { mounts, networks } = wish;
  return {
    Name: wish.name,
    Labels: wish.labels,
    TaskTemplate: {
      ContainerSpec: {
        Image: wish.image,
        Env: wish.env,
        ...(wish.command === undefined ? {} : { Args: wish.command }),
        Mounts: mounts.map(({ type, source, target, readOnly }) => ({
          Type: type,
          Source: source,
          Target: target,
          ReadOnly: readOnly,
        })),
      },
      Resources: wish.memoryLimitBytes === undefined ? {} : { Limits: { MemoryBytes: wish.memoryLimitBytes } },
      RestartPolicy: { Condition: 'any', Delay: toNanoseconds(wish.restartDelayMs) },
      Placement: {
        Constraints: wish.constraints,
        Platforms: wish.platforms.map(({ os, architecture }) => ({ OS: os, Architecture: architecture })),
      },
      Networks: networks.map(network => ({ Target: network })),
    },
    Mode: wish.replicas === undefined ? { Global: {} } : { Replicated: { Replicas: wish.replicas } },
    EndpointSpec: {
      Mode: 'vip',
      Ports: wish.ports.map(({ protocol, published, target, mode }) => ({
        Protocol: protocol,
        TargetPort: target,
        // Left out where the swarm shall choose one.
        ...(published === 0 ? {} : { PublishedPort: published }),
        PublishMode: mode,
      })),
    },
  };
}

/** Attestations and the like are listed as `unknown/unknown`: nothing runs them. */
export function toPlatforms(wire: { os?: string; architecture?: string; variant?: string }[]): ImagePlatform[] {
  return wire
    .filter(({ os, architecture }) => os && architecture && os !== 'unknown' && architecture !== 'unknown')
    .map(({ os, architecture, variant }) => ({
      os: os ?? '',
      architecture: architecture ?? '',
      ...(variant ? { variant } : {}),
    }));
}

function toPort(wire: WirePort): PublishedPort[] {
  if (wire.TargetPort === undefined || wire.PublishedPort === undefined) return [];
  if (wire.Protocol !== 'tcp' && wire.Protocol !== 'udp') return [];
  const mode = wire.PublishMode === 'host' ? 'host' : 'ingress';
  return [{ protocol: wire.Protocol, published: wire.PublishedPort, target: wire.TargetPort, mode }];
}

const toMs = (time: string | undefined): number => (time === undefined ? 0 : Date.parse(time) || 0);

/** The first of the known words is what an unknown one is taken for. */
function oneOf<T extends string>(value: string | undefined, words: readonly [T, ...T[]]): T {
  return words.find(word => word === value) ?? words[0];
}
