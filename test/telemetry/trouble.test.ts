/** Brokers that are absent, slow, mute or mad: the agent must not notice. */
import type { Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import type { MqttTelemetry } from '../../src/telemetry/mqtt.ts';
import { embeddedBroker, listen, until } from './brokers.ts';
import { IDS, snapshotOf, TAG } from './snapshots.ts';
import { makeTelemetry, mqttConfig } from './telemetry.ts';

const STATE1 = `pi-swarm/${TAG}/${IDS[0]}/state`;
const CLUSTER = `pi-swarm/${TAG}/cluster/state`;
const CONNACK = Buffer.from([0x20, 2, 0, 0]);

const started: MqttTelemetry[] = [];

function telemetryOf(limits: Parameters<typeof makeTelemetry>[1], port: number) {
  const made = makeTelemetry(mqttConfig(`mqtt://127.0.0.1:${port}`), limits);
  started.push(made.telemetry);
  return made;
}

afterEach(async () => {
  await Promise.all(started.splice(0).map(telemetry => telemetry.stop()));
});

it('absent for long: nothing piles up, and then the newest state goes out, once', async () => {
  const { port, close } = await embeddedBroker();
  await close();
  const { telemetry, clock } = telemetryOf({}, port);
  for (let tasks = 0; tasks < 5000; tasks++) {
    clock.nowMs += 10_000;
    telemetry.publish(snapshotOf({ tasks }));
    expect(telemetry.waiting).toBe(0);
  }
  await until(() => telemetry.state().state === 'offline');
  expect(telemetry.state().problem).toBe(
    `Nothing listens at mqtt://127.0.0.1:${port}. Start the broker, or correct mqtt.url.`,
  );
  const broker = await embeddedBroker(port);
  try {
    await until(() => broker.count(CLUSTER) === 1);
    expect(broker.count(STATE1)).toBe(1);
    expect(JSON.parse(broker.retained.get(STATE1) ?? '')).toMatchObject({ tasks: 4999 });
    expect(telemetry.state()).toEqual({ state: 'connected' });
  } finally {
    await telemetry.stop();
    await broker.close();
  }
});

it('takes messages without confirming them: what waits is bounded, and the connection is given up', async () => {
  const server = await listen(socket => socket.once('data', () => socket.write(CONNACK)).on('data', () => {}));
  try {
    const { telemetry, clock } = telemetryOf({ confirmMs: 300 }, server.port);
    telemetry.publish(snapshotOf());
    await until(() => telemetry.state().state === 'connected');
    for (let tasks = 0; tasks < 5000; tasks++) {
      clock.nowMs += 10_000;
      telemetry.publish(snapshotOf({ tasks }));
      expect(telemetry.waiting).toBeLessThanOrEqual(5);
    }
    await until(() => telemetry.state().state === 'offline');
    expect(telemetry.state().problem).toContain('does not confirm them');
  } finally {
    await server.close();
  }
});

it('accepts the connection and says nothing: given up after the limit, in words', async () => {
  const server = await listen(socket => void socket.resume());
  try {
    const { telemetry } = telemetryOf({ connectMs: 100 }, server.port);
    telemetry.publish(snapshotOf());
    await until(() => telemetry.state().state === 'offline');
    expect(telemetry.state().problem).toMatch(/does not answer\. Check that the broker is switched on/);
  } finally {
    await server.close();
  }
});

it('says nonsense: the agent lives on and tries again', async () => {
  const sockets: Socket[] = [];
  const server = await listen(socket => {
    sockets.push(socket);
    socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'.repeat(100));
  });
  try {
    const { telemetry } = telemetryOf({ connectMs: 500 }, server.port);
    telemetry.publish(snapshotOf());
    await until(() => sockets.length >= 3);
    expect(telemetry.state().problem).toBeDefined();
  } finally {
    await server.close();
  }
});

it('closes every connection: the pauses double up to their limit, and the log has one line', async () => {
  const atMs: number[] = [];
  const server = await listen(socket => {
    atMs.push(performance.now());
    socket.destroy();
  });
  try {
    const { telemetry, lines } = telemetryOf({ backoffLeastMs: 100, backoffMostMs: 400 }, server.port);
    telemetry.publish(snapshotOf());
    await until(() => atMs.length >= 6);
    const pauses = atMs.slice(1, 6).map((at, index) => at - (atMs[index] ?? 0));
    // A random number of 0.5 is half of 100, 200, 400, 400, 400; timers may be a hair early.
    for (const [index, least] of [50, 100, 200, 200, 200].entries()) expect(pauses[index]).toBeGreaterThan(least - 5);
    expect(lines.filter(line => line.includes('MQTT')).length).toBeLessThanOrEqual(2);
  } finally {
    await server.close();
  }
});

it('does not keep a stop waiting', async () => {
  const server = await listen(socket => socket.once('data', () => socket.write(CONNACK)));
  try {
    const { telemetry } = telemetryOf({ stopMs: 200 }, server.port);
    telemetry.publish(snapshotOf());
    await until(() => telemetry.state().state === 'connected');
    const startMs = performance.now();
    await telemetry.stop();
    expect(performance.now() - startMs).toBeLessThan(2000);
  } finally {
    await server.close();
  }
});
