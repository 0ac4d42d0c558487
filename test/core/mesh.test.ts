import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import {
  ingressRuleset,
  type MeshTable,
  meshTable,
  meshVersion,
  nodeRuleset,
  soundTable,
  withoutDead,
} from '../../src/core/mesh.ts';
import type { SwarmService, SwarmTask } from '../../src/core/world.ts';

const service = (id: string, ports: SwarmService['ports']): SwarmService => ({
  id,
  name: id,
  image: 'i',
  replicas: 1,
  running: 1,
  desired: 1,
  ports,
  createdAtMs: 0,
});
const task = (address: string, more: Partial<SwarmTask> = {}): SwarmTask => ({
  id: `t-${address}`,
  serviceId: 'web',
  nodeId: 'n1',
  slot: 1,
  state: 'running',
  desired: 'running',
  ingressAddress: address,
  ...more,
});
const WEB = service('web', [{ protocol: 'tcp', published: 80, target: 8000, mode: 'ingress' }]);
const DNS = service('dns', [
  { protocol: 'udp', published: 53, target: 53, mode: 'ingress' },
  { protocol: 'tcp', published: 53, target: 53, mode: 'ingress' },
  { protocol: 'tcp', published: 9000, target: 9000, mode: 'host' },
]);
const TABLE: MeshTable = meshTable(
  [WEB, DNS],
  [task('10.0.0.8', { nodeId: 'n2' }), task('10.0.0.6'), task('10.0.0.9', { serviceId: 'dns' })],
);

describe('the table of published ports', () => {
  it('lists ingress ports, not host ports, sorted, each with its running tasks', () => {
    expect(
      TABLE.map(port => `${port.published}/${port.protocol} ${port.targets.map(target => target.address)}`),
    ).toEqual(['53/tcp 10.0.0.9', '53/udp 10.0.0.9', '80/tcp 10.0.0.6,10.0.0.8']);
  });

  it('leaves out tasks that start, failed or have no ingress address, and lets those that stop finish', () => {
    const tasks = [
      task('10.0.0.1', { state: 'starting' }),
      task('10.0.0.2', { state: 'failed' }),
      task('10.0.0.3', { desired: 'shutdown' }),
      task('10.0.0.4', { ingressAddress: undefined }),
    ];
    expect(meshTable([WEB], tasks)).toEqual([
      { protocol: 'tcp', published: 80, targets: [], draining: [{ address: '10.0.0.3', nodeId: 'n1' }] },
    ]);
  });

  it('takes the tasks of dead Pis out, also those that stop', () => {
    const table = meshTable(
      [WEB],
      [task('10.0.0.1'), task('10.0.0.2', { nodeId: 'n2' }), task('10.0.0.3', { nodeId: 'n2', desired: 'shutdown' })],
    );
    expect(withoutDead(table, ['n2'])).toEqual(meshTable([WEB], [task('10.0.0.1')]));
    expect(withoutDead(table, [])).toBe(table);
  });

  it('has a version that changes with the table only', () => {
    const shuffled = meshTable(
      [DNS, WEB],
      [task('10.0.0.9', { serviceId: 'dns' }), task('10.0.0.6'), task('10.0.0.8', { nodeId: 'n2' })],
    );
    expect(meshVersion(shuffled)).toBe(meshVersion(TABLE));
    const versions = [TABLE, withoutDead(TABLE, ['n2']), withoutDead(TABLE, ['n1', 'n2']), TABLE.slice(1), []].map(
      meshVersion,
    );
    expect(new Set(versions).size).toBe(versions.length);
  });

  it('drops what is not well formed and never takes over a port that the cluster needs', () => {
    const good = TABLE[2];
    if (good === undefined) throw new Error('no port');
    const evil = [
      { ...good, published: 22 },
      { ...good, published: 3378 },
      { ...good, published: 70_000 },
      { ...good, published: '80; flush ruleset' as unknown as number },
      { ...good, targets: [{ address: '10.0.0.1 }; flush ruleset', nodeId: 'n' }] },
      { ...good, targets: [{ address: '10.0.0.999', nodeId: 'n' }] },
      { ...good, protocol: 'sctp' as 'tcp' },
      { ...good, draining: undefined as never },
    ];
    expect(soundTable([...evil, good])).toEqual([good]);
  });
});

describe('the rules', () => {
  it('send published ports of local addresses to the ingress namespace', () => {
    const rules = nodeRuleset(TABLE, '172.18.0.2');
    expect(rules).toContain('fib daddr type local tcp dport { 53, 80 } dnat to 172.18.0.2');
    expect(rules).toContain('fib daddr type local udp dport { 53 } dnat to 172.18.0.2');
  });

  it('spread new connections over the tasks in turn and reset those to tasks that are gone', () => {
    const rules = ingressRuleset(TABLE, '172.18.0.2');
    expect(rules).toContain(
      'ip daddr 172.18.0.2 tcp dport 80 dnat to numgen inc mod 2 map { 0 : 10.0.0.6, 1 : 10.0.0.8 }',
    );
    expect(rules).toContain('elements = { 10.0.0.6, 10.0.0.8, 10.0.0.9 }');
    expect(rules).toContain('ip daddr != @live reject with tcp reset');
  });

  it('are nothing but the removal of the table when nothing is published', () => {
    expect(nodeRuleset([], '172.18.0.2')).toBe('table ip pi_swarm_mesh {}\ndelete table ip pi_swarm_mesh\n');
    expect(ingressRuleset([], '172.18.0.2')).toBe('table ip pi_swarm_mesh {}\ndelete table ip pi_swarm_mesh\n');
  });

  // Needs root: nft opens a netlink socket even for a check. `npm test` runs as root.
  it.skipIf(process.getuid?.() !== 0)('are accepted by nft', () => {
    const none = TABLE.map(port => ({ ...port, targets: [], draining: [] }));
    for (const table of [TABLE, none, []]) {
      for (const rules of [nodeRuleset(table, '172.18.0.2'), ingressRuleset(table, '172.18.0.2')]) {
        // In a network namespace of its own, which ends with it.
        execFileSync('unshare', ['--net', 'nft', '-f', '-'], { input: rules });
      }
    }
  });
});
