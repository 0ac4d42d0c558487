/**
 * Engines in memory that behave like real ones as far as the port goes: init, join, leave, promotion, removal, quorum,
 * scheduling, moves, Down detection. Nothing moves but by `FakeSwarmLan.tick()`; time is the `now` it was given. Deterministic.
 */
import type { SwarmNode, SwarmService, SwarmTask } from '../../src/core/world.ts';
import { RefusedError } from '../../src/errors.ts';
import { blocked, ended, scaled, started } from '../../src/io/service-move.ts';
import type { Engine, ImagePlatform, NodeChange, ServiceWish } from '../../src/ports.ts';
import { FakeMember } from './engine-member.ts';
import type { FakeSwarm, Member } from './engine-swarm.ts';
import { refused } from './engine-tasks.ts';

export { FakeSwarmLan } from './engine-lan.ts';

export class FakeEngine extends FakeMember implements Engine {
  readonly images = new Set<string>();
  /** Platforms that the «registry» offers. */
  readonly registry = new Map<string, ImagePlatform[]>();

  override wipe(): void {
    super.wipe();
    this.images.clear();
  }

  async workerToken(): Promise<string> {
    return this.manage('workerToken').token;
  }

  async swarmTune(options: Parameters<Engine['swarmTune']>[0]): Promise<void> {
    const swarm = this.manage('swarmTune');
    swarm.dispatcherHeartbeatMs = options.dispatcherHeartbeatMs ?? swarm.dispatcherHeartbeatMs;
    swarm.nodeCertExpiryMs = options.nodeCertExpiryMs ?? swarm.nodeCertExpiryMs;
    swarm.labels = { ...swarm.labels, ...options.labels };
  }

  async swarmSettings(): ReturnType<Engine['swarmSettings']> {
    const { dispatcherHeartbeatMs, nodeCertExpiryMs, labels } = this.manage('swarmSettings');
    return { dispatcherHeartbeatMs, nodeCertExpiryMs, labels: { ...labels } };
  }

  async nodes(): Promise<SwarmNode[]> {
    const swarm = this.manage('nodes');
    return [...swarm.members.values()].map(member => swarm.toNode(member));
  }

  async nodeUpdate(nodeId: string, change: NodeChange): Promise<void> {
    const swarm = this.manage('nodeUpdate');
    const member = requireMember(swarm, nodeId);
    if (change.role === 'worker' && member.wantedRole === 'manager') {
      const rest = [...swarm.members.values()].filter(other => other.wantedRole === 'manager').length - 1;
      if (rest < 1) throw refused(400, 'attempting to demote the last manager of the swarm');
    }
    if (change.role !== undefined && change.role !== member.wantedRole) {
      member.wantedRole = change.role;
      member.roleAskedMs = this.lan.now();
    }
    member.availability = change.availability ?? member.availability;
    for (const [key, value] of Object.entries(change.labels ?? {})) {
      if (value === null) delete member.labels[key];
      else member.labels[key] = value;
    }
    swarm.changed();
  }

  async nodeRemove(nodeId: string, force: boolean): Promise<void> {
    const swarm = this.manage('nodeRemove');
    const member = requireMember(swarm, nodeId);
    if (member.role === 'manager')
      throw refused(
        400,
        `node ${nodeId} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal`,
      );
    if (!force && member.state !== 'down') throw refused(400, `node ${nodeId} is not down and can't be removed`);
    // The removed engine is not told: it goes on believing that it is an active worker.
    swarm.remove(nodeId);
    swarm.changed();
  }

  async services(): Promise<SwarmService[]> {
    return this.manage('services').services.list();
  }

  async tasks(): Promise<SwarmTask[]> {
    return this.manage('tasks').services.listTasks();
  }

  async serviceCreate(wish: ServiceWish): Promise<{ id: string; warnings: string[] }> {
    return { id: this.manage('serviceCreate').services.create(wish, this.lan.now()), warnings: [] };
  }

  async serviceScale(name: string, replicas: number): Promise<void> {
    const { services } = this.manage('serviceScale');
    if (services.spec(name).Mode?.Replicated === undefined)
      throw new RefusedError(`${name} runs once on every Pi (--global): there is nothing to scale.`);
    services.update(name, spec => scaled(spec, replicas), this.lan.now());
  }

  async serviceMoveStart(id: string, move: Parameters<Engine['serviceMoveStart']>[1]): Promise<void> {
    this.manage('serviceMoveStart').services.update(id, spec => started(spec, move), this.lan.now());
  }

  async serviceMoveBlock(id: string, empty: readonly string[], back?: readonly string[]): Promise<void> {
    this.manage('serviceMoveBlock').services.update(id, spec => blocked(spec, empty, back), this.lan.now());
  }

  async serviceMoveEnd(id: string): Promise<void> {
    this.manage('serviceMoveEnd').services.update(id, ended, this.lan.now());
  }

  async serviceRemove(name: string): Promise<void> {
    this.manage('serviceRemove').services.delete(name);
  }

  async runningTaskContainers(): Promise<number> {
    this.call('runningTaskContainers');
    return this.containers.size;
  }

  async imagePlatforms(image: string): Promise<ImagePlatform[] | undefined> {
    this.call('imagePlatforms');
    return this.registry.get(image);
  }

  async hasImage(image: string): Promise<boolean> {
    this.call('hasImage');
    return this.images.has(image);
  }

  /** The fake's «tar» is the image's name. */
  async loadImage(tar: Uint8Array): Promise<void> {
    this.call('loadImage');
    this.images.add(new TextDecoder().decode(tar));
  }
}

function requireMember(swarm: FakeSwarm, nodeId: string): Member {
  const member = swarm.members.get(nodeId);
  if (member === undefined) throw refused(404, `node ${nodeId} not found`);
  return member;
}
