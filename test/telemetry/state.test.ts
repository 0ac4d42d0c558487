import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { clusterDiscovery, nodeDiscovery } from '../../src/telemetry/homeassistant.ts';
import { clusterState, gist, news, nodeState, speaksForCluster } from '../../src/telemetry/state.ts';
import { IDS, snapshotOf, TAG } from './snapshots.ts';

const TOPICS = { base: `pi-swarm/${TAG}`, discoveryPrefix: 'homeassistant' };

describe('the state of a Pi', () => {
  it('has this shape', () => {
    expect(JSON.parse(JSON.stringify(nodeState(snapshotOf())))).toMatchInlineSnapshot(`
      {
        "address": "10.0.0.1",
        "architecture": "aarch64",
        "cpuPercent": 3,
        "diskPercent": 12,
        "doing": "watching",
        "engine": "ready",
        "id": "1111111111111111",
        "memoryPercent": 22,
        "model": "Raspberry Pi 4 Model B Rev 1.4",
        "name": "pi1",
        "role": "leader",
        "swarm": "ready",
        "tasks": 2,
        "temperatureCelsius": 47,
        "throttled": false,
        "underVoltage": false,
        "uptimeSeconds": 86400,
        "version": "0.1.0",
      }
    `);
  });

  it('says what ails it, while it is unwell', () => {
    const snapshot = snapshotOf();
    const pis = snapshot.cluster.pis.map(pi => ({ ...pi, unwell: 'hot' as const }));
    const unwell = nodeState({ ...snapshot, cluster: { ...snapshot.cluster, pis } });
    expect(unwell).toMatchObject({ unwell: 'hot' });
    expect(news(nodeState(snapshot), unwell)).toBe('facts');
    expect(news(unwell, nodeState(snapshot))).toBe('facts');
  });

  it('leaves out what the board cannot measure', () => {
    const state = nodeState(snapshotOf({ vitals: { temperatureCelsius: undefined, underVoltage: undefined } }));
    expect(Object.keys(JSON.parse(JSON.stringify(state)))).not.toContain('temperatureCelsius');
    expect(JSON.stringify(state)).not.toContain('null');
  });
});

describe('the state of the cluster', () => {
  it('has this shape', () => {
    expect(JSON.parse(JSON.stringify(clusterState(snapshotOf())))).toMatchInlineSnapshot(`
      {
        "leader": "pi1",
        "managers": 2,
        "pis": 3,
        "pisReady": 3,
        "problems": [
          {
            "cure": "Use a 3 A supply.",
            "kind": "under-voltage",
            "severity": "warning",
            "text": "pi2 had too little power",
          },
        ],
        "serviceList": [
          {
            "desired": 5,
            "name": "whoami",
            "running": 5,
          },
        ],
        "services": 1,
        "state": "ok",
        "swarmId": "swarm1",
        "tag": "c0ffee0123456789",
        "tasksDesired": 5,
        "tasksRunning": 5,
      }
    `);
  });

  it('stays small however many services and notices there are', () => {
    const snapshot = snapshotOf();
    const [service] = snapshot.cluster.services ?? [];
    if (service === undefined) throw new Error('no service');
    snapshot.cluster.services = Array.from({ length: 1000 }, (_, index) => ({ ...service, name: `service-${index}` }));
    snapshot.notices = Array.from({ length: 1000 }, () => ({ severity: 'error' as const, kind: 'x', text: 'y' }));
    const state = clusterState(snapshot);
    expect(state).toMatchObject({ services: 1000, tasksRunning: 5000 });
    expect(JSON.stringify(state).length).toBeLessThan(5000);
  });

  it('is told by the leader, by a Pi of the cluster that is alone, and by nobody else', () => {
    expect(speaksForCluster(snapshotOf({ pi: 0 }))).toBe(true);
    expect(speaksForCluster(snapshotOf({ pi: 1 }))).toBe(false);
    const alone = snapshotOf({ pi: 1, pis: [1] });
    alone.self.swarm = { state: 'none' };
    expect(speaksForCluster(alone)).toBe(true);
    expect(speaksForCluster({ ...alone, cluster: { ...alone.cluster, tag: '' } })).toBe(false);
    const forming = snapshotOf({ pi: 1 });
    forming.self.swarm = { state: 'none' };
    expect(speaksForCluster(forming)).toBe(false);
  });
});

describe('what is news', () => {
  const before = nodeState(snapshotOf());
  const after = (vitals: object, tasks = 2) => news(before, nodeState(snapshotOf({ vitals, tasks })));

  it('a first state, and everything that is not a measurement', () => {
    expect(news(undefined, before)).toBe('facts');
    expect(after({}, 3)).toBe('facts');
    expect(after({ underVoltage: true })).toBe('facts');
  });

  it('measurements that moved by more than noise, or came or went', () => {
    expect(after({ cpuPercent: 40 })).toBe('figures');
    expect(after({ temperatureCelsius: 49.6 })).toBe('figures');
    expect(after({ temperatureCelsius: undefined })).toBe('figures');
  });

  it('not the words for what is going on', () => {
    expect(news(before, nodeState({ ...snapshotOf(), doing: 'waiting 12 s more' }))).toBe('none');
    const said = (kind: string, text: string) =>
      gist(clusterState({ ...snapshotOf(), notices: [{ severity: 'warning', kind, text }] }));
    expect(said('silent', 'pi3 was last heard 3 s ago')).toBe(said('silent', 'pi3 was last heard 4 s ago'));
    expect(said('silent', 'x')).not.toBe(said('quorum-lost', 'x'));
  });

  it('not noise, and not an uptime that grows; but a reboot', () => {
    expect(after({ cpuPercent: 6, memoryPercent: 22.4, temperatureCelsius: 48.1, uptimeSeconds: 86_500 })).toBe('none');
    expect(after({ uptimeSeconds: 12 })).toBe('facts');
  });
});

describe("Home Assistant's discovery", () => {
  const node = (seen: string[]) => JSON.parse(nodeDiscovery(TOPICS, nodeState(snapshotOf()), TAG, new Set(seen)));

  it('of a Pi has this shape', () => {
    const { cmps, ...device } = node([]);
    expect(device).toMatchInlineSnapshot(`
      {
        "avty": [
          {
            "t": "pi-swarm/c0ffee0123456789/1111111111111111/availability",
          },
        ],
        "dev": {
          "ids": [
            "pi-swarm-1111111111111111",
          ],
          "mdl": "Raspberry Pi 4 Model B Rev 1.4",
          "mf": "Raspberry Pi",
          "name": "pi1",
          "sw": "pi-swarm 0.1.0",
          "via_device": "pi-swarm-cluster-c0ffee0123456789",
        },
        "o": {
          "name": "pi-swarm",
          "sw": "0.1.0",
        },
        "qos": 1,
        "stat_t": "pi-swarm/c0ffee0123456789/1111111111111111/state",
      }
    `);
    expect(cmps.cpu).toMatchInlineSnapshot(`
      {
        "exp_aft": 900,
        "ic": "mdi:cpu-32-bit",
        "name": "CPU",
        "p": "sensor",
        "stat_cla": "measurement",
        "unique_id": "pi_swarm_1111111111111111_cpu",
        "unit_of_meas": "%",
        "val_tpl": "{{ value_json.cpuPercent | default(None) }}",
      }
    `);
  });

  it('offers sensors that not every board has only where they have given a value', () => {
    expect(Object.keys(node([]).cmps)).not.toContain('underVoltage');
    expect(node(['underVoltage', 'temperatureCelsius']).cmps).toMatchObject({
      underVoltage: { p: 'binary_sensor', dev_cla: 'problem' },
      temperatureCelsius: { p: 'sensor', dev_cla: 'temperature', unit_of_meas: '°C' },
    });
  });

  it('of the cluster has this shape, and is available while any manager is', () => {
    const { cmps, ...device } = JSON.parse(
      clusterDiscovery(TOPICS, clusterState(snapshotOf()), '0.1.0', IDS.slice(0, 2)),
    );
    expect(device).toMatchInlineSnapshot(`
      {
        "avty": [
          {
            "t": "pi-swarm/c0ffee0123456789/1111111111111111/availability",
          },
          {
            "t": "pi-swarm/c0ffee0123456789/2222222222222222/availability",
          },
        ],
        "avty_mode": "any",
        "dev": {
          "ids": [
            "pi-swarm-cluster-c0ffee0123456789",
          ],
          "name": "Pi swarm c0ff",
          "sw": "pi-swarm 0.1.0",
        },
        "o": {
          "name": "pi-swarm",
          "sw": "0.1.0",
        },
        "qos": 1,
        "stat_t": "pi-swarm/c0ffee0123456789/cluster/state",
      }
    `);
    expect(Object.keys(cmps)).toEqual(expect.arrayContaining(['state', 'pis', 'tasks', 'problem']));
  });

  it('gives every entity an id of its own, a platform, and only fields that the state has', () => {
    const components = [
      ...Object.values(node(['temperatureCelsius', 'underVoltage', 'throttled']).cmps),
      ...Object.values(JSON.parse(clusterDiscovery(TOPICS, clusterState(snapshotOf()), '0.1.0', [])).cmps),
    ] as { p: string; unique_id: string; val_tpl: string }[];
    expect(new Set(components.map(component => component.unique_id)).size).toBe(components.length);
    const fields = { ...nodeState(snapshotOf()), ...clusterState(snapshotOf()) };
    for (const { p, val_tpl } of components) {
      expect(['sensor', 'binary_sensor']).toContain(p);
      expect(Object.keys(fields)).toContain(/value_json\.(\w+)/.exec(val_tpl)?.[1]);
    }
  });

  it('offers no commands', () => {
    expect(JSON.stringify(node([]))).not.toMatch(/cmd_t|command_topic/);
  });
});

it('docs/mqtt.md shows payloads as they are', () => {
  const docs = readFileSync(new URL('../../docs/mqtt.md', import.meta.url), 'utf8');
  const payloads = [...docs.matchAll(/```json\n(.*?)```/gs)].map(match => JSON.parse(match[1] ?? ''));
  // Events have a test of their own.
  const shown = payloads.filter(payload => !('revision' in payload));
  const discovery = JSON.parse(nodeDiscovery(TOPICS, nodeState(snapshotOf()), TAG, new Set()));
  const { cpu } = discovery.cmps;
  const real = [nodeState(snapshotOf()), clusterState(snapshotOf()), { ...discovery, cmps: { cpu } }];
  expect(shown).toEqual(JSON.parse(JSON.stringify(real)));
});
