/** What the rules of events look at, and small questions that they share. */
import type { EventKind, News, Told, ToldPi } from './event-types.ts';
import { HARDWARE_LABEL, ID_LABEL, LEAVING_LABEL, type World } from './observe.ts';
import type { Seen, Witness } from './witness.ts';
import type { Peer, SwarmNode } from './world.ts';

/** `told` is a draft of what will have been told. */
export interface Scene {
  world: World;
  nodes: SwarmNode[];
  told: Told;
  seen: Witness;
  say(news: News): void;
}

export const isOwn = ({ swarm }: World, { nodeId }: { nodeId: string }): boolean =>
  swarm.state === 'active' && swarm.nodeId === nodeId;

/** The agent on a node, also a dead one. */
export const peerOn = ({ peers }: World, { nodeId }: { nodeId: string }): Peer | undefined =>
  peers.find(({ status }) => 'nodeId' in status.swarm && status.swarm.nodeId === nodeId);

/** The agent of a Pi, wherever its engine is now. */
export const agentOf = ({ peers }: World, { id }: { id: string }): Peer | undefined =>
  peers.find(peer => peer.id === id);

export const seenOf = ({ seen }: Scene, { id }: { id: string }): Seen | undefined => seen.pis[id];

/** Since when nothing is heard of it; undefined while something is. Monotonic ms. */
export const silentSince = (seen: Seen | undefined): number | undefined =>
  seen?.silence !== undefined && seen.silence.overMs === undefined ? seen.silence.sinceMs : undefined;

export const isSilent = (seen: Seen | undefined): boolean => silentSince(seen) !== undefined;

/** Milliseconds since 1970 of a monotonic moment. */
export const wallOf = (world: World, atMs: number): number => world.wallMs - (world.nowMs - atMs);

/** A node as it is told when nothing was told of it yet. */
export function identify(world: World, node: SwarmNode): ToldPi {
  const own = isOwn(world, node);
  const peer = peerOn(world, node);
  return {
    nodeId: node.nodeId,
    id: own ? world.self.id : (peer?.id ?? node.labels[ID_LABEL] ?? ''),
    name: node.hostname || node.nodeId,
    hardware: own ? world.self.hardware : (peer?.status.hardware ?? node.labels[HARDWARE_LABEL] ?? ''),
    role: 'worker',
    state: 'here',
    use: 'active',
  };
}

/** One line about a Pi, of now unless `more` says otherwise. */
export const say = (scene: Scene, pi: ToldPi, kind: EventKind, what: string, more: Partial<News> = {}): void =>
  scene.say({ kind, pi: pi.name, atMs: scene.world.wallMs, text: what, ...more });

/** What it says that it is about to do; its node's label says it still when its agent is gone. */
export function goingOf(seen: Seen | undefined, node: SwarmNode): 'leave' | 'shutdown' | undefined {
  const mark = seen?.going?.mark ?? node.labels[LEAVING_LABEL];
  return mark === 'leave' || mark === 'shutdown' ? mark : undefined;
}
