import { writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { formatSecret, generateSecret } from '../../src/io/secret.ts';
import { formed, nodesOf, snapshotOf } from './cluster.ts';
import { agreed, becomeOne, kindsOf, pisOf, startAgents, statusOf } from './forming.ts';
import { docker, dockerOf, useLab, waitFor } from './harness.ts';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

const OURS = ['pi1', 'pi2', 'pi3'];
const [ourSecret, theirSecret] = [formatSecret(generateSecret()), formatSecret(generateSecret())];

/** How far ahead most clocks are: half a year. */
const AHEAD_MS = 180 * 86_400_000;
/** Loads `clockScript` into Node. */
const CLOCK = { NODE_OPTIONS: '--require=/var/lib/clock.cjs' };

describe('a Pi with another secret that watches a cluster from the beginning', () => {
  // Over mDNS alone it would not even be talked to: its tag is another one. So each is told to call the other.
  const lab = useLab({
    pis: 4,
    secret: pi => (pi === 'pi4' ? theirSecret : ourSecret),
    config: pi => ({ peers: pi === 'pi4' ? OURS : ['pi4'] }),
  });

  const refusedOn = (pi: string) =>
    waitFor(async () => (await snapshotOf(lab(), pi)).notices.find(({ kind }) => kind === 'refused-peer'), {
      what: `a refused peer on ${pi}`,
    });

  beforeAll(async () => {
    await Promise.all([formed(lab(), OURS, 3), formed(lab(), ['pi4'], 1)]);
  });

  test('never joins: it makes a swarm of its own, and the others form theirs without it', async () => {
    const its = await waitFor(() => snapshotOf(lab(), 'pi4'), {
      what: 'pi4 to be alone',
      is: ({ cluster }) => cluster.state === 'alone',
    });
    expect(its.cluster.swarmId).not.toBe(await agreed(lab(), OURS));
  });

  test('is refused by each of them, and refuses them; and both sides say so', async () => {
    for (const pi of lab().pis()) expect((await refusedOn(pi))?.text).toMatch(/another (cluster )?secret/);
    for (const pi of OURS) {
      expect(lab().logs(pi, 'agent', 500)).toContain(
        'refused pi4:3378: its certificate comes from another cluster secret',
      );
      expect(lab().logs('pi4', 'agent', 500)).toContain(`refused ${pi}:3378: its certificate comes from another`);
    }
  });

  test('learns nothing: each side shows its own Pis only, and another cluster is all that mDNS tells', async () => {
    for (const pi of OURS) expect(pisOf(await snapshotOf(lab(), pi))).toEqual(OURS);
    expect(pisOf(await snapshotOf(lab(), 'pi4'))).toEqual(['pi4']);
    const { cluster } = await snapshotOf(lab(), 'pi1');
    expect(lab().logs('pi4', 'agent', 500)).toContain(`"tag":"${cluster.tag}","msg":"another cluster`);
    expect(await lab().run('pi4', ['sh', '-c', 'cat /var/lib/pi-swarm/*'])).not.toContain(cluster.swarmId);
  });

  test('becomes, with another Pi of its secret, a second cluster on the same LAN that never mixes with the first', async () => {
    await lab().add({ secret: theirSecret, config: { peers: OURS } });
    await becomeOne(lab(), ['pi4', 'pi5'], 1, 'a second cluster');
    const second = await agreed(lab(), ['pi4', 'pi5']);
    const first = await agreed(lab(), OURS);
    expect(second).not.toBe(first);
    expect((await nodesOf(lab(), OURS)).map(({ name }) => name).sort()).toEqual(OURS);
    expect((await nodesOf(lab(), ['pi4', 'pi5'])).map(({ name }) => name).sort()).toEqual(['pi4', 'pi5']);
    await refusedOn('pi5');
  });
});

describe('Pis that cannot or must not join yet', () => {
  const lab = useLab({
    pis: 4,
    agents: false,
    secret: pi => (pi === 'pi4' ? undefined : ourSecret),
    agentEnv: CLOCK,
  });

  beforeAll(async () => {
    // Nobody's wall clock is that of this machine, so that it is seen whose time a Pi goes by.
    for (const pi of lab().pis())
      writeFileSync(lab().disk(pi, '/var/lib/clock.cjs'), clockScript(pi === 'pi3' ? 0 : AHEAD_MS));
    await docker(lab(), 'pi2', 'swarm', 'init', '--advertise-addr', lab().address('pi2'));
  });

  test('an engine that is in a swarm already is left in it and reported; the others form theirs without it', async () => {
    const before = (await dockerOf(lab(), 'pi2').info()).Swarm;
    await startAgents(lab());
    await formed(lab(), ['pi1', 'pi3'], 1);
    const pi2 = await statusOf(lab(), 'pi2');
    expect(pi2.self.swarm.state).toBe('foreign');
    expect(kindsOf(pi2)).toContain('foreign-swarm');
    expect(pi2.notices.find(({ kind }) => kind === 'foreign-swarm')?.cure).toContain('docker swarm leave');
    const now = (await dockerOf(lab(), 'pi2').info()).Swarm;
    expect([now?.Cluster?.ID, now?.NodeID, now?.Nodes]).toEqual([before?.Cluster?.ID, before?.NodeID, 1]);
    const spec = (await dockerOf(lab(), 'pi2').swarmInspect()) as { Spec: { Labels: object } };
    expect(spec.Spec.Labels).toEqual({});
    const row = (await statusOf(lab(), 'pi1')).cluster.pis.find(({ name }) => name === 'pi2');
    expect(row).toMatchObject({ role: 'none', swarmState: 'none', liveness: 'alive' });
  });

  test('a Pi whose clock stands at 1970 joins all the same, says so, and goes by the time of its peers', async () => {
    expect(await lab().run('pi3', ['node', '-p', 'new Date().getFullYear()'], { env: CLOCK })).toBe('1970');
    const pi3 = await waitFor(() => snapshotOf(lab(), 'pi3'), {
      what: 'pi3 to take the time of its peers',
      is: ({ at }) => Math.abs(Date.parse(at) - Date.now() - AHEAD_MS) < 60_000,
    });
    expect(kindsOf(pi3)).toContain('clock');
    expect(pi3.self.swarm.state).toBe('active');
    expect(kindsOf(await snapshotOf(lab(), 'pi1'))).not.toContain('clock');
  });

  test('the foreign engine joins as soon as a person has taken it out of its swarm', async () => {
    await docker(lab(), 'pi2', 'swarm', 'leave', '--force');
    await becomeOne(lab(), OURS, 3, 'with the Pi that was in a foreign swarm');
  });

  test('a Pi without a secret has seen all of that: it is unclaimed, says what to do, has joined nothing and is known to nobody', async () => {
    const pi4 = await statusOf(lab(), 'pi4');
    expect(pi4.cluster).toMatchObject({ state: 'unclaimed', tag: '' });
    expect(pi4.notices.find(({ kind }) => kind === 'unclaimed')?.cure).toContain('pi-swarm join TOKEN');
    expect(pisOf(pi4)).toEqual(['pi4']);
    expect((await dockerOf(lab(), 'pi4').info()).Swarm?.LocalNodeState).toBe('inactive');
    expect(lab().logs('pi4', 'agent', 500)).not.toMatch(/"step":|"rule":"F/);
    for (const pi of OURS) expect(pisOf(await snapshotOf(lab(), pi))).toEqual(OURS);
  });

  test('and the token of `pi-swarm invite` brings it in', async () => {
    const token = await lab().run('pi1', ['pi-swarm', 'invite']);
    const said = await lab().run('pi4', ['pi-swarm', 'join', token]);
    expect(said).toMatch(/^pi4 is in cluster [0-9a-f]{8}/);
    await becomeOne(lab(), lab().pis(), 3, 'with the invited Pi');
  });
});

/** Moves the wall clock of a Node process: that far ahead, or, with 0, back to the first of January 1970. */
function clockScript(aheadMs: number): string {
  return `const Real = Date;
    const shift = ${aheadMs === 0 ? '-Real.now()' : aheadMs};
    globalThis.Date = class extends Real {
      constructor(...words) { words.length === 0 ? super(Real.now() + shift) : super(...words); }
      static now() { return Real.now() + shift; }
    };`;
}
