import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type HostOptions, MachineHost, type SystemReader } from '../../src/io/host.ts';
import { parseThrottled } from '../../src/io/throttle.ts';

const GET_THROTTLED = 'sys/devices/platform/soc/soc:firmware/get_throttled';

let root: string;
let nowMs: number;

/** A reader that counts and knows nothing; tests replace what they need. */
function reader(parts: Partial<SystemReader> = {}) {
  const calls: string[] = [];
  const wrap = <K extends keyof SystemReader>(name: K, fallback: Awaited<ReturnType<SystemReader[K]>>) => {
    return async () => {
      calls.push(name);
      return ((await parts[name]?.()) ?? fallback) as never;
    };
  };
  return {
    calls,
    load: async (): Promise<SystemReader> => ({
      cpuTemperature: wrap('cpuTemperature', { main: null }),
    }),
  };
}

const machine = (options: Partial<HostOptions> = {}) =>
  new MachineHost({
    stateDir: root,
    proc: join(root, 'proc'),
    sys: join(root, 'sys'),
    etc: join(root, 'etc'),
    now: () => nowMs,
    loadReader: reader().load,
    ...options,
  });

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}

const cpu = (busy: number, idle: number) => put('proc/stat', `cpu  ${busy} 0 0 ${idle} 0 0 0 0 0 0\ncpu0 1 1 1 1\n`);

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-swarm-host-'));
  nowMs = 0;
});
afterEach(() => rm(root, { recursive: true }));

describe('what the machine is', () => {
  it("takes a Pi's model and serial number from the device tree, without asking anybody else", async () => {
    await put('proc/device-tree/model', 'Raspberry Pi 4 Model B Rev 1.4\0');
    await put('proc/device-tree/serial-number', '10000000e3a1b2c3\0');
    await put('etc/os-release', 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n');
    const { calls, load } = reader();
    const facts = await machine({ loadReader: load, mac: () => 'dc:a6:32:00:00:01' }).facts();
    expect(facts).toMatchObject({ model: 'Raspberry Pi 4 Model B Rev 1.4', os: 'Debian GNU/Linux 13 (trixie)' });
    expect(facts.hardware).not.toContain('e3a1b2c3');
    expect(calls).toEqual([]);
  });

  it('identifies the board by its serial number, whatever else changes', async () => {
    await put('sys/firmware/devicetree/base/serial-number', '10000000e3a1b2c3\0');
    await put('etc/machine-id', 'aaaa\n');
    const before = await machine({ mac: () => 'dc:a6:32:00:00:01' }).facts();
    await put('etc/machine-id', 'bbbb\n');
    const after = await machine({ mac: () => 'dc:a6:32:00:00:99' }).facts();
    expect(after.hardware).toBe(before.hardware);
    await put('sys/firmware/devicetree/base/serial-number', '10000000e3a1b2c4\0');
    expect((await machine().facts()).hardware).not.toBe(before.hardware);
  });

  it('identifies a machine without serial number (or with one of zeros) by its MAC, else by its machine-id', async () => {
    await put('proc/device-tree/serial-number', '0000000000000000\0');
    const hardware = async (mac?: string) => (await machine({ mac: () => mac }).facts()).hardware;
    expect(await hardware('DC:A6:32:00:00:01')).toBe(await hardware('dc:a6:32:00:00:01'));
    expect(await hardware('dc:a6:32:00:00:02')).not.toBe(await hardware('dc:a6:32:00:00:01'));
    expect(await hardware('00:00:00:00:00:00')).toBe(await hardware(undefined));
    await put('etc/machine-id', 'cccc\n');
    const withId = await hardware();
    await put('etc/machine-id', 'dddd\n');
    expect(await hardware()).not.toBe(withId);
  });

  it('takes the identity it is given, for virtual Pis on one board', async () => {
    await put('proc/device-tree/serial-number', '10000000e3a1b2c3\0');
    expect((await machine({ hardware: 'feedfacefeedface' }).facts()).hardware).toBe('feedfacefeedface');
  });

  it("takes a PC's model from its firmware, without what its maker never filled in", async () => {
    expect((await machine().facts()).model).toBe('unknown');
    await put('sys/class/dmi/id/sys_vendor', 'LENOVO\n');
    await put('sys/class/dmi/id/product_name', 'ThinkCentre\n');
    expect((await machine().facts()).model).toBe('LENOVO ThinkCentre');
    await put('sys/class/dmi/id/product_name', 'To Be Filled By O.E.M.\n');
    expect((await machine().facts()).model).toBe('LENOVO');
  });
});

describe('how it is doing', () => {
  it('counts the CPU between two readings; the first has none', async () => {
    const host = machine();
    await cpu(100, 900);
    expect((await host.vitals()).cpuPercent).toBeUndefined();
    await cpu(125, 975);
    nowMs += 5000;
    expect((await host.vitals()).cpuPercent).toBe(25);
  });

  it('reads CPU and memory at most once a second', async () => {
    const host = machine();
    await put('proc/meminfo', 'MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  750 kB\n');
    expect(await host.vitals()).toMatchObject({ memoryPercent: 25, memoryUsedBytes: 250 * 1024 });
    await put('proc/meminfo', 'MemTotal:  1000 kB\nMemAvailable:  500 kB\n');
    nowMs += 900;
    expect((await host.vitals()).memoryPercent).toBe(25);
    nowMs += 200;
    expect((await host.vitals()).memoryPercent).toBe(50);
  });

  it('asks for the temperature at most once a minute, and never waits for it but the first time', async () => {
    const answers = [41, 42, 43];
    const { calls, load } = reader({ cpuTemperature: async () => ({ main: answers.shift() ?? null }) });
    const host = machine({ loadReader: load });
    expect((await host.vitals()).temperatureCelsius).toBe(41);
    for (; nowMs < 59_000; nowMs += 1000) await host.vitals();
    expect(calls).toHaveLength(1);
    nowMs = 60_000;
    expect((await host.vitals()).temperatureCelsius).toBe(41);
    await expect.poll(async () => (await host.vitals()).temperatureCelsius).toBe(42);
    expect(calls).toHaveLength(2);
  });

  it("reads a Pi's temperature from the kernel", async () => {
    await put('sys/class/thermal/thermal_zone0/type', 'cpu-thermal\n');
    await put('sys/class/thermal/thermal_zone0/temp', '47712\n');
    const { calls, load } = reader();
    const host = machine({ loadReader: load });
    expect((await host.vitals()).temperatureCelsius).toBeCloseTo(47.712);
    expect(calls).toEqual([]);
  });

  it('sees within seconds that a Pi gets hot or too little voltage', async () => {
    await put('sys/class/thermal/thermal_zone0/type', 'cpu-thermal\n');
    await put('sys/class/thermal/thermal_zone0/temp', '47712\n');
    await put(GET_THROTTLED, '0\n');
    const host = machine();
    expect(await host.vitals()).toMatchObject({ throttled: { underVoltage: false } });
    await put('sys/class/thermal/thermal_zone0/temp', '83000\n');
    await put(GET_THROTTLED, '50001\n');
    nowMs += 5_000;
    expect(await host.vitals()).toMatchObject({ temperatureCelsius: 83, throttled: { underVoltage: true } });
  });

  it('counts its uptime from its first process: a virtual Pi shares the kernel of its host', async () => {
    const whole = (await machine().vitals()).uptimeSeconds;
    const began = Math.max(0, whole - 30) * 100;
    await put('proc/1/stat', `1 (a (strange) name) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 ${began} 1 2\n`);
    const own = (await machine().vitals()).uptimeSeconds;
    expect(own).toBeGreaterThanOrEqual(Math.min(29, whole));
    expect(own).toBeLessThan(60);
    await put('proc/1/stat', 'nonsense');
    expect((await machine().vitals()).uptimeSeconds).toBeGreaterThanOrEqual(whole);
  });

  it('leaves out what cannot be read, and does not fail', async () => {
    await put('proc/stat', 'nonsense');
    await put('proc/meminfo', '');
    await put(GET_THROTTLED, 'VCHI initialization failed\n');
    const host = machine({
      stateDir: join(root, 'missing'),
      loadReader: () => Promise.reject(new Error('cannot be loaded')),
    });
    const vitals = JSON.parse(JSON.stringify(await host.vitals()));
    expect(Object.keys(vitals).sort()).toEqual(['load1', 'uptimeSeconds']);
  });

  it('knows how full the file system of the state directory is', async () => {
    const { diskPercent, diskFreeBytes } = await machine().vitals();
    expect(diskPercent).toBeGreaterThanOrEqual(0);
    expect(diskFreeBytes).toBeGreaterThan(0);
  });
});

describe('under-voltage and throttling', () => {
  it('are read from the firmware, bit by bit', async () => {
    await put(GET_THROTTLED, '50005\n');
    const { throttled } = await machine().vitals();
    expect(throttled).toEqual({
      underVoltage: true,
      capped: false,
      throttled: true,
      softLimit: false,
      since: { underVoltage: true, capped: false, throttled: true, softLimit: false },
    });
    expect(parseThrottled('a000a')).toMatchObject({ capped: true, softLimit: true, since: { capped: true } });
    expect(parseThrottled('0x80000')).toMatchObject({ softLimit: false, since: { softLimit: true, throttled: false } });
    expect(parseThrottled('')).toBeUndefined();
  });

  it("are read from hwmon on kernels without the firmware's file, which remember nothing", async () => {
    await put('sys/class/hwmon/hwmon0/name', 'cpu_thermal\n');
    await put('sys/class/hwmon/hwmon3/name', 'rpi_volt\n');
    await put('sys/class/hwmon/hwmon3/in0_lcrit_alarm', '1\n');
    const host = machine();
    expect((await host.vitals()).throttled).toMatchObject({ underVoltage: true, since: { underVoltage: true } });
    await put('sys/class/hwmon/hwmon3/in0_lcrit_alarm', '0\n');
    nowMs += 60_000;
    await expect.poll(async () => (await host.vitals()).throttled?.underVoltage).toBe(false);
    expect((await host.vitals()).throttled?.since.underVoltage).toBe(true);
  });

  it('are absent on machines that have no such sensor', async () => {
    expect((await machine().vitals()).throttled).toBeUndefined();
  });
});
