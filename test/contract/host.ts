/** What every Host keeps, the real one and the fake. */
import { describe, expect, it } from 'vitest';
import type { Host } from '../../src/ports.ts';

export function hostContract(name: string, make: () => Host): void {
  describe(`host: ${name}`, () => {
    it('says what the machine is, the same each time', async () => {
      const host = make();
      const facts = await host.facts();
      expect(facts).toEqual({
        hostname: expect.stringMatching(/./),
        model: expect.stringMatching(/./),
        hardware: expect.stringMatching(/^[0-9a-f]{16}$/),
        architecture: expect.stringMatching(/^(x86_64|aarch64|armv[67]l)$/),
        kernel: expect.stringMatching(/^\d+\.\d+/),
        os: expect.stringMatching(/./),
        cpus: expect.any(Number),
        memoryBytes: expect.any(Number),
      });
      expect(await host.facts()).toEqual(facts);
    });

    it('says how it is doing, within the bounds of each figure', async () => {
      const vitals = await make().vitals();
      for (const key of ['cpuPercent', 'memoryPercent', 'diskPercent'] as const) {
        const percent = vitals[key] ?? 0;
        expect(percent).toBeGreaterThanOrEqual(0);
        expect(percent).toBeLessThanOrEqual(100);
      }
      expect(vitals.uptimeSeconds).toBeGreaterThan(0);
      expect(vitals.load1).toBeGreaterThanOrEqual(0);
      if (vitals.temperatureCelsius !== undefined) {
        expect(vitals.temperatureCelsius).toBeGreaterThan(-40);
        expect(vitals.temperatureCelsius).toBeLessThan(150);
      }
    });
  });
}
