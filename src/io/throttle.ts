/** What the Pi's firmware says about power and heat. */
import { readdir, readFile } from 'node:fs/promises';
import type { ThrottleFlags } from '../ports.ts';

/** Raspberry Pi's own kernels: the firmware's mailbox value in hex, without 0x. */
const GET_THROTTLED = '/devices/platform/soc/soc:firmware/get_throttled';
/** Mainline kernels (Debian's): the driver raspberrypi-hwmon tells only of under-voltage in the last seconds. */
const HWMON = '/class/hwmon';

/**
 * @param hex as read from sysfs, e.g. `50005`
 * @returns undefined for what is not a hex number
 * Source: https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
 */
export function parseThrottled(hex: string): ThrottleFlags | undefined {
  const text = hex.trim().replace(/^0x/i, '');
  if (!/^[0-9a-f]{1,8}$/i.test(text)) return undefined;
  const bits = Number.parseInt(text, 16);
  const flags = (shift: number) => ({
    underVoltage: (bits & (1 << shift)) !== 0,
    capped: (bits & (2 << shift)) !== 0,
    throttled: (bits & (4 << shift)) !== 0,
    softLimit: (bits & (8 << shift)) !== 0,
  });
  return { ...flags(0), since: flags(16) };
}

/**
 * @param sys `/sys`, another folder in tests
 * @param before what was read last: hwmon has no memory of its own
 * @returns undefined on machines without such a sensor
 */
export async function readThrottled(sys: string, before?: ThrottleFlags): Promise<ThrottleFlags | undefined> {
  const fromFirmware = await readFile(sys + GET_THROTTLED, 'utf8').catch(() => undefined);
  if (fromFirmware !== undefined) return parseThrottled(fromFirmware);
  const alarm = await readVoltageAlarm(sys + HWMON);
  if (alarm === undefined) return undefined;
  const unknown = { capped: false, throttled: false, softLimit: false };
  const underVoltage = alarm || before?.since.underVoltage === true;
  return { underVoltage: alarm, ...unknown, since: { underVoltage, ...unknown } };
}

/** hwmon's numbers change from boot to boot: the sensor is found by its name. */
async function readVoltageAlarm(hwmon: string): Promise<boolean | undefined> {
  const entries = await readdir(hwmon).catch(() => []);
  for (const entry of entries) {
    const name = await readFile(`${hwmon}/${entry}/name`, 'utf8').catch(() => '');
    if (name.trim() !== 'rpi_volt') continue;
    const alarm = await readFile(`${hwmon}/${entry}/in0_lcrit_alarm`, 'utf8').catch(() => undefined);
    return alarm === undefined ? undefined : alarm.trim() === '1';
  }
  return undefined;
}
