import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { Lab } from '../../src/lab/lab.ts';
import { describeOnNamespaces } from '../io/netns.ts';
import { formed, nodesOf, oneCluster, secondsSince, snapshotOf } from './cluster.ts';
import { waitFor, withLab } from './harness.ts';

/** The leader's first connection only asks whether this Pi can be reached; its second one would bring the log. That one never gets through. */
const LOSE_THE_LOG =
  'add table inet lost; add chain inet lost in { type filter hook input priority 0; }; ' +
  'add rule inet lost in tcp dport 2377 tcp flags & (syn|ack) == syn limit rate over 1/day burst 1 packets drop';

/** Entries of etcd's log begin with 8 bytes of length, then `8` and the kind: 4 and 1 head the file, 3 is a state, 2 an entry of the log. */
function kindsIn(wal: Buffer): number[] {
  const kinds: number[] = [];
  for (let at = 0; at + 10 <= wal.length; ) {
    const head = wal.readBigUInt64LE(at);
    if (head === 0n) break;
    kinds.push(wal[at + 9] ?? 0);
    const padding = head >> 63n === 1n ? (head >> 56n) & 7n : 0n;
    at += 8 + Number((head & 0xff_ffff_ffff_ffffn) + padding);
  }
  return kinds;
}

/** What Raft on this Pi has on its card. */
function raftLog(lab: Lab, pi: string): number[] {
  const folder = lab.disk(pi, '/var/lib/docker/swarm/raft/wal-v3-encrypted');
  const name = readdirSync(folder).find(file => file.endsWith('.wal'));
  return name === undefined ? [] : kindsIn(readFileSync(`${folder}/${name}`));
}

describeOnNamespaces('a Pi that loses power when it has just become a manager', () => {
  it('comes back as a new node by itself, though its engine does not know any other manager any more', async () => {
    await withLab(
      oneCluster({ pis: 3, agents: false, config: { settleAlone: '1s', replaceAfter: '5s' } }),
      async lab => {
        // The third Pi to come is the last one to become a manager.
        await Promise.all(['pi1', 'pi2'].map(pi => lab.startAgent(pi)));
        await formed(lab, ['pi1', 'pi2'], 1);
        await lab.run('pi3', ['nft', LOSE_THE_LOG]);
        await lab.startAgent('pi3');
        await waitFor(() => raftLog(lab, 'pi3'), {
          what: 'pi3 to join Raft',
          is: kinds => kinds.length > 0,
          everyMs: 20,
        });
        await lab.powerCut('pi3');
        expect(raftLog(lab, 'pi3')).not.toContain(2);
        const ghost = (await nodesOf(lab, ['pi1', 'pi2'])).find(({ name }) => name === 'pi3');
        expect(ghost?.role).toBe('manager');

        await lab.powerOn('pi3');
        const began = performance.now();
        const nodes = await formed(lab, lab.pis(), 3);
        console.info(`a manager without a log: healed ${secondsSince(began)} s after its engine answered`);
        expect(nodes.map(({ id }) => id)).not.toContain(ghost?.id);
        expect(lab.logs('pi3', 'agent', 500)).toContain('abandon the swarm: its engine has been lost to the swarm');
        await waitFor(() => snapshotOf(lab, 'pi3'), {
          what: 'pi3 to be calm',
          is: ({ cluster, doing }) => cluster.state === 'ok' && doing === 'all is well',
        });
      },
    );
  }, 150_000);
});
