/** A MqttTelemetry with a clock that the test turns, and limits that make waiting short. */
import type { MqttConfig } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { MqttTelemetry, type MqttTelemetryOptions } from '../../src/telemetry/mqtt.ts';

export const mqttConfig = (url: string, more: Partial<MqttConfig> = {}): MqttConfig => ({
  url,
  insecure: false,
  topic: 'pi-swarm',
  discoveryPrefix: 'homeassistant',
  homeAssistant: true,
  intervalMs: 10_000,
  ...more,
});

export function makeTelemetry(config: MqttConfig | undefined, limits: MqttTelemetryOptions['limits'] = {}) {
  const clock = { nowMs: 0, now: () => clock.nowMs, random: () => 0.5 };
  const lines: string[] = [];
  const log = createLogger({ level: 'trace', pretty: false, destination: { write: line => void lines.push(line) } });
  const telemetry = new MqttTelemetry({
    config,
    log,
    clock,
    limits: { backoffLeastMs: 20, backoffMostMs: 100, ...limits },
  });
  telemetry.start();
  return { telemetry, clock, lines };
}
