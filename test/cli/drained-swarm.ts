/** A swarm in memory of which Pis can be drained. */
import type { CommandDeps } from '../../src/commands.ts';
import type { NodeChange } from '../../src/ports.ts';
import { FakeManager, only, taskOf } from './fakes.ts';

/** A manager that does to nodes what it is told, and whose leader drains those that are marked, `web` first. */
export class DrainedSwarm extends FakeManager {
  readonly changes: [string, NodeChange][] = [];
  /** How often somebody has looked since the mark. */
  looks = 0;

  change(nodeId: string, { availability, labels = {} }: NodeChange): void {
    this.nodes = this.nodes.map(node => {
      if (node.nodeId !== nodeId) return node;
      const kept = Object.entries({ ...node.labels, ...labels }).filter(
        (entry): entry is [string, string] => entry[1] !== null,
      );
      return { ...node, labels: Object.fromEntries(kept), availability: availability ?? node.availability };
    });
  }

  /** What the leader has done by the next look. */
  lead(): void {
    const leaving = this.nodes.find(({ labels }) => labels['pi-swarm.leaving'] === 'drain');
    if (leaving === undefined) return;
    this.looks++;
    const moves = this.services[this.looks - 2];
    if (moves === undefined && this.looks > this.services.length)
      this.change(leaving.nodeId, { availability: 'drain' });
    this.tasks = this.tasks.map(task =>
      task.serviceId === moves?.id && task.nodeId === leaving.nodeId ? { ...task, nodeId: 'node1' } : task,
    );
  }

  drainable(): CommandDeps['engine'] {
    return only<CommandDeps['engine']>({
      ...this.engine,
      nodes: async () => this.nodes,
      services: async () => structuredClone(this.services),
      tasks: async () => {
        this.lead();
        return this.tasks;
      },
      nodeUpdate: async (nodeId, change) => {
        this.changes.push([nodeId, change]);
        this.change(nodeId, change);
      },
    });
  }

  with(...names: string[]): this {
    for (const [index, name] of names.entries()) {
      const ports: never[] = [];
      const id = `svc${index + 1}`;
      this.services.push({ id, name, image: name, replicas: 1, running: 1, desired: 1, ports, createdAtMs: 0 });
      this.tasks.push(taskOf(1, { id: `task-${name}`, serviceId: id, nodeId: 'node3' }));
    }
    return this;
  }
}
