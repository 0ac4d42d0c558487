/**
 * What happened to the cluster, told once: the difference between what has been told and what the leader sees now. Pure.
 * Nothing is remembered but what was told, and that travels to every Pi: whoever leads next goes on from there.
 */
import { UNWELL_LABEL } from './ailments.ts';
import { tellPis } from './event-pis.ts';
import { identify, isOwn, peerOn, type Scene } from './event-scene.ts';
import { tellSwarm } from './event-swarm.ts';
import type { News, Told, ToldPi } from './event-types.ts';
import { useOf } from './event-use.ts';
import type { World } from './observe.ts';
import { majority } from './quorum.ts';
import type { Witness } from './witness.ts';
import type { SwarmNode } from './world.ts';

/** A swarm that is younger than this when its first word is told: its forming is told, too. */
const NEW_SWARM_MS = 2 * 60_000;

/** What is new, and what has been told with it; undefined while this Pi cannot tell. */
export function tell(world: World, seen: Witness, before: Told | undefined): { told: Told; news: News[] } | undefined {
  const { swarm, nodes, services, tasks } = world;
  if (swarm.state !== 'active' || !swarm.leader || nodes === undefined) return undefined;
  if (services === undefined || tasks === undefined || !hearsMajority(world, nodes)) return undefined;
  const news: News[] = [];
  const known = before?.swarmId === swarm.swarmId ? before : undefined;
  const ageMs = world.wallMs - (swarm.summary?.createdAtMs ?? 0);
  const fresh: Told = { swarmId: swarm.swarmId, leader: swarm.nodeId, pis: [], ghosts: [] };
  const isNew = known === undefined && Math.abs(ageMs) < NEW_SWARM_MS;
  const told = known ? structuredClone(known) : isNew ? fresh : { ...fresh, pis: nodes.map(it => asIs(world, it)) };
  const scene: Scene = { world, nodes, told, seen, say: it => news.push(it) };
  tellSwarm(scene);
  tellPis(scene);
  return { told, news: news.sort((a, b) => a.atMs - b.atMs) };
}

/** A leader that is cut off takes everybody else for lost, until its engine notices that it leads nobody. */
function hearsMajority(world: World, nodes: readonly SwarmNode[]): boolean {
  const managers = nodes.filter(({ role }) => role === 'manager');
  const heard = managers.filter(node => isOwn(world, node) || peerOn(world, node)?.liveness !== 'dead');
  return heard.length >= majority(managers.length);
}

/** Taken for told, without a word: the agents have started anew in a swarm that was there before. */
function asIs(world: World, node: SwarmNode): ToldPi {
  const pi = identify(world, node);
  const state = node.state === 'down' ? 'lost' : 'here';
  const goneAtMs = state === 'lost' ? { goneAtMs: world.wallMs } : {};
  const word = node.labels[UNWELL_LABEL];
  const unwell = word === undefined ? {} : { unwell: { word, sinceMs: world.wallMs } };
  return { ...pi, role: node.role, state, use: useOf(node), ...goneAtMs, ...unwell };
}
