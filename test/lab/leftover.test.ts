import { cpSync, rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import { certificateRole } from '../../src/io/swarm-certificate.ts';
import { describeOnNamespaces } from '../io/netns.ts';
import { formed, nodesOf, oneCluster, oneOf, others, secondsSince, snapshotOf } from './cluster.ts';
import { dockerOf, useLab, waitFor } from './harness.ts';

interface ApiNode {
  Description: { Hostname: string };
  Spec: { Role: string };
  ManagerStatus?: object;
}

describeOnNamespaces('a leader that is shut down', () => {
  const lab = useLab(oneCluster({ config: { replaceAfter: '8s', drainTimeout: '30s' } }));

  /** Whether Raft counts a node that is a worker. */
  const isLeftOver = async (pi: string): Promise<boolean> => {
    const { name } = oneOf(await nodesOf(lab(), others(lab(), pi)), 'leader');
    const nodes = (await dockerOf(lab(), name).listNodes()) as unknown as ApiNode[];
    const found = nodes.find(({ Description }) => Description.Hostname === pi);
    return found?.Spec.Role === 'worker' && found.ManagerStatus !== undefined;
  };

  it('goes off with the certificate of the worker that it is by then', async () => {
    await formed(lab(), lab().pis(), 3);
    for (const _turn of [1, 2]) {
      const { name } = oneOf(await nodesOf(lab()), 'leader');
      await lab().shutdown(name);
      expect(await certificateRole(lab().disk(name, '/var/lib/docker'))).toBe('worker');
      await lab().powerOn(name);
      await formed(lab(), lab().pis(), 3);
    }
  }, 180_000);

  it('is taken out of Raft and taken in again where its power failed before that', async ({ annotate }) => {
    await formed(lab(), lab().pis(), 3);
    const { name } = oneOf(await nodesOf(lab()), 'leader');
    const certificates = lab().disk(name, '/var/lib/docker/swarm/certificates');
    const asManager = `${certificates}.before`;
    cpSync(certificates, asManager, { recursive: true });
    await lab().shutdown(name);
    rmSync(certificates, { recursive: true });
    cpSync(asManager, certificates, { recursive: true });

    await lab().powerOn(name);
    await waitFor(() => isLeftOver(name), { what: `Raft to count ${name}, a worker` });
    const began = performance.now();
    await formed(lab(), lab().pis(), 3);
    await annotate(`a manager again after ${secondsSince(began)} s`);
    await waitFor(() => snapshotOf(lab(), name), {
      what: `${name} to be a manager that answers`,
      is: ({ self }) => self.swarm.state === 'active' && self.swarm.role === 'manager' && self.swarm.quorum,
    });
  }, 180_000);
});
