/** Feeds the chronicle: the leader writes what happened, the others fetch it when its version changes. In memory only. */
import type { EventList, EventQuestion } from './commands/types.ts';
import {
  adopt,
  answerTo,
  type Chronicle,
  EMPTY_CHRONICLE,
  EVENTS_MAX,
  type EventQuery,
  readVersion,
  select,
  versionOf,
  write,
} from './core/chronicle.ts';
import type { ClusterEvent } from './core/event-types.ts';
import { tell } from './core/events.ts';
import type { World } from './core/observe.ts';
import { NOTHING_SEEN, witness } from './core/witness.ts';
import type { NodeId, PiStatus } from './core/world.ts';
import { readChronicle, readChronicleRequest } from './peer-answers.ts';
import type { Peers } from './ports.ts';
import { leaderOf, type Member, membersOf } from './swarm-peers.ts';

const FETCH_MS = 3_000;
/** A new leader asks the others first what has been told, and waits for them so long. */
const CATCH_UP_MS = 6_000;

const revisionOf = ({ status }: Member): number => readVersion(status.events ?? '').revision;

export interface EventFeedPorts {
  peers(): Peers | undefined;
  /** Milliseconds since 1970. */
  wall(): number;
  /** This Pi, as the leader, has written these: new ones, and such as are complete now. */
  onNews(events: ClusterEvent[]): void;
  trouble(what: string, error: unknown): void;
}

export class EventFeed {
  readonly #ports: EventFeedPorts;
  #chronicle: Chronicle = EMPTY_CHRONICLE;
  #seen = NOTHING_SEEN;
  #swarmId: string | undefined;
  /** Since when this Pi leads and has not written yet; undefined while it does not lead. */
  #leading: { sinceMs: number; ready: boolean } | undefined;
  /** This Pi in its newest turn. */
  #self: { pi: string; leader: boolean } | undefined;
  #fetching = false;
  #troubled = false;

  constructor(ports: EventFeedPorts) {
    this.#ports = ports;
  }

  /** With the version of what this Pi knows of its swarm's events: the others fetch the leader's, a new leader the newest. */
  stamp(status: PiStatus): PiStatus {
    const knows = this.#chronicle.revision > 0 && this.#swarmId !== undefined;
    return knows ? { ...status, events: versionOf(this.#chronicle) } : status;
  }

  /** For `pi-swarm events` on this Pi; also while no leader can be reached. */
  list({ agoMs, limit, after }: EventQuestion): EventList {
    const query: EventQuery = { limit: limit ?? EVENTS_MAX, after: after ?? 0 };
    if (agoMs !== undefined) query.sinceMs = this.#ports.wall() - agoMs;
    const { revision } = this.#chronicle;
    const list: EventList = { revision, events: select(this.#chronicle, query) };
    // The first word of a leader is what it found: the revision grows with that, too.
    return revision === 0 && this.#self ? { ...list, unheard: { ...this.#self } } : list;
  }

  /** What peers get for the command `chronicle`. */
  answer(body: unknown): unknown {
    return answerTo(this.#chronicle, readChronicleRequest(body));
  }

  /** After each turn of the loop, before its status is told. */
  onTurn(world: World): void {
    this.#seen = witness(world, this.#seen);
    const { swarm, self, memory } = world;
    this.#self = { pi: self.name, leader: swarm.state === 'active' && swarm.leader };
    if (swarm.state !== 'active' || !swarm.leader) this.#leading = undefined;
    if (swarm.state !== 'active') {
      // An engine that has been started finds its managers later than its agent does, and without them never.
      const again = memory.intent === 'stay' && this.#chronicle.revision === 0 ? memory.swarmId : undefined;
      if (again !== undefined) this.#follow(again, true);
      return;
    }
    if (!swarm.leader) {
      this.#follow(swarm.swarmId, swarm.role === 'manager');
      return;
    }
    this.#enter(swarm.swarmId);
    this.#leading ??= { sinceMs: world.nowMs, ready: false };
    if (this.#leading.ready || this.#isCaughtUp(world, swarm.swarmId)) this.#write(world);
  }

  /** What happened to another swarm is no news of this one. */
  #enter(swarmId: string): void {
    if (this.#swarmId !== undefined && this.#swarmId !== swarmId) this.#chronicle = EMPTY_CHRONICLE;
    this.#swarmId = swarmId;
  }

  #follow(swarmId: string, manager: boolean): void {
    this.#enter(swarmId);
    const leader = leaderOf(this.#ports.peers(), swarmId);
    if (this.#self) this.#self.leader = leader !== undefined;
    // Where nobody leads, one that has just been started takes what the others know.
    const source = leader ?? (this.#chronicle.revision === 0 ? this.#newestOf(swarmId) : undefined);
    const version = source?.status.events;
    if (source && version !== undefined && version !== versionOf(this.#chronicle)) void this.#fetch(source.id, manager);
  }

  #write(world: World): void {
    const told = tell(world, this.#seen, this.#chronicle.told);
    if (told === undefined) return;
    const before = this.#chronicle;
    if (this.#leading) this.#leading.ready = true;
    this.#chronicle = write(before, world.self.boot, told.told, told.news, world.wallMs);
    const news = select(this.#chronicle, { after: before.revision });
    if (news.length > 0) this.#ports.onNews(news);
  }

  /** A leader whose agent has just started, or that has missed the last words of the one before, would tell anew. */
  #isCaughtUp(world: World, swarmId: string): boolean {
    if (this.#fetching) return false;
    if (world.nowMs - (this.#leading?.sinceMs ?? world.nowMs) >= CATCH_UP_MS) return true;
    const members = membersOf(this.#ports.peers(), swarmId);
    const best = this.#newestOf(swarmId);
    if (best !== undefined && revisionOf(best) > this.#chronicle.revision) {
      void this.#fetch(best.id, true);
      return false;
    }
    if (this.#chronicle.told?.swarmId === swarmId) return true;
    // Nothing was told that it knows of: somebody who is not heard yet may know.
    const ready = (world.nodes ?? []).filter(({ state }) => state === 'ready').length;
    return members.length + 1 >= ready;
  }

  /** Of those that are not dead. */
  #newestOf(swarmId: string): Member | undefined {
    return membersOf(this.#ports.peers(), swarmId).sort((a, b) => revisionOf(b) - revisionOf(a))[0];
  }

  async #fetch(from: NodeId, manager: boolean): Promise<void> {
    const peers = this.#ports.peers();
    if (peers === undefined || this.#fetching) return;
    this.#fetching = true;
    const own = this.#chronicle;
    try {
      const request = { version: versionOf(own), manager };
      const answer = readChronicle(await peers.request(from, 'chronicle', request, { timeoutMs: FETCH_MS }));
      if (answer !== undefined && this.#chronicle === own) this.#chronicle = adopt(own, answer);
      this.#troubled = false;
    } catch (error) {
      // Each turn tries again: one line for the first of a row is enough.
      if (!this.#troubled) this.#ports.trouble('could not fetch the events', error);
      this.#troubled = true;
    } finally {
      this.#fetching = false;
    }
  }
}
