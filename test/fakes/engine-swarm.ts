/** A swarm in memory: Raft membership, leadership and the dispatcher's heartbeats, with the times of the real one. */
import type { SwarmNode } from '../../src/core/world.ts';
import type { FakeMember } from './engine-member.ts';
import { FakeServices } from './engine-services.ts';

export interface Member {
  nodeId: string;
  engine: FakeMember;
  hostname: string;
  labels: Record<string, string>;
  /** What the spec asks for, and what it is; the second follows after `ROLE_MS`. */
  wantedRole: 'worker' | 'manager';
  role: 'worker' | 'manager';
  roleAskedMs: number;
  availability: 'active' | 'pause' | 'drain';
  /** `unknown`: a new leader has not heard of it yet. */
  state: 'ready' | 'down' | 'unknown';
  /** The address that was advertised when it joined. */
  address: string;
  lastContactMs: number;
  connectedSinceMs: number | undefined;
  createdAtMs: number;
}

export interface FakeTimes {
  /** Raft's election after the leader died: 10–19 ticks of 1 s. */
  electionMs: number;
  /** A promotion or demotion becomes effective. */
  roleMs: number;
  /** A returning node is Ready again. */
  registerMs: number;
  taskStartMs: number;
  taskStopMs: number;
}

export const TIMES: FakeTimes = {
  electionMs: 12_000,
  roleMs: 1_500,
  registerMs: 1_000,
  taskStartMs: 1_000,
  taskStopMs: 500,
};
const HANDOVER_MS = 1_000;

export class FakeSwarm {
  readonly id: string;
  readonly createdAtMs: number;
  readonly members = new Map<string, Member>();
  readonly services: FakeServices;
  readonly times: FakeTimes;
  labels: Record<string, string>;
  dispatcherHeartbeatMs: number;
  nodeCertExpiryMs: number;
  leader: string | undefined;
  #leaderSinceMs: number;
  #leaderLostMs: number | undefined;
  #electionMs: number;

  constructor(
    id: string,
    nowMs: number,
    settings: { labels: Record<string, string>; dispatcherHeartbeatMs: number; nodeCertExpiryMs: number },
    times: FakeTimes,
  ) {
    this.id = id;
    this.createdAtMs = nowMs;
    this.labels = settings.labels;
    this.dispatcherHeartbeatMs = settings.dispatcherHeartbeatMs;
    this.nodeCertExpiryMs = settings.nodeCertExpiryMs;
    this.times = times;
    this.services = new FakeServices(this);
    this.#leaderSinceMs = nowMs;
    this.#electionMs = times.electionMs;
  }

  get token(): string {
    return `SWMTKN-1-${this.id}-worker`;
  }

  add(nodeId: string, engine: FakeMember, role: 'worker' | 'manager', nowMs: number): Member {
    const member: Member = {
      nodeId,
      engine,
      hostname: engine.name,
      labels: {},
      wantedRole: role,
      role,
      roleAskedMs: nowMs,
      availability: 'active',
      state: 'ready',
      address: engine.address,
      lastContactMs: nowMs,
      connectedSinceMs: nowMs,
      createdAtMs: nowMs,
    };
    this.members.set(nodeId, member);
    if (role === 'manager') this.leader ??= nodeId;
    return member;
  }

  voters(): Member[] {
    return [...this.members.values()].filter(member => member.role === 'manager');
  }

  /** Where this manager would get an answer from: the leader, if both see more than half of the managers. */
  leaderFor(engine: FakeMember): Member | undefined {
    const leader = this.leader === undefined ? undefined : this.members.get(this.leader);
    if (leader === undefined || !this.#hasQuorum(leader)) return undefined;
    return engine.reaches(leader.engine) ? leader : undefined;
  }

  /** The member runs, still belongs to this swarm, and is where it said it would be. */
  present(member: Member): boolean {
    const { engine } = member;
    return (
      engine.runs() && engine.swarm === this && engine.nodeId === member.nodeId && engine.address === member.address
    );
  }

  /** A worker speaks to any manager that reaches the leader. */
  connected(member: Member, leader: Member): boolean {
    const { engine } = member;
    if (!engine.runs() || engine.swarm !== this || engine.nodeId !== member.nodeId) return false;
    if (member.role === 'manager' && engine.address !== member.address) return false;
    return this.voters().some(
      voter => this.present(voter) && engine.reaches(voter.engine) && voter.engine.reaches(leader.engine),
    );
  }

  tick(nowMs: number): void {
    const leader = this.#elect(nowMs);
    if (leader === undefined) return;
    for (const member of this.members.values()) this.#heartbeat(member, leader, nowMs);
    for (const member of this.members.values()) this.#role(member, leader, nowMs);
    this.services.tick(nowMs);
  }

  /** Raft would still have a quorum without this manager. */
  canLose(member: Member): boolean {
    const rest = this.voters().filter(voter => voter !== member);
    return rest.length > 0 && rest.filter(voter => this.present(voter)).length >= Math.floor(rest.length / 2) + 1;
  }

  remove(nodeId: string): void {
    this.members.delete(nodeId);
    this.services.forgetNode(nodeId);
  }

  toNode(member: Member): SwarmNode {
    const reachable = member.role === 'manager' && this.present(member);
    return {
      nodeId: member.nodeId,
      hostname: member.hostname,
      labels: { ...member.labels },
      role: member.wantedRole,
      availability: member.availability,
      state: member.state,
      leader: this.leader === member.nodeId,
      voter: member.role === 'manager',
      reachable,
      address: member.address,
      architecture: member.engine.architecture,
      os: 'linux',
      createdAtMs: member.createdAtMs,
    };
  }

  #hasQuorum(voter: Member): boolean {
    if (voter.role !== 'manager' || !this.present(voter)) return false;
    const voters = this.voters();
    const seen = voters.filter(other => this.present(other) && voter.engine.reaches(other.engine)).length;
    return seen >= Math.floor(voters.length / 2) + 1;
  }

  #elect(nowMs: number): Member | undefined {
    const leader = this.leader === undefined ? undefined : this.members.get(this.leader);
    if (leader !== undefined && this.#hasQuorum(leader)) {
      this.#leaderLostMs = undefined;
      return leader;
    }
    this.#leaderLostMs ??= nowMs;
    if (nowMs - this.#leaderLostMs < this.#electionMs) return undefined;
    const next = this.voters().find(voter => this.#hasQuorum(voter));
    if (next === undefined) return undefined;
    this.leader = next.nodeId;
    this.#leaderSinceMs = nowMs;
    this.#leaderLostMs = undefined;
    this.#electionMs = this.times.electionMs;
    for (const member of this.members.values()) {
      member.connectedSinceMs = undefined;
      if (member.state === 'ready') member.state = 'unknown';
    }
    this.changed();
    return next;
  }

  /** Down after three missed heartbeats; a new leader gives everybody twice that. */
  #heartbeat(member: Member, leader: Member, nowMs: number): void {
    if (this.connected(member, leader)) {
      member.connectedSinceMs ??= nowMs;
      member.lastContactMs = nowMs;
      if (nowMs - member.connectedSinceMs >= this.times.registerMs || member.state === 'ready') {
        member.engine.registered();
        if (member.state !== 'ready') this.changed();
        member.state = 'ready';
      }
      return;
    }
    member.connectedSinceMs = undefined;
    const downAtMs = Math.max(
      member.lastContactMs + 3 * this.dispatcherHeartbeatMs,
      this.#leaderSinceMs > this.createdAtMs ? this.#leaderSinceMs + 6 * this.dispatcherHeartbeatMs : 0,
    );
    if (member.state !== 'down' && nowMs >= downAtMs) {
      member.state = 'down';
      this.changed();
    }
  }

  #role(member: Member, leader: Member, nowMs: number): void {
    if (member.role === member.wantedRole || nowMs - member.roleAskedMs < this.times.roleMs) return;
    if (member.wantedRole === 'worker' && !this.canLose(member)) return;
    if (member.wantedRole === 'manager' && !this.connected(member, leader)) return;
    member.role = member.wantedRole;
    if (this.leader === member.nodeId && member.role === 'worker') {
      // A leader that is demoted hands over instead of dying: the others need not wait for their election.
      this.leader = undefined;
      this.#electionMs = HANDOVER_MS;
    }
    this.changed();
  }

  /** Managers hear of it on their events stream. */
  changed(): void {
    for (const voter of this.voters()) if (this.present(voter)) voter.engine.emit('swarm');
  }
}
