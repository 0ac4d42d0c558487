/** What the agent says of its card, and how a machine gets another name. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Card, readOnlyNotice } from '../../src/card.ts';
import { loadAgentConfig, parseConfig } from '../../src/config.ts';
import { KeptMemory } from '../../src/keep-memory.ts';
import { hostsWith } from '../../src/machine/rename.ts';

const MOUNTS = (options: string) =>
  `proc /proc proc rw 0 0\n/dev/mmcblk0p2 / ext4 ${options} 0 0\n/dev/mmcblk0p1 /boot/firmware vfat ro 0 0\n`;

test('a disk that the kernel made read-only is told, with the device', () => {
  expect(readOnlyNotice(MOUNTS('ro,noatime'), '/var/lib/pi-swarm')).toEqual([
    expect.objectContaining({ kind: 'disk-read-only', text: expect.stringMatching(/mmcblk0p2/) }),
  ]);
  expect(readOnlyNotice(MOUNTS('rw,noatime'), '/var/lib/pi-swarm')).toEqual([]);
});

test('only the file system that holds the state counts', () => {
  const apart = `${MOUNTS('rw')}/dev/sda1 /var/lib ext4 ro 0 0\n`;
  expect(readOnlyNotice(apart, '/var/lib/pi-swarm')).toHaveLength(1);
  expect(readOnlyNotice(apart, '/srv/pi-swarm')).toEqual([]);
  expect(readOnlyNotice('', '/var/lib/pi-swarm')).toEqual([]);
});

test('on a disk that takes nothing any more the agent still starts', async () => {
  const save = () => Promise.reject(new Error('read-only'));
  const memory = new KeptMemory({ load: async () => ({ intent: 'stay' }), save }, { intent: 'shutdown' });
  await memory.changeIfPossible({ intent: 'stay' });
  expect(memory.now.intent).toBe('stay');
  await expect(memory.change({ intent: 'leave' })).rejects.toThrow();
});

test('a mistake on the boot partition keeps the agent from nothing but those settings, and is told', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'pi-swarm-card-'));
  const [system, boot] = [`${directory}/config.yaml`, `${directory}/pi-swarm.yaml`];
  writeFileSync(system, 'port: 4000\n');
  writeFileSync(boot, 'managers: 4\nname: pi9\n');
  const config = await loadAgentConfig([system, boot]);
  expect(config.port).toBe(4000);
  expect(new Card(config, {}).notices()).toEqual([
    expect.objectContaining({ kind: 'boot-file', text: expect.stringContaining(`${boot}:1:11`) }),
  ]);
  writeFileSync(system, 'port: none\n');
  await expect(loadAgentConfig([system, boot])).rejects.toThrow(/port/);
  rmSync(directory, { recursive: true });
});

test('only the image’s unit lets a Pi take another name', () => {
  const config = parseConfig([], 'pi1');
  expect(new Card(config, {}).mayRename()).toBe(false);
  expect(new Card(config, { PI_SWARM_CARD: '1' }).mayRename()).toBe(true);
});

test('the new name replaces the old one in /etc/hosts, or is added', () => {
  expect(hostsWith('127.0.0.1 localhost\n127.0.1.1 pi1 pi1.lan\n::1 localhost\n', 'pi2')).toBe(
    '127.0.0.1 localhost\n127.0.1.1 pi2\n::1 localhost\n',
  );
  expect(hostsWith('127.0.0.1 localhost', 'pi2')).toBe('127.0.0.1 localhost\n127.0.1.1 pi2\n');
});
