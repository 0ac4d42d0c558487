/** The words of the command line and the files they name: right ones become settings, wrong ones say what and where. */
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { nextHostname, openCluster, type Person, personOf } from '../../src/flash/clusters.ts';
import { editNetworkConfig, networksIn } from '../../src/flash/network-config.ts';
import { checkUserData, editUserData, readUserData } from '../../src/flash/user-data.ts';
import { type SettingWords, settingsFrom } from '../../src/flash/wishes.ts';
import { clusterNotes } from '../../src/flash/words.ts';
import { parseSecret } from '../../src/io/secret.ts';
import { Workshop } from './card.ts';

let shop: Workshop;
let person: Person;
const notes: string[] = [];
const KEY = `ssh-ed25519 ${'A'.repeat(68)} ada@laptop`;

beforeAll(() => {
  shop = new Workshop();
  person = { home: shop.path('home'), owner: undefined };
  vi.stubEnv('XDG_CONFIG_HOME', '');
});
afterEach(() => {
  notes.length = 0;
});
afterAll(() => {
  vi.unstubAllEnvs();
  shop.remove();
});

const wish = (words: SettingWords, fresh = true) =>
  settingsFrom(words, fresh, { person, note: text => notes.push(text), askPassword: async () => 'asked for' });

describe('Wi-Fi', () => {
  test('is asked for its password, or gets it from a file or the command line, which is warned of', async () => {
    expect((await wish({ wifi: 'Shelf' })).wifi).toEqual({ ssid: 'Shelf', password: 'asked for' });
    const file = shop.write('password', 'pass:word\n');
    expect((await wish({ wifi: 'She:lf', wifiPasswordFile: file })).wifi).toEqual({
      ssid: 'She:lf',
      password: 'pass:word',
    });
    expect(notes).toEqual([]);
    expect(await wish({ wifi: 'Shelf:pass:word', wifiCountry: 'de' })).toMatchObject({
      wifi: { ssid: 'Shelf', password: 'pass:word' },
      wifiCountry: 'DE',
    });
    expect(notes.join()).toContain('Others on this computer can read a password');
    expect((await wish({ wifi: 'Open:' })).wifi).toEqual({ ssid: 'Open', password: undefined });
  });

  test.each([
    [
      { wifi: 'Shelf:short' },
      'the password of the Wi-Fi has to have 8 to 63 letters, digits and signs; this one has 5',
    ],
    [{ wifi: `${'x'.repeat(33)}:password` }, 'the name of a Wi-Fi has 1 to 32 bytes, this one 33'],
    [{ wifiPasswordFile: 'x' }, 'a Wi-Fi password without a network'],
    [{ wifiCountry: 'Germany' }, '«Germany» is no country'],
    [{ hostname: 'pi1.local' }, '«pi1.local» cannot be a hostname'],
    [{ hostname: '-pi' }, '«-pi» cannot be a hostname'],
    [{ user: 'root' }, '«root» cannot be the name of a user'],
    [{ userdata: '/no/file' }, 'there is no file /no/file'],
    [{ file: ['/no/file:x'] }, 'there is no file /no/file'],
    [{ file: ['/no/file:user-data'] }, 'user-data has an option of its own'],
    [{ file: ['/no/file:a?b'] }, '«a?b» cannot be the name of a file on a FAT partition'],
  ])('%j is refused', async (words, message) => {
    await expect(wish(words)).rejects.toThrow(message);
  });

  test('becomes netplan, and keeps what a person wrote, with network: above it or not', () => {
    const text = '# mine\nnetwork:\n  version: 2\n  wifis: # none yet\n  ethernets:\n    eth0: {dhcp4: true} # cable\n';
    const edited = editNetworkConfig('x', text, { ssid: 'yes', password: '12345678' }, 'DE');
    expect(edited).toContain('# mine\n');
    expect(edited).toContain('eth0: { dhcp4: true } # cable');
    expect(networksIn('x', edited)).toEqual(['yes']);
    // A password of digits has to stay a text, or netplan refuses it.
    expect(edited).toContain('password: "12345678"');
    const again = editNetworkConfig('x', edited, { ssid: 'Attic', password: undefined }, undefined);
    expect(networksIn('x', again)).toEqual(['Attic']);
    expect(again).toContain('regulatory-domain: DE');
    expect(editNetworkConfig('x', undefined, undefined, 'DE')).toContain('eth0');
  });
});

describe('user-data', () => {
  const check = (text: string) => () => checkUserData('my.yaml', text);

  test('without #cloud-config in its first line is refused', () => {
    expect(check('hostname: pi1\n')).toThrow('my.yaml:1:1: the first line is not #cloud-config');
    expect(check('\n#cloud-config\n')).toThrow('my.yaml:1:1:');
    expect(check('\ufeff#cloud-config\n')).toThrow('byte order mark');
    expect(check('#cloud-config\r\nhostname: pi1\r\n')).not.toThrow();
  });

  test('that is broken YAML is refused with line and column', () => {
    expect(check('#cloud-config\nusers:\n  - name: "ada\n')).toThrow(/^my.yaml:\d+:\d+: not valid YAML/);
    expect(check('#cloud-config\nhostname: a\nhostname: b\n')).toThrow(/^my.yaml:3:1: /);
    expect(check('#cloud-config\n- a list\n')).toThrow('my.yaml:2:1: expected settings');
  });

  test('with a key that cloud-init does not know is warned of, not refused', () => {
    expect(checkUserData('my.yaml', '#cloud-config\nhostnam: pi1\nruncmd: []\n')).toEqual([
      'my.yaml:2:1: cloud-init knows no hostnam; did you mean hostname?',
    ]);
  });

  test('gets hostname, user and keys, and keeps the rest', () => {
    const text = '#cloud-config\n# mine\nruncmd:\n  - [echo, hi] # greet\n';
    const edited = editUserData(text, { hostname: 'pi1', sshKeys: [KEY] });
    expect(edited).toBe(
      `#cloud-config\n# mine\nruncmd:\n  - [ echo, hi ] # greet\nhostname: pi1\nssh_authorized_keys:\n  - ${KEY}\n`,
    );
    const withUser = editUserData(edited, { userName: 'ada', sshKeys: [KEY] });
    expect(readUserData('x', withUser)).toEqual({ hostname: 'pi1', users: ['ada'], sshKeys: 2 });
    // The same user again is no second one.
    const twice = editUserData(withUser, { userName: 'ada', sshKeys: [KEY, `${KEY}2`] });
    expect(readUserData('x', twice)).toEqual({ hostname: 'pi1', users: ['ada'], sshKeys: 3 });
    const more = editUserData('#cloud-config\nusers: [default]\n', { userName: 'ada' });
    expect(readUserData('x', more).users).toEqual(['ada']);
    expect(more).toContain('default');
    expect(editUserData(text, {})).toBe(text);
  });
});

describe('files', () => {
  test('of settings are checked by the same schema as on the Pi', async () => {
    const good = shop.write('good.yaml', 'managers: 3\n');
    expect((await wish({ config: good })).config).toBe('managers: 3\n');
    const bad = shop.write('bad.yaml', '# mine\nmanager: 3\n');
    await expect(wish({ config: bad })).rejects.toThrow(`${bad}:2:1: manager is not a setting; did you mean managers?`);
  });

  test('of a person go to the boot partition by name or destination', async () => {
    const file = shop.write('my file.txt', 'mine');
    const { files } = await wish({ file: [file, `${file}:overlays/x.txt`, `${file}:/boot/firmware/y`] });
    expect(files.map(({ path, data }) => [path, data.toString()])).toEqual([
      ['my file.txt', 'mine'],
      ['overlays/x.txt', 'mine'],
      ['y', 'mine'],
    ]);
  });

  test('of SSH: public keys; a private one stays here', async () => {
    const good = shop.write('id.pub', `# comment\n${KEY}\n`);
    expect((await wish({ sshKey: [good, good] })).sshKeys).toEqual([KEY]);
    const secret = shop.write('id', '-----BEGIN OPENSSH PRIVATE KEY-----\n');
    await expect(wish({ sshKey: [secret] })).rejects.toThrow(
      `${secret} is a private key; it must not leave this computer`,
    );
    await expect(wish({ sshKey: [shop.write('odd', 'hello')] })).rejects.toThrow(/something else than SSH public keys/);
  });

  test('of SSH are the person’s own where a card is flashed, nothing is named and no user-data is given', async () => {
    mkdirSync(join(person.home, '.ssh'), { recursive: true });
    writeFileSync(join(person.home, '.ssh/id_ed25519.pub'), `${KEY}\n`);
    expect((await wish({})).sshKeys).toEqual([KEY]);
    expect(notes.join()).toContain('id_ed25519.pub');
    expect((await wish({}, false)).sshKeys).toBeUndefined();
    const userdata = shop.write('user.yaml', '#cloud-config\nusrs: []\n');
    expect((await wish({ userdata })).sshKeys).toBeUndefined();
    expect(notes.join()).toContain('cloud-init knows no usrs; did you mean users?');
  });
});

describe('a cluster', () => {
  test('is made once, with a secret that only its owner can read, and remembered', async () => {
    const made = await openCluster('shelf', person);
    expect(made.isNew).toBe(true);
    expect(clusterNotes(made, 'pi1')[0]).toBe(`New cluster shelf: its secret is in ${made.path}.`);
    expect((statSync(made.path).mode & 0o777).toString(8)).toBe('600');
    expect((statSync(join(made.path, '..')).mode & 0o777).toString(8)).toBe('700');
    expect(parseSecret(readFileSync(made.path, 'utf8')).equals(made.secret)).toBe(true);
    await made.remember('pi1', new Date('2026-11-26T09:00:00Z'));
    const again = await openCluster('shelf', person);
    expect([again.isNew, again.secret.equals(made.secret)]).toEqual([false, true]);
    expect(clusterNotes(again, 'pi2')).toEqual([]);
    expect(clusterNotes(again, 'pi1').join('\n')).toMatch(
      /card for pi1 was flashed before \(2026-11-26\)[\s\S]*--hostname pi2/,
    );
  });

  test('whose secret is open to others, misspelt or misnamed is refused', async () => {
    const { path } = await openCluster('open', person);
    chmodSync(path, 0o644);
    await expect(openCluster('open', person)).rejects.toMatchObject({ code: 'refused', cure: `chmod 600 ${path}` });
    writeFileSync(path, 'PISW1-oops', { mode: 0o600 });
    await expect(openCluster('open', person)).rejects.toThrow(/the cluster secret has 4 characters/);
    await expect(openCluster('../evil', person)).rejects.toThrow('«../evil» cannot be the name of a cluster');
  });

  test.runIf(process.getuid?.() === 0)('belongs to the person below sudo, not to root', async () => {
    const sudo = { HOME: '/root', SUDO_USER: 'daemon', SUDO_UID: '1', SUDO_GID: '1' };
    const found = await personOf(sudo);
    expect(found.owner).toEqual({ uid: 1, gid: 1 });
    expect(found.home).toMatch(/^\/(?!root)/);
    expect((await personOf({ HOME: '/root' })).owner).toBeUndefined();
    expect((await personOf({ ...sudo, SUDO_USER: 'a; reboot', HOME: '/x' })).home).toBe('/x');
    const { path } = await openCluster('theirs', { home: shop.path('theirs'), owner: { uid: 1, gid: 1 } });
    for (const file of [path, join(path, '..'), join(path, '../..')]) expect(statSync(file).uid).toBe(1);
  });

  test('knows the next free hostname', () => {
    const cards = ['pi1', 'pi2', 'kitchen', 'rack09'].map(hostname => ({ hostname, at: '' }));
    expect(['pi1', 'kitchen', 'rack09'].map(name => nextHostname(name, cards))).toEqual(['pi3', 'kitchen2', 'rack10']);
  });
});
