/** What every Discovery does, on a real LAN of namespaces and in memory. Pis are numbers here. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

export interface DiscoveryRig {
  /** Switches Pi `n` of `cluster` on. */
  start(n: number, cluster?: string): Promise<void>;
  stop(n: number): Promise<void>;
  /** How often `n` was told of `m`, and where `m` is. */
  hints(n: number, m: number): { count: number; host?: string };
  goodbyes(n: number): number[];
  addressOf(n: number): string;
  until(what: string, fact: () => boolean): Promise<void>;
  remove(): Promise<void>;
}

export function discoveryContract(name: string, makeRig: () => Promise<DiscoveryRig>): void {
  describe(`Discovery (${name})`, () => {
    let rig: DiscoveryRig;
    beforeEach(async () => {
      rig = await makeRig();
    });
    afterEach(() => rig.remove());

    const sees = (n: number, m: number): Promise<void> => rig.until(`${n} sees ${m}`, () => rig.hints(n, m).count > 0);

    it('tells two Pis of each other, with address', async () => {
      await rig.start(1);
      await rig.start(2);
      await Promise.all([sees(1, 2), sees(2, 1)]);
      expect(rig.hints(1, 2).host).toBe(rig.addressOf(2));
      expect(rig.hints(1, 1).count).toBe(0);
    });

    it('repeats hints, so that who missed one gets another', async () => {
      await rig.start(1);
      await rig.start(2);
      await rig.until('a second hint', () => rig.hints(1, 2).count > 1);
    });

    it('tells nothing of another cluster', async () => {
      await rig.start(1);
      await rig.start(2, 'another');
      await rig.start(3);
      await Promise.all([sees(1, 3), sees(3, 1)]);
      expect(rig.hints(1, 2).count + rig.hints(2, 1).count).toBe(0);
    });

    it('passes a goodbye on, and a return after it', async () => {
      await rig.start(1);
      await rig.start(2);
      await Promise.all([sees(1, 2), sees(2, 1)]);
      await rig.stop(2);
      await rig.until('the goodbye', () => rig.goodbyes(1).includes(2));
      const before = rig.hints(1, 2).count;
      await rig.start(2);
      await rig.until('it is back', () => rig.hints(1, 2).count > before);
    });
  });
}
