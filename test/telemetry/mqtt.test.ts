import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MqttTelemetry } from '../../src/telemetry/mqtt.ts';
import { type EmbeddedBroker, embeddedBroker, until } from './brokers.ts';
import { IDS, snapshotOf, TAG } from './snapshots.ts';
import { makeTelemetry, mqttConfig } from './telemetry.ts';

const base = `pi-swarm/${TAG}`;
const [ID1, ID2, ID3] = IDS;
const STATE1 = `${base}/${ID1}/state`;
const AVAILABILITY1 = `${base}/${ID1}/availability`;
const CLUSTER = `${base}/cluster/state`;
const DISCOVERY1 = `homeassistant/device/pi_swarm_${ID1}/config`;

let broker: EmbeddedBroker;
const started: MqttTelemetry[] = [];

/** A telemetry on the embedded broker, ended after the test. */
function telemetryOf(limits: Parameters<typeof makeTelemetry>[1] = {}, url = broker.url) {
  const made = makeTelemetry(mqttConfig(url), limits);
  started.push(made.telemetry);
  return made;
}

const last = (topic: string) => JSON.parse(broker.retained.get(topic) ?? 'null') as Record<string, unknown> | null;
const quiet = ({ telemetry }: { telemetry: MqttTelemetry }) => until(() => telemetry.waiting === 0);

beforeEach(async () => {
  broker = await embeddedBroker();
});
afterEach(async () => {
  await Promise.all(started.splice(0).map(telemetry => telemetry.stop()));
  await broker.close();
});

describe('what goes out', () => {
  it('is retained: availability, state and discovery of the Pi; from the leader also those of the cluster', async () => {
    const { telemetry } = telemetryOf();
    expect(telemetry.state()).toEqual({ state: 'connecting' });
    telemetry.publish(snapshotOf());
    await until(() => broker.retained.size === 5);
    expect(telemetry.state()).toEqual({ state: 'connected' });
    expect(broker.retained.get(AVAILABILITY1)).toBe('online');
    expect(last(STATE1)).toMatchObject({ name: 'pi1', role: 'leader', cpuPercent: 3, temperatureCelsius: 47 });
    expect(last(CLUSTER)).toMatchObject({ state: 'ok', pis: 3, pisReady: 3, leader: 'pi1', tasksRunning: 5 });
    expect(last(DISCOVERY1)).toMatchObject({ stat_t: STATE1, avty: [{ t: AVAILABILITY1 }] });
    expect([...broker.retained.keys()]).toContain(`homeassistant/device/pi_swarm_cluster_${TAG}/config`);
  });

  it('from a Pi that does not lead is only about itself', async () => {
    const { telemetry } = telemetryOf();
    telemetry.publish(snapshotOf({ pi: 2 }));
    await until(() => broker.retained.size === 3);
    await telemetry.stop();
    expect([...broker.retained.keys()].filter(topic => topic.includes('cluster'))).toEqual([]);
  });

  it('holds no discovery where Home Assistant is not wanted', async () => {
    const { telemetry } = makeTelemetry(mqttConfig(broker.url, { homeAssistant: false }));
    started.push(telemetry);
    telemetry.publish(snapshotOf());
    await until(() => broker.retained.size === 3);
    await telemetry.stop();
    expect([...broker.retained.keys()].filter(topic => topic.startsWith('homeassistant'))).toEqual([]);
  });

  it('is nothing at all without a broker in the settings', async () => {
    const { telemetry } = makeTelemetry(undefined);
    telemetry.publish(snapshotOf());
    expect(telemetry.state()).toEqual({ state: 'off' });
    await telemetry.stop();
  });

  it('is changes, not states: noise stays here, measurements wait for the interval, facts go at once', async () => {
    const made = telemetryOf();
    const { telemetry, clock } = made;
    telemetry.publish(snapshotOf());
    await until(() => broker.count(STATE1) === 1);
    const after = async (ms: number, options: Parameters<typeof snapshotOf>[0]) => {
      clock.nowMs += ms;
      telemetry.publish(snapshotOf(options));
      await quiet(made);
      // A later message proves that an earlier one had its chance.
      await broker.publish('fence', '');
      return broker.count(STATE1);
    };
    expect(await after(11_000, { vitals: { cpuPercent: 6, uptimeSeconds: 86_411 } })).toBe(1);
    telemetry.publish(snapshotOf({ vitals: { cpuPercent: 50 } }));
    await until(() => broker.count(STATE1) === 2);
    expect(await after(5000, { vitals: { cpuPercent: 90 } })).toBe(2);
    await after(5000, { vitals: { cpuPercent: 90 } });
    await until(() => broker.count(STATE1) === 3);
    await after(1000, { vitals: { cpuPercent: 90 }, tasks: 3 });
    await until(() => broker.count(STATE1) === 4);
    expect(last(STATE1)).toMatchObject({ cpuPercent: 90, tasks: 3 });
    // Unchanged, but now and then all the same: Home Assistant forgets values that are never confirmed.
    await after(300_000, { vitals: { cpuPercent: 90 }, tasks: 3 });
    await until(() => broker.count(STATE1) === 5);
    expect(broker.count(DISCOVERY1)).toBe(1);
    expect(broker.count(CLUSTER)).toBe(2);
  });

  it('includes a sensor from the first value it gives', async () => {
    const { telemetry } = telemetryOf();
    telemetry.publish(snapshotOf({ vitals: { temperatureCelsius: undefined } }));
    await until(() => last(DISCOVERY1) !== null);
    expect(last(DISCOVERY1)?.['cmps']).not.toHaveProperty('temperatureCelsius');
    telemetry.publish(snapshotOf());
    await until(() => broker.count(DISCOVERY1) === 2);
    expect(last(DISCOVERY1)?.['cmps']).toHaveProperty('temperatureCelsius');
  });

  it('is told anew by a Pi that leads again after another did', async () => {
    const { telemetry, clock } = telemetryOf();
    const follow = snapshotOf();
    follow.self.swarm = { ...snapshotOf({ pi: 1 }).self.swarm };
    telemetry.publish(snapshotOf());
    await until(() => broker.count(CLUSTER) === 1);
    clock.nowMs += 1000;
    telemetry.publish(follow);
    telemetry.publish(snapshotOf());
    await until(() => broker.count(CLUSTER) === 2);
  });
});

describe('coming and going', () => {
  it('a clean stop says offline', async () => {
    const { telemetry } = telemetryOf();
    telemetry.publish(snapshotOf());
    await until(() => broker.retained.get(AVAILABILITY1) === 'online');
    await telemetry.stop();
    expect(broker.retained.get(AVAILABILITY1)).toBe('offline');
    telemetry.publish(snapshotOf({ tasks: 9 }));
    expect(telemetry.state()).toEqual({ state: 'offline' });
  });

  it('a lost connection makes the broker say offline; it is made again and everything told again', async () => {
    const { telemetry } = telemetryOf();
    telemetry.publish(snapshotOf());
    await until(() => broker.count(CLUSTER) === 1);
    broker.dropAll();
    await until(() => broker.log.some(({ topic, payload }) => topic === AVAILABILITY1 && payload === 'offline'));
    await until(() => broker.retained.get(AVAILABILITY1) === 'online' && broker.count(CLUSTER) === 2);
    expect(broker.count(STATE1)).toBe(2);
    expect(broker.count(DISCOVERY1)).toBe(2);
  });

  it('the will of an old connection that comes late does not stay', async () => {
    const { telemetry } = telemetryOf();
    telemetry.publish(snapshotOf());
    await until(() => broker.count(CLUSTER) === 1);
    await broker.publish(AVAILABILITY1, 'offline', true);
    await until(() => broker.retained.get(AVAILABILITY1) === 'online');
  });

  it('Home Assistant that starts again is told everything again', async () => {
    const { telemetry } = telemetryOf();
    telemetry.publish(snapshotOf());
    await until(() => broker.count(CLUSTER) === 1);
    await broker.publish('homeassistant/status', 'offline');
    await broker.publish('homeassistant/status', 'online');
    await until(() => broker.count(DISCOVERY1) === 2 && broker.count(STATE1) === 2 && broker.count(CLUSTER) === 2);
  });

  it('another secret makes another Pi: the old topics are emptied', async () => {
    const { telemetry } = telemetryOf();
    telemetry.publish(snapshotOf({ tag: '' }));
    await until(() => broker.retained.has(`pi-swarm/unclaimed/${ID1}/state`));
    telemetry.publish(snapshotOf());
    await until(() => broker.retained.get(AVAILABILITY1) === 'online' && broker.retained.has(STATE1));
    await until(() => ![...broker.retained.keys()].some(topic => topic.includes('unclaimed')));
    expect(last(DISCOVERY1)).toMatchObject({ stat_t: STATE1 });
  });
});

describe('a Pi that the swarm has forgotten', () => {
  const topicsOf3 = [
    `${base}/${ID3}/availability`,
    `${base}/${ID3}/state`,
    `homeassistant/device/pi_swarm_${ID3}/config`,
  ];
  const left = () => topicsOf3.filter(topic => broker.retained.has(topic));

  async function threeAndLeader() {
    const third = telemetryOf();
    third.telemetry.publish(snapshotOf({ pi: 2 }));
    const leader = telemetryOf({ removeAfterMs: 60_000 });
    leader.telemetry.publish(snapshotOf());
    await until(() => left().length === 3 && broker.retained.has(CLUSTER));
    const later = async (pis: number[], rows: (snapshot: ReturnType<typeof snapshotOf>) => void = () => {}) => {
      const before = broker.count(STATE1);
      leader.clock.nowMs += 300_000;
      const snapshot = snapshotOf({ pis });
      rows(snapshot);
      leader.telemetry.publish(snapshot);
      await until(() => broker.count(STATE1) > before);
      await quiet(leader);
    };
    return { third, leader, later };
  }

  it('is taken off the broker by the leader, some time after it went offline', async () => {
    const { third, later } = await threeAndLeader();
    await third.telemetry.stop();
    await until(() => broker.retained.get(`${base}/${ID3}/availability`) === 'offline');
    await until(async () => {
      await later([0, 1]);
      return left().length === 0;
    });
    expect(broker.retained.get(AVAILABILITY1)).toBe('online');
  });

  it('stays while it is online, while it is a member, and while any row may be it', async () => {
    const { third, later } = await threeAndLeader();
    await later([0, 1]);
    await later([0, 1]);
    expect(left()).toHaveLength(3);
    await third.telemetry.stop();
    await later([0, 1, 2]);
    await later([0, 1, 2]);
    expect(left()).toHaveLength(3);
    const anonymous = (snapshot: ReturnType<typeof snapshotOf>) => {
      const row = snapshot.cluster.pis[1];
      if (row !== undefined) row.id = '';
    };
    await later([0, 1], anonymous);
    await later([0, 1], anonymous);
    expect(left()).toHaveLength(3);
  });
});

it('two Pis of one cluster share a broker without treading on each other', async () => {
  const [first, second] = [telemetryOf(), telemetryOf()];
  first.telemetry.publish(snapshotOf({ pi: 0 }));
  second.telemetry.publish(snapshotOf({ pi: 1 }));
  await until(
    () => broker.retained.has(STATE1) && broker.retained.has(`${base}/${ID2}/state`) && broker.retained.has(CLUSTER),
  );
  expect(last(STATE1)).toMatchObject({ name: 'pi1', role: 'leader' });
  expect(last(`${base}/${ID2}/state`)).toMatchObject({ name: 'pi2', role: 'manager' });
});
