/** Builds a move of tasks for tables of rules: pi2 goes, web runs on it and on pi3. */
import type { Facts } from '../../src/core/observe.ts';
import type { SwarmNode, SwarmService, SwarmTask } from '../../src/core/world.ts';
import { active, leading, manager, node, nodeIdOf, peer, service } from './build.ts';

export const going = (name: string, more: Partial<SwarmNode> = {}): SwarmNode =>
  node(name, {
    availability: 'pause',
    labels: { 'pi-swarm.id': '0000000000000002', 'pi-swarm.hardware': 'hw-pi2', 'pi-swarm.leaving': 'shutdown' },
    ...more,
  });
export const web = (replicas: number, more: Partial<SwarmService> = {}): SwarmService => ({
  ...service('web'),
  replicas,
  desired: replicas,
  running: replicas,
  ...more,
});
export const task = (slot: number, pi: string | undefined, more: Partial<SwarmTask> = {}): SwarmTask => ({
  id: `t${slot}${pi}`,
  serviceId: 'web',
  nodeId: pi === undefined ? '' : nodeIdOf(pi),
  slot,
  state: pi === undefined ? 'pending' : 'running',
  desired: 'running',
  ingressAddress: `10.255.0.${slot}`,
  ...more,
});
export const peers = (applied?: string) => [
  peer('pi2', { intent: 'shutdown', swarm: active('pi2'), ...(applied ? { meshApplied: applied } : {}) }),
  peer('pi3', { swarm: active('pi3'), ...(applied ? { meshApplied: applied } : {}) }),
];
export const world = (services: SwarmService[], tasks: SwarmTask[], more: Partial<Facts> = {}): Facts =>
  leading([manager('pi1'), going('pi2'), node('pi3')], { services, tasks, peers: peers(), ...more });
export const leave = (phase: 'surge' | 'block', count = 1) =>
  ({ from: nodeIdOf('pi2'), count, why: 'leave', phase }) as const;
