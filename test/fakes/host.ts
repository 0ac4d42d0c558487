/** A machine that says what the test wants. What was not set throws. */
import type { Host, HostFacts, HostVitals } from '../../src/ports.ts';

export const PI4: HostFacts = {
  hostname: 'pi1',
  model: 'Raspberry Pi 4 Model B Rev 1.4',
  hardware: '0123456789abcdef',
  architecture: 'aarch64',
  kernel: '6.12.25+deb13-arm64',
  os: 'Debian GNU/Linux 13 (trixie)',
  cpus: 4,
  memoryBytes: 4_000_000_000,
};

export const CALM: HostVitals = {
  cpuPercent: 3.2,
  memoryPercent: 21.5,
  memoryUsedBytes: 860_000_000,
  diskPercent: 12.4,
  diskFreeBytes: 25_000_000_000,
  temperatureCelsius: 47.2,
  throttled: {
    underVoltage: false,
    capped: false,
    throttled: false,
    softLimit: false,
    since: { underVoltage: false, capped: false, throttled: false, softLimit: false },
  },
  uptimeSeconds: 86_400,
  load1: 0.1,
};

export class FakeHost implements Host {
  constructor(
    public factsAre: HostFacts | undefined = PI4,
    public vitalsAre: HostVitals | undefined = CALM,
  ) {}

  async facts(): Promise<HostFacts> {
    if (this.factsAre === undefined) throw new Error('FakeHost: facts() was not expected');
    return this.factsAre;
  }

  async vitals(): Promise<HostVitals> {
    if (this.vitalsAre === undefined) throw new Error('FakeHost: vitals() was not expected');
    return this.vitalsAre;
  }
}
