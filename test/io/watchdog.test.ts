/** systemd's watchdog: who feeds it and when; the real one is in test/lab/package.test.ts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { notify, Watchdog } from '../../src/io/systemd.ts';

const MINUTE_USEC = 60_000_000;

/** Time that passes when the test says so; `tell` resolves when the test says so. */
function watch(environment: NodeJS.ProcessEnv) {
  const told: number[] = [];
  let nowMs = 5_000;
  let answer = (): void => {};
  const watchdog = new Watchdog({
    environment,
    now: () => nowMs,
    tell: state => {
      expect(state).toBe('WATCHDOG=1');
      told.push(nowMs);
      return new Promise(resolve => {
        answer = resolve;
      });
    },
  });
  const turn = async (afterMs: number, answered = true) => {
    nowMs += afterMs;
    watchdog.turned();
    if (answered) answer();
    await new Promise(setImmediate);
  };
  return { told, turn };
}

it('is told four times within its limit, and never more than once a minute with a long one', async () => {
  for (const [usec, everyMs] of [
    [MINUTE_USEC, 15_000],
    [7 * MINUTE_USEC, 60_000],
  ] as const) {
    const { told, turn } = watch({ WATCHDOG_USEC: `${usec}` });
    for (let ms = 0; ms < 300_000; ms += 1_000) await turn(1_000);
    expect(told.slice(1).map((atMs, index) => atMs - (told[index] ?? 0))).toEqual(
      Array.from({ length: 300_000 / everyMs - 1 }, () => everyMs),
    );
  }
});

it('is told nothing as long as nothing turns', async () => {
  const { told, turn } = watch({ WATCHDOG_USEC: `${MINUTE_USEC}` });
  await turn(0);
  expect(told).toHaveLength(1);
  await turn(10 * 60_000);
  expect(told).toHaveLength(2);
});

it('has one messenger at a time', async () => {
  const { told, turn } = watch({ WATCHDOG_USEC: `${MINUTE_USEC}` });
  await turn(0, false);
  await turn(60_000, false);
  expect(told).toHaveLength(1);
  await turn(1_000);
  await turn(1_000);
  expect(told).toHaveLength(2);
});

it.each([
  [{}],
  [{ WATCHDOG_USEC: '' }],
  [{ WATCHDOG_USEC: '0' }],
  [{ WATCHDOG_USEC: 'soon' }],
  [{ WATCHDOG_USEC: `${MINUTE_USEC}`, WATCHDOG_PID: '1' }],
])('is told nothing where nobody watches this process: %j', async environment => {
  const { told, turn } = watch(environment);
  for (let turns = 0; turns < 10; turns++) await turn(60_000);
  expect(told).toEqual([]);
});

it('is told where it watches this very process', async () => {
  const { told, turn } = watch({ WATCHDOG_USEC: `${MINUTE_USEC}`, WATCHDOG_PID: `${process.pid}` });
  await turn(0);
  expect(told).toHaveLength(1);
});

/** What systemd would get: Node has no datagram sockets, perl has. Each datagram is printed in a line. */
const RECEIVER = `$| = 1; my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die; print "ready\\n";
while (defined $s->recv(my $text, 4096)) { print "$text\\n" }`;

let directory: string;
let receiver: ChildProcess;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'pi-swarm-watchdog-'));
});
afterAll(async () => {
  if (receiver?.exitCode === null) {
    receiver.kill('SIGKILL');
    await once(receiver, 'exit');
  }
  rmSync(directory, { recursive: true, force: true });
});

it('hears it from the real systemd-notify', async () => {
  const socket = join(directory, 'notify');
  receiver = spawn('perl', ['-MSocket', '-MIO::Socket::UNIX', '-e', RECEIVER, socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: receiver.stdout! })[Symbol.asyncIterator]();
  expect((await lines.next()).value).toBe('ready');
  const environment = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: `${MINUTE_USEC}` };
  process.env['NOTIFY_SOCKET'] = socket;
  try {
    new Watchdog({ environment, tell: state => notify(state, environment) }).turned();
    expect((await lines.next()).value).toBe('WATCHDOG=1');
  } finally {
    delete process.env['NOTIFY_SOCKET'];
  }
});
