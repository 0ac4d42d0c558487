import { afterEach, describe, expect, it } from 'vitest';
import type { MeshTable } from '../../src/core/mesh.ts';
import { MeshReconciler } from '../../src/mesh.ts';
import { until } from '../contract/engine-dockerd.ts';

const PORT = {
  protocol: 'tcp' as const,
  published: 80,
  targets: [{ address: '10.0.0.6', nodeId: 'n1' }],
  draining: [],
};
const other = (address: string): MeshTable => [{ ...PORT, targets: [{ address, nodeId: 'n2' }] }];

class FakeRules {
  applied: MeshTable[] = [];
  removed = 0;
  generationNow: string | undefined = '1';
  isPresent = true;
  failures = 0;
  atOnce = 0;
  atOnceMax = 0;
  hold: Promise<void> | undefined;

  async generation(): Promise<string | undefined> {
    return this.generationNow;
  }
  async present(): Promise<boolean> {
    return this.isPresent;
  }
  async remove(): Promise<void> {
    this.removed++;
  }
  async apply(table: MeshTable): Promise<void> {
    this.atOnceMax = Math.max(this.atOnceMax, ++this.atOnce);
    await this.hold;
    this.atOnce--;
    if (this.failures-- > 0) throw new Error('nft: no');
    this.applied.push(table);
  }
}

describe('the mesh reconciler', () => {
  const open: MeshReconciler[] = [];
  const make = (rules: FakeRules, options = {}): MeshReconciler => {
    const mesh = new MeshReconciler({ mode: 'nftables', rules, checkMs: 20, retryMs: 10, ...options });
    open.push(mesh);
    return mesh;
  };
  afterEach(() => Promise.all(open.splice(0).map(mesh => mesh.stop())));

  it('applies a table once, however often it is told', async () => {
    const rules = new FakeRules();
    const mesh = make(rules, { checkMs: 60_000 });
    for (let times = 0; times < 5; times++) {
      mesh.update({ table: [PORT], deadNodeIds: [] });
      await mesh.settled();
    }
    expect(rules.applied).toEqual([[PORT]]);
    expect(mesh.status()).toEqual({ mode: 'nftables', ports: 1 });
  });

  it('carries out one change at a time, and of several wishes the latest', async () => {
    const rules = new FakeRules();
    let release = (): void => {};
    rules.hold = new Promise(resolve => {
      release = resolve;
    });
    const mesh = make(rules, { checkMs: 60_000 });
    mesh.update({ table: other('10.0.0.1'), deadNodeIds: [] });
    await until(() => rules.atOnce === 1, 5_000, 'the first change');
    for (const last of [2, 3, 4]) mesh.update({ table: other(`10.0.0.${last}`), deadNodeIds: [] });
    release();
    await mesh.settled();
    expect(rules.applied).toEqual([other('10.0.0.1'), other('10.0.0.4')]);
    expect(rules.atOnceMax).toBe(1);
  });

  it('takes dead Pis out and back in', async () => {
    const rules = new FakeRules();
    const mesh = make(rules);
    mesh.update({ table: [PORT], deadNodeIds: ['n1'] });
    await mesh.settled();
    mesh.update({ table: [PORT], deadNodeIds: [] });
    await mesh.settled();
    expect(rules.applied).toEqual([[{ ...PORT, targets: [] }], [PORT]]);
  });

  it('tries again after a failure and tells of it meanwhile', async () => {
    const rules = new FakeRules();
    rules.failures = 1;
    const mesh = make(rules, { retryMs: 200 });
    mesh.update({ table: [PORT], deadNodeIds: [] });
    await mesh.settled();
    expect(mesh.status().problem).toBe('nft: no');
    await until(() => rules.applied.length === 1, 5_000, 'the second try');
    await mesh.settled();
    expect(mesh.status().problem).toBeUndefined();
  });

  it('applies again when the engine made the ingress namespace anew, and when the rules were flushed', async () => {
    const rules = new FakeRules();
    const mesh = make(rules);
    mesh.update({ table: [PORT], deadNodeIds: [] });
    await until(() => rules.applied.length === 1, 5_000, 'the rules');
    rules.generationNow = '2';
    await until(() => rules.applied.length === 2, 5_000, 'the rules in the new namespace');
    rules.isPresent = false;
    await until(() => rules.applied.length >= 3, 5_000, 'the rules after the flush');
  });

  it('removes what an earlier run left, and everything when nothing is published or it is told to', async () => {
    const rules = new FakeRules();
    const mesh = make(rules, { checkMs: 60_000 });
    mesh.update({ table: [], deadNodeIds: [] });
    await mesh.settled();
    expect(rules.removed).toBe(1);
    mesh.update({ table: [PORT], deadNodeIds: [] });
    await mesh.settled();
    mesh.update({ table: [], deadNodeIds: [] });
    await mesh.settled();
    expect(rules.removed).toBe(2);
    await mesh.stop({ remove: true });
    expect(rules.removed).toBe(3);
  });

  it('leaves the rules where they are when the agent only restarts', async () => {
    const rules = new FakeRules();
    const mesh = make(rules);
    mesh.update({ table: [PORT], deadNodeIds: [] });
    await mesh.stop();
    expect(rules.removed).toBe(0);
  });

  it('programs nothing where Docker does it itself', async () => {
    const rules = new FakeRules();
    const mesh = make(rules, { mode: 'kernel' });
    mesh.update({ table: [PORT], deadNodeIds: [] });
    await mesh.settled();
    expect(rules.applied).toEqual([]);
    expect(mesh.status()).toEqual({ mode: 'kernel', ports: 1 });
  });

  it('says why there is no mesh where neither kernel nor nftables can do it', async () => {
    const rules = new FakeRules();
    const mesh = make(rules, { mode: 'auto', detect: async () => ({ mode: 'none', problem: 'no nft' }) });
    mesh.update({ table: [PORT], deadNodeIds: [] });
    await mesh.settled();
    expect(mesh.status()).toEqual({ mode: 'none', ports: 1, problem: 'no nft' });
  });
});
