import { expect, test } from 'vitest';
import { paintFor, stripColours, widthOf } from '../../src/cli/output.ts';
import { renderStatus } from '../../src/cli/render.ts';
import { isUnhealthy } from '../../src/cli/status.ts';
import type { Notice, PiSnapshot, Snapshot } from '../../src/core/snapshot.ts';
import { piOf, snapshotOf, whoamiService } from './fixtures.ts';

const plain = paintFor({ isTTY: false });
const shown = (snapshot: Snapshot, width = 80) => renderStatus(snapshot, { paint: plain, width });

const mesh = (snapshot: Snapshot) => {
  snapshot.mesh = { mode: 'nftables', ports: 1 };
  snapshot.mqtt = { state: 'connected' };
};

const dead: Notice = {
  severity: 'warning',
  kind: 'pi-down',
  text: 'pi3 is down, for 42 s at least.',
  cure: 'Check its power and network. Its work runs elsewhere; it takes its place again when it is back.',
};

test('a cluster that is well', () => {
  expect(
    `\n${shown(snapshotOf({ pis: 3, services: [whoamiService], change: mesh })).join('\n')}\n`,
  ).toMatchInlineSnapshot(`
    "
    pi-swarm cluster 3f2a91c0 · ok · 3 Pis, 3 managers · whoami 5/5
    pi1: nothing to do

    PI     ADDRESS       ROLE     STATE  TASKS  CPU  MEM  TEMP  NOTE
    pi1 *  192.168.1.11  leader   ready  1      4%   21%  48°C
    pi2    192.168.1.12  manager  ready  1      5%   22%  49°C
    pi3    192.168.1.13  manager  ready  1      6%   23%  50°C

    whoami  5/5  80→8000  pi-swarm/whoami:1
    routing mesh: pi-swarm’s (nftables), 1 port · MQTT: connected

    Nothing is wrong.
    "
  `);
});

test('a cluster that is degraded says why before there is a notice, and never that nothing is wrong', () => {
  const web = { ...whoamiService, name: 'web', running: 1, desired: 2 };
  const short = shown(snapshotOf({ pis: 3, state: 'degraded', services: [whoamiService, web] }));
  expect(short.slice(-2)).toEqual([
    '! web: 1 of 2 run.',
    '  → If it stays so, ask a manager why: docker service ps --no-trunc web',
  ]);
  expect(short.join('\n')).not.toContain('Nothing is wrong');

  const change = (it: Snapshot) => {
    it.cluster.pis[1] = { ...piOf(2), liveness: 'dead' };
  };
  const silent = shown(snapshotOf({ pis: 3, state: 'degraded', services: [web], change }));
  expect(silent).toContain('! Nothing is heard of pi2.');
  expect(shown(snapshotOf({ pis: 3, state: 'degraded', services: [web], notices: [dead] })).join()).not.toContain(
    'Of web',
  );
});

test('a Pi is dead: its row says so, and the notice comes with its cure', () => {
  const snapshot = snapshotOf({
    pis: 5,
    state: 'degraded',
    services: [
      whoamiService,
      { ...whoamiService, name: 'web', image: 'nginx:1.27', running: 1, desired: 2, ports: [] },
    ],
    notices: [dead],
    change: it => {
      mesh(it);
      it.cluster.pis[2] = {
        ...piOf(3),
        liveness: 'dead',
        swarmState: 'down',
        tasks: 0,
        vitals: undefined,
        lastSeenSeconds: 42,
      };
      it.cluster.pis[3] = {
        ...piOf(4),
        vitals: { cpuPercent: 99.6, memoryPercent: 71.2, temperatureCelsius: 81, underVoltage: true },
      };
      it.doing = 'wait: pi3 is down; it is replaced as a manager in 18 s';
    },
  });
  expect(`\n${shown(snapshot).join('\n')}\n`).toMatchInlineSnapshot(`
    "
    pi-swarm cluster 3f2a91c0 · degraded · 5 Pis, 2 of 3 managers · whoami 5/5
    pi1: wait: pi3 is down; it is replaced as a manager in 18 s

    PI     ADDRESS       ROLE     STATE  TASKS  CPU   MEM  TEMP  NOTE
    pi1 *  192.168.1.11  leader   ready  1      4%    21%  48°C
    pi2    192.168.1.12  manager  ready  1      5%    22%  49°C
    pi3    192.168.1.13  manager  dead   0      –     –    –     42 s ago
    pi4    192.168.1.14  worker   ready  1      100%  71%  81°C  low voltage
    pi5    192.168.1.15  worker   ready  1      8%    25%  52°C

    whoami  5/5  80→8000  pi-swarm/whoami:1
    web     1/2  –        nginx:1.27
    routing mesh: pi-swarm’s (nftables), 1 port · MQTT: connected

    What is wrong, and what to do:
    ! pi3 is down, for 42 s at least.
      → Check its power and network. Its work runs elsewhere; it takes its place
        again when it is back.
    "
  `);
});

test('a manager that does not answer is counted in the headline, and named in its row', () => {
  const change = (it: Snapshot) => {
    it.cluster.pis[1] = { ...piOf(2), unreachable: true };
  };
  const text = shown(snapshotOf({ pis: 3, state: 'degraded', change })).join('\n');
  expect(text).toMatch(/^pi-swarm cluster 3f2a91c0 · degraded · 3 Pis, 2 of 3 managers/);
  expect(text).toMatch(/pi2 .* manager {2}ready .* not reachable/);
});

test.each<[string, Partial<PiSnapshot>, string]>([
  ['that gives its work away', { availability: 'pause', leaving: 'drain' }, 'draining'],
  ['that goes, and gives its work away', { availability: 'pause', leaving: 'leave' }, 'draining'],
  ['that is spared new work by somebody', { availability: 'pause' }, 'paused'],
  ['that is drained', { availability: 'drain', leaving: 'drain' }, 'drained'],
  ['that has left', { swarmState: 'none', availability: 'none', leaving: 'left' }, 'left'],
  ['that has left and is off', { swarmState: 'none', liveness: 'dead', leaving: 'left' }, 'left'],
])('the state of a Pi %s', (_which, more, state) => {
  const change = (it: Snapshot) => {
    it.cluster.pis[1] = { ...piOf(2), ...more };
  };
  const row = shown(snapshotOf({ pis: 3, change })).find(line => line.startsWith('pi2'));
  expect(row?.split(/ {2,}/)[3]).toBe(state);
  expect(row?.endsWith('back: pi-swarm join')).toBe(state === 'left');
});

test('a Pi without a secret', () => {
  const snapshot = snapshotOf({
    state: 'unclaimed',
    notices: [
      {
        severity: 'warning',
        kind: 'unclaimed',
        text: 'This Pi has no cluster secret, so it joins nothing.',
        cure: 'sudo pi-swarm join TOKEN',
      },
    ],
    change: it => {
      it.cluster = { ...it.cluster, tag: '', managers: 0, pis: [], services: undefined };
      it.self.claimed = false;
      it.doing = 'wait: no cluster secret';
      it.mesh = { mode: 'none', ports: 0 };
    },
  });
  expect(`\n${shown(snapshot).join('\n')}\n`).toMatchInlineSnapshot(`
    "
    pi-swarm on pi1 · unclaimed · it belongs to no cluster yet
    pi1: wait: no cluster secret

    routing mesh: none, 0 ports · MQTT: off

    What is wrong, and what to do:
    ! This Pi has no cluster secret, so it joins nothing.
      → sudo pi-swarm join TOKEN
    "
  `);
});

const manyNotices: Notice[] = Array.from({ length: 12 }, (_, index) => ({
  severity: index === 7 ? 'error' : 'warning',
  kind: `k${index}`,
  text: `Number ${index} is a long text about something that went wrong, and it does not end where one would hope it ended.`,
  cure: `Cure ${index} is long, too: first do this, then do that, and in the end have a look at the log with journalctl -u pi-swarm.`,
}));
const manyServices = Array.from({ length: 9 }, (_, index) => ({
  ...whoamiService,
  name: `a-service-with-a-very-long-name-${index}`,
  image: 'registry.example.org/team/project/image-with-a-long-name:2025-06-01-rc1@sha256:0123456789abcdef',
}));

test.each([
  ['all is well', snapshotOf({ pis: 5, services: [whoamiService] })],
  ['much is wrong', snapshotOf({ pis: 5, services: manyServices, notices: manyNotices, state: 'down' })],
  ['one Pi', snapshotOf({ pis: 1 })],
  [
    'long names',
    snapshotOf({
      pis: 5,
      services: manyServices,
      change: it => {
        for (const pi of it.cluster.pis) {
          pi.name = `raspberry-pi-in-the-cellar-${pi.name}`;
          pi.liveness = 'dead';
          pi.swarmState = 'disconnected';
          pi.lastSeenSeconds = 100_000;
          pi.vitals = { ...pi.vitals, underVoltage: true, diskPercent: 99 };
        }
        it.doing = 'waiting '.repeat(40);
        it.mqtt = { state: 'offline', problem: 'connect ECONNREFUSED 192.168.1.250:1883, again in 30 s' };
      },
    }),
  ],
])('fits into 24 lines of 80 columns: %s', (_name, snapshot) => {
  const lines = shown(snapshot);
  expect(lines.length).toBeLessThanOrEqual(24);
  expect(lines.filter(line => widthOf(line) > 80)).toEqual([]);
});

test('twenty Pis are all shown', () => {
  const lines = shown(snapshotOf({ pis: 20, notices: manyNotices })).join('\n');
  for (let number = 1; number <= 20; number++) expect(lines).toContain(`pi${number} `);
});

test('the worst notice comes first, and those that do not fit are counted', () => {
  const text = shown(snapshotOf({ pis: 5, notices: manyNotices })).join('\n');
  expect(text.indexOf('✗ Number 7')).toBeGreaterThan(0);
  expect(text.indexOf('✗ Number 7')).toBeLessThan(text.indexOf('! Number 0'));
  expect(text).toMatch(/… and \d+ more: pi-swarm status --json/);
});

test('colours change nothing but colours', () => {
  const paint = paintFor({ isTTY: true }, { TERM: 'xterm' });
  const snapshot = snapshotOf({ pis: 3, services: [whoamiService], notices: [dead] });
  const coloured = renderStatus(snapshot, { paint, width: 80 });
  expect(coloured.join('')).toContain(String.fromCharCode(27));
  expect(coloured.map(stripColours)).toEqual(shown(snapshot));
});

test.each([
  ['not a terminal', { isTTY: false }, {}],
  ['NO_COLOR', { isTTY: true }, { NO_COLOR: '1' }],
  ['a terminal that knows none', { isTTY: true }, { TERM: 'dumb' }],
])('no colours: %s', (_name, stream, env) => {
  expect(paintFor(stream, env)('red', 'x')).toBe('x');
});

test.each([
  ['ok', snapshotOf({ pis: 3 }), false],
  ['a warning only', snapshotOf({ pis: 3, notices: [dead] }), false],
  ['an error', snapshotOf({ pis: 3, notices: [{ ...dead, severity: 'error' }] }), true],
  ['down', snapshotOf({ pis: 3, state: 'down' }), true],
])('unhealthy means that a person is needed: %s', (_name, snapshot, unhealthy) => {
  expect(isUnhealthy(snapshot)).toBe(unhealthy);
});
