/** An agent's telemetry in a process of its own, to be killed: `child URL`. */
import { createLogger } from '../../src/log.ts';
import { MqttTelemetry } from '../../src/telemetry/mqtt.ts';
import { snapshotOf } from './snapshots.ts';
import { mqttConfig } from './telemetry.ts';

const telemetry = new MqttTelemetry({
  config: mqttConfig(process.argv[2] ?? '', { username: process.argv[3], password: process.argv[4] }),
  log: createLogger({ level: 'silent' }),
  clock: { now: () => performance.now(), random: Math.random },
});
telemetry.start();
telemetry.publish(snapshotOf());
