import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Intent, Memory } from '../src/core/world.ts';
import { jobOf, notify } from '../src/io/systemd.ts';
import { KeptMemory } from '../src/keep-memory.ts';
import { createLogger } from '../src/log.ts';
import { Stopper, type StopReason, stopReason } from '../src/shutdown.ts';

describe('the stopper', () => {
  const make = (intent: Intent, reason: () => Promise<StopReason>, drainTimeoutMs = 60_000) => {
    const saved: Memory[] = [];
    const store = {
      load: async () => ({ intent }),
      save: async (memory: Memory) => {
        saved.push(memory);
      },
    };
    const stop = vi.fn<() => void>();
    const wake = vi.fn<() => void>();
    const log = createLogger({ level: 'silent', name: 'pi1' });
    const memory = new KeptMemory(store as never, { intent });
    const stopper = new Stopper({ memory, log, drainTimeoutMs, closeMs: 10, wake, reason });
    return { stopper, stop, wake, saved };
  };

  it.each(['shutdown', 'stop'] as const)('lets work move before the agent ends: %s', async why => {
    const { stopper, stop, wake, saved } = make('stay', async () => why);
    await stopper.ask('SIGTERM', stop);
    expect(saved).toEqual([{ intent: 'shutdown' }]);
    expect(wake).toHaveBeenCalled();
    expect(stop).not.toHaveBeenCalled();
  });

  it('ends at once, and remembers nothing, when it is only restarted', async () => {
    const { stopper, stop, saved } = make('stay', async () => 'passing');
    await stopper.ask('SIGTERM', stop);
    expect(stop).toHaveBeenCalledOnce();
    expect(saved).toEqual([]);
  });

  it('ends at once on Ctrl-C, without asking anybody', async () => {
    const reason = vi.fn<() => Promise<StopReason>>(async () => 'shutdown');
    const { stopper, stop } = make('stay', reason);
    await stopper.ask('SIGINT', stop);
    expect(stop).toHaveBeenCalledOnce();
    expect(reason).not.toHaveBeenCalled();
  });

  it('ends at once on a second signal, also while it still asks why', async () => {
    let answer = (_why: StopReason): void => {};
    const { stopper, stop, saved } = make('stay', () => new Promise(resolve => (answer = resolve)));
    const first = stopper.ask('SIGTERM', stop);
    await stopper.ask('SIGTERM', stop);
    expect(stop).toHaveBeenCalledOnce();
    answer('shutdown');
    await first;
    expect(saved).toEqual([]);
  });

  it('goes anyway when its time is over', async () => {
    const { stopper, stop } = make('stay', async () => 'stop', 20);
    await stopper.ask('SIGTERM', stop);
    await vi.waitFor(() => expect(stop).toHaveBeenCalledOnce());
  });

  it('does not come back by a poweroff once it has left', async () => {
    const { stopper, stop, saved } = make('left', async () => 'shutdown');
    await stopper.ask('SIGTERM', stop);
    expect(stop).toHaveBeenCalledOnce();
    expect(saved).toEqual([]);
  });

  it('finishes a leave that a poweroff meets, and goes then', async () => {
    const { stopper, stop, saved } = make('leave', async () => 'shutdown');
    await stopper.ask('SIGTERM', stop);
    stopper.onTurn('leave');
    expect(stop).not.toHaveBeenCalled();
    stopper.onTurn('left');
    expect(stop).toHaveBeenCalledOnce();
    expect(saved).toEqual([]);
  });

  it('is not stopped by having left alone', () => {
    const { stopper, stop } = make('left', async () => 'shutdown');
    stopper.onTurn('left');
    expect(stop).not.toHaveBeenCalled();
  });
});

/** What systemd 252 printed while it stopped a unit: see test/lab/systemd.test.ts for the real one. */
describe('the reason of a stop', () => {
  let directory = '';
  const path = process.env['PATH'];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'pi-swarm-systemctl-'));
    process.env['PATH'] = `${directory}${delimiter}${path}`;
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  });
  afterEach(() => {
    process.env['PATH'] = path;
  });

  const program = (name: string, text: string) =>
    writeFileSync(join(directory, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  const systemctl = (state: string, jobs: string) =>
    program('systemctl', `case $1 in is-system-running) echo ${state}; exit 1 ;; list-jobs) echo '${jobs}' ;; esac`);
  const why = () => stopReason('pi-swarm.service', join(directory, 'none'));

  it.each([
    ['running', ' 82 pi-swarm.service stop running', 'stop'],
    ['degraded', '7 pi-swarm.service stop running', 'stop'],
    ['running', '36 pi-swarm.service restart running', 'passing'],
    ['running', '', 'passing'],
    ['stopping', '349 pi-swarm.service stop running', 'shutdown'],
    ['stopping', '', 'shutdown'],
  ])('is read from what systemd does: %s, «%s» → %s', async (state, jobs, reason) => {
    systemctl(state, jobs);
    expect(await why()).toBe(reason);
  });

  it('is a shutdown where a system without systemd says so', async () => {
    program('systemctl', 'exit 1');
    writeFileSync(join(directory, 'shutting-down'), '');
    expect(await stopReason(undefined, join(directory, 'shutting-down'))).toBe('shutdown');
  });

  it('is a passing one where the agent is no unit, or systemd does not answer', async () => {
    systemctl('running', '1 other.service stop running');
    expect(await stopReason(undefined, join(directory, 'none'))).toBe('passing');
    expect(await jobOf('pi-swarm.service')).toBeUndefined();
    program('systemctl', 'exit 1');
    expect(await why()).toBe('passing');
  });

  it('tells systemd only where systemd listens', async () => {
    program('systemd-notify', `echo "$1" >>${directory}/told`);
    await notify('READY=1', {});
    await notify('READY=1', { NOTIFY_SOCKET: '/run/systemd/notify' });
    expect(readFileSync(join(directory, 'told'), 'utf8')).toBe('READY=1\n');
  });
});
