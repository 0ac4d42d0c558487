import { describe, expect, test } from 'vitest';
import { allChecks, renderChecks } from '../../src/cli/doctor.ts';
import type { Check, DoctorFacts } from '../../src/cli/doctor-check.ts';
import { collectFacts } from '../../src/cli/doctor-facts.ts';
import { cgroupFrom, fromLists } from '../../src/cli/doctor-kernel.ts';
import { bindingsIn } from '../../src/cli/doctor-ports.ts';
import { piOf, snapshotOf } from './fixtures.ts';

/** A Pi with which nothing is wrong. */
function wellFacts(): DoctorFacts {
  return {
    root: true,
    platform: 'linux',
    nodeVersion: 'v20.19.2',
    wallMs: Date.UTC(2025, 5, 1),
    builtMs: Date.UTC(2025, 4, 1),
    engine: {
      socket: '/var/run/docker.sock',
      version: '26.1.5',
      apiVersion: '1.45',
      swarmState: 'active',
      swarmIsOurs: true,
      memoryLimit: true,
    },
    openEngine: { addresses: [], answers: false },
    secret: { path: '/etc/pi-swarm/secret', state: 'ok', mode: 0o100600 },
    stateDir: { path: '/var/lib/pi-swarm', exists: true, mode: 0o40700, freeBytes: 8e9, totalBytes: 16e9 },
    kernelRelease: '6.12.0-rpi',
    kernel: { vxlan: true, bridge: true, overlay: true, nf_tables: true, br_netfilter: true, ip_vs: true },
    memoryCgroup: 'v2',
    machineId: '0123456789abcdef0123456789abcdef',
    agentPort: 3378,
    ports: [
      { port: 2377, protocol: 'tcp', held: true, holder: 'dockerd' },
      { port: 4789, protocol: 'udp', held: true },
      { port: 3378, protocol: 'tcp', held: true, holder: 'node' },
    ],
    interfaces: [{ name: 'eth0', address: '192.168.1.11', multicast: true }],
    defaultRoute: 'eth0',
    agent: { running: true, snapshot: snapshotOf({ pis: 3 }) },
  };
}

const wrong = (facts: DoctorFacts): Check[] => allChecks(facts).filter(check => check.verdict !== 'ok');

test('nothing is wrong with a Pi that is well', () => {
  expect(wrong(wellFacts())).toEqual([]);
  expect(renderChecks(allChecks(wellFacts()), (_style, text) => text, 80).at(-1)).toBe('Nothing is wrong.');
});

type Change = (facts: DoctorFacts) => void;
const one = (change: Change): Check[] => {
  const facts = wellFacts();
  change(facts);
  return wrong(facts);
};

const cases: [name: string, verdict: Check['verdict'], change: Change, cure: RegExp][] = [
  ['root', 'warning', it => (it.root = false), /sudo pi-swarm doctor/],
  ['linux', 'error', it => (it.platform = 'darwin'), /Raspberry/],
  ['node', 'error', it => (it.nodeVersion = 'v18.20.1'), /20\.3/],
  ['node', 'error', it => (it.nodeVersion = 'v20.2.0'), /20\.3/],
  ['clock', 'warning', it => (it.wallMs = 0), /timedatectl/],
  ['machine-id', 'warning', it => (it.machineId = 'uninitialized'), /systemd-machine-id-setup/],
  ['machine-id', 'warning', it => (it.machineId = undefined), /systemd-machine-id-setup/],
  [
    'boot-files',
    'error',
    it =>
      (it.bootNotices = [
        { severity: 'error', kind: 'boot-file', text: 'user-data:1:1: what', cure: 'cloud-init clean' },
      ]),
    /cloud-init clean/,
  ],
  ['config', 'error', it => (it.configProblem = '/etc/pi-swarm/config.yaml:3:1: what is this'), /config\.md/],
  ['secret', 'warning', it => (it.secret.state = 'absent'), /join TOKEN/],
  ['secret', 'error', it => (it.secret.mode = 0o100644), /chmod 600 \/etc\/pi-swarm\/secret/],
  ['secret', 'error', it => (it.secret = { ...it.secret, state: 'damaged', problem: 'the checksum failed' }), /invite/],
  ['secret', 'warning', it => (it.secret = { ...it.secret, state: 'unreadable' }), /sudo/],
  ['state', 'error', it => (it.stateDir.mode = 0o40755), /chmod 700/],
  ['disk', 'error', it => (it.stateDir.freeBytes = 100 * 1024 ** 2), /prune/],
  ['disk', 'warning', it => (it.stateDir.freeBytes = 1e9), /prune/],
  ['engine', 'error', it => (it.engine = { socket: '/x', problem: 'connect ENOENT' }), /docker\.io/],
  ['engine', 'error', it => (it.engine.apiVersion = '1.39'), /19\.03/],
  [
    'foreign-swarm',
    'error',
    it => (it.agent.snapshot!.self.swarm = { state: 'foreign', nodeId: 'x' }),
    /docker swarm leave/,
  ],
  ['open-engine', 'error', it => (it.openEngine = { addresses: ['0.0.0.0'], answers: true }), /daemon\.json/],
  ['open-engine', 'warning', it => (it.openEngine = { addresses: ['127.0.0.1'], answers: true }), /daemon\.json/],
  ['vxlan', 'error', it => (it.kernel.vxlan = false), /modprobe vxlan/],
  ['vxlan', 'warning', it => (it.kernel.vxlan = undefined), /modprobe vxlan/],
  ['bridge', 'error', it => (it.kernel.bridge = false), /modprobe bridge/],
  ['overlay', 'warning', it => (it.kernel.overlay = false), /modprobe overlay/],
  ['memory-cgroup', 'warning', it => (it.engine.memoryLimit = false), /cgroup_enable=memory/],
  ['port-2377-tcp', 'error', it => (it.ports[0]!.holder = 'nginx'), /sport = :2377/],
  ['port-4789-udp', 'error', it => (it.ports[1]!.holder = 'openvpn'), /sport = :4789/],
  ['network', 'error', it => (it.interfaces = []), /cable/],
  ['multicast', 'warning', it => (it.interfaces[0]!.multicast = false), /peers:/],
  [
    'peers',
    'warning',
    it => (it.agent.snapshot!.cluster.pis[2] = { ...piOf(3), liveness: 'dead', lastSeenSeconds: 300 }),
    /3378/,
  ],
  ['same-name', 'warning', it => (it.agent.snapshot!.cluster.pis[2] = { ...piOf(3), name: 'pi2' }), /set-hostname/],
  [
    'same-address',
    'error',
    it => (it.agent.snapshot!.cluster.pis[2] = { ...piOf(3), address: '192.168.1.12' }),
    /machine-id/,
  ],
  ['versions', 'warning', it => (it.agent.snapshot!.cluster.pis[2] = { ...piOf(3), version: '0.2.0' }), /newest/],
  ['power', 'warning', it => (it.agent.snapshot!.self.vitals.underVoltage = true), /power supply/],
  ['power', 'warning', it => (it.agent.snapshot!.self.vitals.throttled = true), /heat/],
  [
    'routing-mesh',
    'error',
    it => (it.agent.snapshot!.mesh = { mode: 'none', ports: 1, problem: 'nft failed' }),
    /journalctl/,
  ],
  [
    'refused-peer',
    'warning',
    it =>
      it.agent.snapshot!.notices.push({
        severity: 'info',
        kind: 'refused-peer',
        text: '3 refused',
        cure: 'join there',
      }),
    /join there/,
  ],
  [
    'quorum-lost',
    'error',
    it =>
      it.agent.snapshot!.notices.push({ severity: 'error', kind: 'quorum-lost', text: 'no leader', cure: 'power on' }),
    /power on/,
  ],
];

test.each(cases)('finds what is wrong, and only that: %s (%s)', (name, verdict, change, cure) => {
  expect(one(change)).toEqual([{ name, verdict, text: expect.any(String), cure: expect.stringMatching(cure) }]);
});

test('without the agent, it says so, and that its port is taken by another', () => {
  expect(one(it => (it.agent = { running: false, problem: 'the agent is not running' }))).toMatchObject([
    { name: 'port-3378-tcp', text: 'port 3378/tcp (the agent) is taken by node' },
    { name: 'agent', verdict: 'error', text: 'the agent is not running' },
  ]);
});

test('without the agent, a manager of a swarm that is not ours is foreign', () => {
  const found = one(it => {
    it.agent = { running: false };
    it.ports = [];
    it.engine.swarmIsOurs = false;
  });
  expect(found.map(check => check.name)).toEqual(['foreign-swarm', 'agent']);
});

test.each([
  ['kernel', {}, /Docker’s own routing mesh \(ip_vs\)/],
  ['nftables', { ip_vs: false }, /pi-swarm’s routing mesh \(nftables\)/],
])('says which routing mesh is at work: %s', (mode, kernel, text) => {
  const facts = wellFacts();
  Object.assign(facts.kernel, kernel);
  facts.agent.snapshot!.mesh = { mode: mode as 'kernel', ports: 1 };
  expect(allChecks(facts).find(check => check.name === 'routing-mesh')?.text).toMatch(text);
});

test('each check has one name, and no cure is missing', () => {
  for (const [, , change] of cases) for (const check of one(change)) expect(check.cure, check.name).toBeTruthy();
  const names = allChecks(wellFacts()).map(check => check.name);
  expect(names).toEqual([...new Set(names)]);
});

test('what is wrong is shown with its cure, within the width', () => {
  const facts = wellFacts();
  facts.secret.state = 'absent';
  facts.kernel.vxlan = false;
  const lines = renderChecks(wrong(facts), (_style, text) => text, 80);
  expect(`\n${lines.join('\n')}\n`).toMatchInlineSnapshot(`
    "
    ! no cluster secret (/etc/pi-swarm/secret): this Pi joins nothing
      → To found a cluster: sudo pi-swarm secret new --write. To enter one: sudo
        pi-swarm join TOKEN
    ✗ kernel 6.12.0-rpi lacks vxlan: overlay networks between the Pis will not work
      → sudo modprobe vxlan. On Ubuntu: sudo apt install linux-modules-extra-raspi.
        After a kernel update: reboot.

    1 error, 1 warning.
    "
  `);
  expect(lines.filter(line => line.length > 80)).toEqual([]);
});

describe('what the kernel tells', () => {
  const installed = 'kernel/drivers/net/vxlan/vxlan.ko:\nkernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/lib/x.ko\n';
  test.each([
    ['loaded', 'bridge', true, undefined, true],
    ['installed', 'vxlan', false, installed, true],
    ['installed and packed', 'ip_vs', false, installed, true],
    ['not installed', 'br_netfilter', false, installed, false],
    ['lists are missing', 'vxlan', false, undefined, undefined],
  ] as const)('module %s', (_name, feature, loaded, lists, expected) => {
    expect(fromLists(feature, { installed: lists, loaded: () => loaded })).toBe(expected);
  });

  const head = '#subsys_name\thierarchy\tnum_cgroups\tenabled\n';
  test.each([
    ['v2', 'cpuset cpu io memory pids\n', undefined, 'v2'],
    ['v2 without memory', 'cpuset cpu io\n', `${head}memory\t0\t1\t0\n`, 'off'],
    ['v1', undefined, `${head}memory\t4\t80\t1\n`, 'v1'],
    ['v1 switched off', undefined, `${head}memory\t0\t1\t0\n`, 'off'],
    ['nothing known', undefined, undefined, undefined],
  ])('memory cgroup: %s', (_name, controllers, table, expected) => {
    expect(cgroupFrom(controllers, table)).toBe(expected);
  });

  test('listeners in /proc/net', () => {
    const row = (local: string, state: string, inode: number) =>
      `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0 100 0`;
    const text = [
      '  sl  local_address rem_address   st',
      row('0100007F:0947', '0A', 7),
      row('0B01A8C0:0D32', '01', 8),
    ].join('\n');
    expect(bindingsIn(text, 'tcp')).toEqual([{ protocol: 'tcp', address: '127.0.0.1', port: 2375, inode: '7' }]);
    const six = ['sl', row('00000000000000000000000000000000:0D32', '0A', 9)].join('\n');
    expect(bindingsIn(six, 'tcp')).toMatchObject([{ address: '::', port: 3378 }]);
  });
});

test.runIf(process.platform === 'linux')(
  'collects the facts of a real machine without an agent, in bounded time',
  async () => {
    const started = performance.now();
    const facts = await collectFacts({ socket: '/nonexistent/agent.sock' });
    expect(performance.now() - started).toBeLessThan(15_000);
    expect(facts.agent.running).toBe(false);
    expect(facts.kernelRelease).not.toBe('');
    expect(facts.ports).toHaveLength(5);
    expect(allChecks(facts).find(check => check.name === 'agent')?.verdict).toBe('error');
  },
);
