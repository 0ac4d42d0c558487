/** The maintainer scripts, run by a real dpkg on a machine that exists only for this. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeOnNamespaces } from '../io/netns.ts';
import { asVersion, buildDeb, removeFoldersAtEnd } from './deb.ts';
import { Machine, PI_OS } from './machine.ts';

removeFoldersAtEnd();

/** What dpkg itself says each time. */
const DPKG = /^(\(Reading|Selecting|Preparing|Unpacking|Setting up|Removing|Purging|Created symlink|Removed|dpkg: |$)/;
const said = (output: string) => output.split('\n').filter(line => !DPKG.test(line));

const WANTED = '/etc/systemd/system/multi-user.target.wants/pi-swarm.service';
const MODES = "stat -c '%a %U:%G %n' /etc/pi-swarm /etc/pi-swarm/config.yaml /var/lib/pi-swarm /run/pi-swarm";

describeOnNamespaces('dpkg', () => {
  let deb: string;
  let newer: string;
  let machine: Machine;
  const exists = async (path: string) => (await machine.run('test', '-e', path)).code === 0;

  beforeAll(async () => {
    ({ file: deb } = await buildDeb());
    newer = asVersion(deb, '9.0.0-1');
    machine = await Machine.start();
  }, 180_000);
  afterAll(() => machine?.stop());

  it('refuses to set it up beside a Node that is too old', async () => {
    const old = await Machine.start({ ...PI_OS, nodejs: '18.20.4+dfsg-1' });
    try {
      const { code, output } = await old.install(deb);
      expect(code).not.toBe(0);
      expect(output).toMatch(/pi-swarm depends on nodejs \(>= 20\.3\)/);
    } finally {
      await old.stop();
    }
  }, 180_000);

  it('installs it: enabled, with folders, group and program, and says nothing', async () => {
    const { code, output } = await machine.install(deb);
    expect(said(output)).toEqual([]);
    expect(code).toBe(0);
    expect((await machine.sh(MODES)).split('\n')).toEqual([
      '755 root:root /etc/pi-swarm',
      '644 root:root /etc/pi-swarm/config.yaml',
      '700 root:root /var/lib/pi-swarm',
      '755 root:root /run/pi-swarm',
    ]);
    expect(await machine.sh('getent group pi-swarm')).toMatch(/^pi-swarm:/);
    expect(await exists(WANTED)).toBe(true);
    expect(await machine.sh('pi-swarm version')).toMatch(/^\d/);
    expect(await machine.sh('dpkg --verify pi-swarm')).toBe('');
  }, 180_000);

  it('upgrades it and leaves identity, secret and settings as they are', async () => {
    await machine.sh(
      'echo key >/var/lib/pi-swarm/node.key; echo PISW1 >/etc/pi-swarm/secret; chmod 600 /etc/pi-swarm/secret /var/lib/pi-swarm/node.key; echo "name: attic" >>/etc/pi-swarm/config.yaml',
    );
    const state = "sha256sum /etc/pi-swarm/* /var/lib/pi-swarm/*; stat -c '%a %n' /etc/pi-swarm/* /var/lib/pi-swarm/*";
    const before = await machine.sh(state);
    const { code, output } = await machine.install(newer);
    expect([code, said(output)]).toEqual([0, []]);
    expect(await machine.sh(state)).toBe(before);
    expect(await machine.sh('dpkg-query --show pi-swarm')).toMatch(/9\.0\.0-1$/);
    expect(await exists(WANTED)).toBe(true);
  }, 180_000);

  it('leaves it disabled where somebody disabled it', async () => {
    await machine.sh('systemctl disable pi-swarm 2>/dev/null');
    expect((await machine.install(newer)).code).toBe(0);
    expect(await exists(WANTED)).toBe(false);
    await machine.sh('systemctl enable pi-swarm 2>/dev/null');
  }, 180_000);

  it('names what was installed by hand and is used instead', async () => {
    await machine.sh('cp /usr/bin/true /usr/local/bin/pi-swarm');
    const { output } = await machine.install(newer);
    expect(output).toMatch(/\/usr\/local\/bin\/pi-swarm, installed by hand, .*\n?.*rm \/usr\/local\/bin\/pi-swarm/);
    await machine.sh('rm /usr/local/bin/pi-swarm');
  }, 180_000);

  it('removes the program and keeps what makes the Pi this Pi', async () => {
    const { code, output } = await machine.run('dpkg', '--remove', 'pi-swarm');
    expect([code, said(output)]).toEqual([0, []]);
    expect(await exists('/usr/bin/pi-swarm')).toBe(false);
    expect(
      await machine.sh('cat /var/lib/pi-swarm/node.key /etc/pi-swarm/secret; tail -n1 /etc/pi-swarm/config.yaml'),
    ).toBe('key\nPISW1\nname: attic');
    expect(await exists('/var/lib/pi-swarm/removed')).toBe(true);
    expect((await machine.install(newer)).code).toBe(0);
    expect(await machine.sh('cat /var/lib/pi-swarm/node.key; ls /var/lib/pi-swarm')).toBe('key\nnode.key');
  }, 180_000);

  it('purges identity and secret, says so, and leaves what is not its own', async () => {
    await machine.sh('echo x >/etc/pi-swarm/mqtt-password');
    const { code, output } = await machine.run('dpkg', '--purge', 'pi-swarm');
    expect(code).toBe(0);
    expect(output).toMatch(
      /identity \(\/var\/lib\/pi-swarm\) and cluster secret \(\/etc\/pi-swarm\/secret\) are removed/,
    );
    expect(await machine.sh('ls /etc/pi-swarm')).toBe('mqtt-password');
    for (const path of ['/var/lib/pi-swarm', '/run/pi-swarm', WANTED]) expect(await exists(path), path).toBe(false);
    expect(await machine.sh("find /var/lib/systemd -name '*pi-swarm*'")).toBe('');
  }, 180_000);

  it('purges without a word where there was nothing', async () => {
    await machine.sh('rm /etc/pi-swarm/mqtt-password');
    await machine.install(deb);
    const { code, output } = await machine.run('dpkg', '--purge', 'pi-swarm');
    expect([code, said(output)]).toEqual([0, []]);
    expect(await exists('/etc/pi-swarm')).toBe(false);
  }, 180_000);
});
