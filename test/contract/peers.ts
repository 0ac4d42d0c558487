/** What every Peers port does, the real one and the fake. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PiStatus } from '../../src/core/world.ts';
import { RefusedError } from '../../src/errors.ts';
import type { Peers } from '../../src/ports.ts';

export interface PeersRig {
  /** A Pi that runs; `cluster` names whose secret it has. */
  add(cluster?: string): Promise<RigPi>;
  /** Lets time pass until the fact holds. @throws when it does not within a generous time */
  until(what: string, fact: () => boolean): Promise<void>;
  /** Without a word. */
  powerCut(pi: RigPi): Promise<void>;
  remove(): Promise<void>;
}

export interface RigPi {
  id: string;
  host: string;
  port: number;
  peers: Peers;
  say(more: Partial<PiStatus>): void;
}

const sees = (pi: RigPi, other: RigPi): string =>
  pi.peers.list().find(peer => peer.id === other.id)?.liveness ?? 'unknown';

export function peersContract(name: string, makeRig: () => PeersRig): void {
  describe(`Peers (${name})`, () => {
    let rig: PeersRig;
    beforeEach(() => {
      rig = makeRig();
    });
    afterEach(() => rig.remove());

    const meet = async (a: RigPi, b: RigPi): Promise<void> => {
      a.peers.hint({ host: b.host, port: b.port });
      await rig.until('they see each other', () => sees(a, b) === 'alive' && sees(b, a) === 'alive');
    };

    it('make peers of two Pis when one of them gets a hint', async () => {
      const [a, b] = [await rig.add(), await rig.add()];
      expect(a.peers.list()).toEqual([]);
      await meet(a, b);
      expect(a.peers.list()[0]?.status.id).toBe(b.id);
    });

    it('keep what a peer says up to date', async () => {
      const [a, b] = [await rig.add(), await rig.add()];
      await meet(a, b);
      b.say({ candidate: a.id });
      await rig.until('it is known', () => a.peers.list()[0]?.status.candidate === a.id);
      b.say({ candidate: undefined });
      await rig.until('its end is known', () => a.peers.list()[0]?.status.candidate === undefined);
    });

    it('tell of a peer that falls silent: suspect, then dead', async () => {
      const [a, b] = [await rig.add(), await rig.add()];
      await meet(a, b);
      const told: string[] = [];
      a.peers.onChange(() => told.push(sees(a, b)));
      await rig.powerCut(b);
      await rig.until('it is dead', () => told.includes('dead'));
      expect(told.filter((state, i) => state !== told[i - 1]).slice(-2)).toEqual(['suspect', 'dead']);
    });

    it('learn of third ones by what peers say', async () => {
      const [a, b, c] = [await rig.add(), await rig.add(), await rig.add()];
      await meet(a, b);
      b.say({ peers: [{ id: a.id, host: a.host, port: a.port }] });
      await meet(c, b);
      await rig.until('they have met', () => sees(a, c) === 'alive' && sees(c, a) === 'alive');
    });

    it('refuse Pis of another cluster, and learn nothing of them', async () => {
      const [a, stranger] = [await rig.add(), await rig.add('another')];
      a.peers.hint({ host: stranger.host, port: stranger.port });
      await rig.until('both have refused', () => a.peers.refusals().count > 0 && stranger.peers.refusals().count > 0);
      expect(a.peers.list()).toEqual([]);
      expect(stranger.peers.list()).toEqual([]);
      expect(a.peers.refusals().last?.reason).toBe('foreign');
    });

    it('carry commands and their answers as JSON', async () => {
      const [a, b] = [await rig.add(), await rig.add()];
      await meet(a, b);
      b.peers.onRequest(async (from, command, body) => ({ from, command, body, lost: undefined }));
      expect(await a.peers.request(b.id, 'echo', { n: 1 })).toEqual({ from: a.id, command: 'echo', body: { n: 1 } });
    });

    it('carry the errors of commands with message and cure', async () => {
      const [a, b] = [await rig.add(), await rig.add()];
      await meet(a, b);
      b.peers.onRequest(() => Promise.reject(new RefusedError('not now', 'Wait.')));
      await expect(a.peers.request(b.id, 'x', {})).rejects.toMatchObject({
        code: 'refused',
        message: 'not now',
        cure: 'Wait.',
      });
      b.peers.onRequest(() => Promise.reject(new TypeError('a bug')));
      await expect(a.peers.request(b.id, 'x', {})).rejects.toMatchObject({ code: 'failure' });
    });

    it('fail commands to Pis that are unknown or gone as unavailable', async () => {
      const [a, b] = [await rig.add(), await rig.add()];
      await expect(a.peers.request(b.id, 'x', {})).rejects.toMatchObject({ code: 'unavailable' });
      await meet(a, b);
      await rig.powerCut(b);
      await expect(a.peers.request(b.id, 'x', {}, { timeoutMs: 500 })).rejects.toMatchObject({ code: 'unavailable' });
    });
  });
}
