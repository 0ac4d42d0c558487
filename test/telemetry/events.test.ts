/** Events on MQTT: once each, not retained, and not lost while the broker is away. */
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { ClusterEvent } from '../../src/core/event-types.ts';
import type { MqttTelemetry } from '../../src/telemetry/mqtt.ts';
import { embeddedBroker, type Mosquitto, mosquitto, PASSWORD, USER, until } from './brokers.ts';
import { snapshotOf, TAG } from './snapshots.ts';
import { makeTelemetry, mqttConfig } from './telemetry.ts';

const TOPIC = `pi-swarm/${TAG}/events`;

let broker: Mosquitto;
let telemetry: MqttTelemetry;
let listener: MqttClient | undefined;
let heard: { text: string; retain: boolean; qos: number }[];

const eventOf = (number: number, more: Partial<ClusterEvent> = {}): ClusterEvent => ({
  id: `a-${number}`,
  revision: number,
  at: '2026-05-01T16:41:07.000Z',
  kind: 'joined',
  pi: `pi${number}`,
  text: `pi${number} joined`,
  ...more,
});

async function listen(): Promise<void> {
  await listener?.endAsync(true);
  listener = await connectAsync(broker.plainUrl, { username: USER, password: PASSWORD, reconnectPeriod: 0 });
  listener.on('message', (_topic, payload, { retain, qos }) => heard.push({ text: payload.toString(), retain, qos }));
  await listener.subscribeAsync(TOPIC, { qos: 1 });
}

const texts = (): string[] => heard.map(({ text }) => (JSON.parse(text) as ClusterEvent).text);
const connected = () => until(() => telemetry.state().state === 'connected');

beforeAll(async () => {
  broker = await mosquitto();
  await broker.start();
});
beforeEach(async () => {
  heard = [];
  await listen();
  const config = mqttConfig(broker.plainUrl, { username: USER, password: PASSWORD });
  telemetry = makeTelemetry(config).telemetry;
  telemetry.publish(snapshotOf());
  await connected();
});
afterEach(() => telemetry.stop());
afterAll(async () => {
  await listener?.endAsync(true);
  await broker.remove();
});

it('an event is one JSON of the shape that the command line prints, confirmed, and not kept by the broker', async () => {
  const event = eventOf(3, { kind: 'lost', tasks: 2, durationMs: 3_400 });
  telemetry.tell([event]);
  await until(() => heard.length === 1);
  expect(JSON.parse(heard[0]?.text ?? '')).toEqual(event);
  expect(heard[0]).toMatchObject({ retain: false, qos: 1 });
  await until(() => telemetry.waiting === 0);
  await listen();
  telemetry.tell([eventOf(4)]);
  await until(() => heard.length === 2);
  expect(texts()).toEqual(['pi3 joined', 'pi4 joined']);
});

/** Its log has everything from the first moment, which no subscriber has of a broker that has just started. */
async function afterAbsence(events: readonly ClusterEvent[][], count: number): Promise<string[]> {
  const { port, close } = await embeddedBroker();
  await close();
  const { telemetry } = makeTelemetry(mqttConfig(`mqtt://127.0.0.1:${port}`));
  telemetry.publish(snapshotOf());
  await until(() => telemetry.state().state === 'offline');
  for (const some of events) telemetry.tell(some);
  expect(telemetry.waiting).toBe(count);
  const embedded = await embeddedBroker(port);
  try {
    await until(() => telemetry.state().state === 'connected' && telemetry.waiting === 0);
    expect(embedded.retained.has(TOPIC)).toBe(false);
    const sent = embedded.log.filter(({ topic }) => topic === TOPIC);
    return sent.map(({ payload }) => (JSON.parse(payload) as ClusterEvent).text);
  } finally {
    await telemetry.stop();
    await embedded.close();
  }
}

it('what happens while the broker is away is told when it is back: in order, and a completed line once', async () => {
  const completed = eventOf(2, { revision: 3, text: 'pi2 lost power · running elsewhere' });
  const told = await afterAbsence(
    [
      [eventOf(1), eventOf(2)],
      [completed, eventOf(4)],
    ],
    3,
  );
  expect(told).toEqual(['pi1 joined', 'pi2 lost power · running elsewhere', 'pi4 joined']);
});

it('a broker that stays away costs no more memory than the last two hundred', async () => {
  const many = Array.from({ length: 5000 }, (_, number) => [eventOf(number)]);
  const told = await afterAbsence(many, 200);
  expect([told.length, told[0], told.at(-1)]).toEqual([200, 'pi4800 joined', 'pi4999 joined']);
});
