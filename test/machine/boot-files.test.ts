/** cloud-init passes over what it does not understand; a person has to hear of it, with the line. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type BootFile, bootMistakes, networkMistakes, userDataMistakes } from '../../src/machine/boot-files.ts';

const KEY = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5${'A'.repeat(44)} you@laptop`;
const said = (text: string): string[] =>
  userDataMistakes('user-data', text).map(({ line, column, text: what }) => `${line}:${column}: ${what}`);

test('nothing is wrong with the files that the image brings', () => {
  const texts = Object.fromEntries(
    (['pi-swarm.yaml', 'user-data', 'network-config', 'meta-data'] satisfies BootFile[]).map(name => [
      name,
      readFileSync(join(import.meta.dirname, '../../image/boot', name), 'utf8'),
    ]),
  );
  expect(bootMistakes(texts, '/boot/firmware')).toEqual([]);
});

test('nor with settings as people write them', () => {
  expect(said(`#cloud-config\nhostname: pi1\nssh_authorized_keys:\n  - ${KEY}\ntimezone: Europe/Berlin\n`)).toEqual([]);
  expect(said('#cloud-config\r\nhostname: pi1\r\n')).toEqual([]);
  expect(said('#!/bin/sh\necho hello\n')).toEqual([]);
});

const MISTAKES: [what: string, text: string, expected: RegExp][] = [
  ['a missing first line', 'hostname: pi1\n', /^1:1: the first line is something else, expected #cloud-config/],
  ['an empty first line', '\n#cloud-config\n', /^1:1: the first line is empty/],
  ['a byte order mark', '\ufeff#cloud-config\nhostname: pi1\n', /^1:1: .*byte order mark/],
  ['broken YAML', '#cloud-config\nhostname: pi1\n  users: [\n', /^2:11: not valid YAML/],
  ['a tab', '#cloud-config\nusers:\n\t- name: me\n', /^3:1: not valid YAML: a tab/],
  ['an unknown key', '#cloud-config\nhostnam: pi1\n', /^2:1: hostnam is not a setting.*did you mean hostname\?/],
  ['a name that is none', '#cloud-config\nhostname: my pi\n', /^2:11: hostname is not a name/],
  [
    'a key that is cut short',
    '#cloud-config\nssh_authorized_keys:\n  - ssh-ed25519 AAAA\n',
    /^3:\d+: .*number 1 is not/,
  ],
  ['keys that are no list', `#cloud-config\nssh_authorized_keys: ${KEY}\n`, /^2:\d+: .*not a list/],
  ['a list instead of settings', '#cloud-config\n- hostname: pi1\n', /^1:1: is not a block of settings/],
];

test.each(MISTAKES)('names %s with line and column', (_what, text, expected) => {
  expect(said(text)).toEqual([expect.stringMatching(expected)]);
});

test('never shows what stands on a broken line: it may be a password', () => {
  const text = '#cloud-config\nchpasswd: {users: [{name: pi, password: "hunter2}]}\n';
  expect(JSON.stringify(userDataMistakes('user-data', text))).not.toContain('hunter2');
});

test('names what Netplan would not read', () => {
  const one = (text: string) => networkMistakes('network-config', text).map(mistake => mistake.text);
  expect(one('version: 2\nethernets:\n  eth0: {dhcp4: true}\n')).toEqual([]);
  expect(one('network:\n  version: 2\n')).toEqual([]);
  expect(one('ethernets: {}\n')).toEqual([expect.stringMatching(/^version is missing/)]);
  expect(one('version: 2\nwifi:\n  wlan0: {}\n')).toEqual([
    expect.stringMatching(/^wifi is not.*did you mean wifis\?/),
  ]);
});

test('says that a card without user-data or meta-data is not read at all', () => {
  const found = bootMistakes({ 'network-config': 'version: 2\n', 'meta-data': 'local-hostname: x\n' }, '/boot');
  expect(found.map(({ path, text }) => `${path}: ${text.split(';')[0]}`)).toEqual([
    '/boot/user-data: is missing',
    '/boot/meta-data: has no instance-id',
  ]);
});

test('names a wrong setting of pi-swarm.yaml as the agent would', () => {
  const texts = { 'pi-swarm.yaml': 'managers: 4\n', 'user-data': '#cloud-config\n', 'meta-data': 'instance-id: a\n' };
  expect(bootMistakes(texts, '/boot').map(({ path, line }) => `${path}:${line}`)).toEqual(['/boot/pi-swarm.yaml:1']);
});
