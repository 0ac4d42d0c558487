/** The .deb on a Pi with a real systemd and a real engine: what apt does to a Pi that works. */
import { copyFileSync } from 'node:fs';
import { beforeAll, expect, it } from 'vitest';
import { describeOnNamespaces } from '../io/netns.ts';
import { asVersion, buildDeb, removeFoldersAtEnd } from '../package/deb.ts';
import { packageDatabase } from '../package/machine.ts';
import { docker, useLab, waitFor } from './harness.ts';

removeFoldersAtEnd();

/**
 * The lab's Pis use this machine's programs: from here on this one has layers of its own over them, an empty package
 * database, and nothing of the agent. Units and generators stay those few that the lab chose.
 */
const OWN_MACHINE = `set -eu
mkdir -p /run/usr /run/usr-work
for folder in system system-generators system-environment-generators; do
  mkdir -p "/run/kept/$folder" && mount --bind "/usr/lib/systemd/$folder" "/run/kept/$folder"
done
mount -t overlay -o lowerdir=/usr,upperdir=/run/usr,workdir=/run/usr-work overlay /usr
for folder in system system-generators system-environment-generators; do
  mount --bind "/run/kept/$folder" "/usr/lib/systemd/$folder"
done
[ -e /usr/bin/node ] || ln -s /.lab/bin/node /usr/bin/node
cd /etc/systemd/system && rm -r pi-swarm.service pi-swarm.service.d multi-user.target.wants/pi-swarm.service
rm -rf /etc/pi-swarm/* /var/lib/pi-swarm /run/pi-swarm /usr/sbin/policy-rc.d
systemctl daemon-reload
cd / && mkdir -p var/lib/systemd var/log
${packageDatabase()}`;

describeOnNamespaces('the package on a Pi', () => {
  const lab = useLab({ pis: 1, agents: false, init: 'systemd' });
  const sh = (line: string, timeoutMs = 100_000) =>
    lab().run('pi1', ['sh', '-c', `PATH=/usr/sbin:/usr/bin:/sbin:/bin; ${line}`], { timeoutMs });
  const show = (property: string) => sh(`systemctl show --value --property=${property} pi-swarm`);
  const containers = () => docker(lab(), 'pi1', 'ps', '--quiet');
  const nodeId = () => sh('pi-swarm status --json | grep -o \'"id": *"[0-9a-f]*"\' | head -n1');
  const answers = () => sh('curl --silent --fail --max-time 2 http://$(hostname -I | cut -d" " -f1)/');
  const install = (name: string) => sh(`dpkg --force-unsafe-io --install /tmp/${name} 2>&1`);
  const mesh = () => lab().exec('pi1', ['nft', 'list', 'table', 'ip', 'pi-swarm-mesh']);

  beforeAll(async () => {
    const { file } = await buildDeb();
    await sh(OWN_MACHINE);
    copyFileSync(file, lab().inside('pi1', '/tmp/old.deb'));
    copyFileSync(asVersion(file, '9.0.0-1'), lab().inside('pi1', '/tmp/new.deb'));
  }, 180_000);

  it('starts the agent, unclaimed, and enables it', async () => {
    await install('old.deb');
    expect(await sh('systemctl is-active pi-swarm; systemctl is-enabled pi-swarm')).toBe('active\nenabled');
    await waitFor(() => sh('pi-swarm status || true'), { what: 'status', is: text => text.includes('unclaimed') });
    expect(await sh('stat -c "%a %G" /run/pi-swarm/agent.sock')).toBe('660 pi-swarm');
  });

  it('lets it do its work within what the unit allows: a swarm, a service, a port that answers', async ({
    annotate,
  }) => {
    await sh('pi-swarm secret new --write && pi-swarm deploy whoami --publish 80:8000 --timeout 90s');
    await waitFor(answers, { what: 'whoami to answer', is: text => text.startsWith("I'm") });
    expect(await sh("grep -c '^Seccomp:.2' /proc/$(systemctl show --value -p MainPID pi-swarm)/status")).toBe('1');
    const { code } = await mesh();
    await annotate(`${code === 0 ? 'nftables' : "Docker's own mesh"}; memory ${await show('MemoryCurrent')} bytes`);
  });

  it('upgrades it: another process, the same Pi, the same containers', async () => {
    const before = [await containers(), await nodeId()];
    const pid = await show('MainPID');
    await install('new.deb');
    expect(await show('MainPID')).not.toBe(pid);
    await waitFor(nodeId, { what: 'the agent to answer' });
    expect([await containers(), await nodeId()]).toEqual(before);
    expect(await answers()).toMatch(/^I'm/);
    expect(await docker(lab(), 'pi1', 'node', 'inspect', 'self', '--format', '{{.Spec.Availability}}')).toBe('active');
  });

  it('is fed as long as the loop turns, and starts the agent again when it hangs', async () => {
    const dropIn = '/run/systemd/system/pi-swarm.service.d';
    await sh(`mkdir -p ${dropIn} && printf '[Service]\\nWatchdogSec=6\\nTimeoutAbortSec=2\\n' >${dropIn}/a.conf`);
    await sh('systemctl daemon-reload && systemctl restart pi-swarm');
    const pid = await show('MainPID');
    const first = await show('WatchdogTimestampMonotonic');
    // Twice its limit, by systemd's own watch.
    const fed = (at: string) => Number(at) - Number(first) > 12_000_000;
    await waitFor(() => show('WatchdogTimestampMonotonic'), { what: 'the watchdog to be fed', is: fed });
    expect([await show('MainPID'), await show('NRestarts')]).toEqual([pid, '0']);

    const before = await containers();
    await sh(`kill -STOP ${pid}`);
    await waitFor(() => show('NRestarts'), { what: 'a restart', is: count => Number(count) > 0, timeoutMs: 60_000 });
    await waitFor(() => show('ActiveState'), { what: 'the agent', is: state => state === 'active' });
    expect(await show('MainPID')).not.toBe(pid);
    expect(await containers()).toBe(before);
    await sh(`rm -r ${dropIn} && systemctl daemon-reload`);
  });

  it('does not start by an upgrade what somebody has stopped', async () => {
    await sh('systemctl stop pi-swarm');
    await install('new.deb');
    expect(await show('ActiveState')).toBe('inactive');
    await sh('systemctl start pi-swarm');
  });

  it('stops it when it is removed, with its rules, says what becomes of the engine, and leaves that alone', async () => {
    const said = await sh('dpkg --remove pi-swarm 2>&1');
    expect(said).toMatch(/its Docker Engine goes on and stays in the swarm, without work, until: docker swarm leave/);
    expect((await lab().exec('pi1', ['systemctl', 'is-active', 'pi-swarm'])).stdout.trim()).not.toBe('active');
    expect((await mesh()).code).not.toBe(0);
    expect(await docker(lab(), 'pi1', 'info', '--format', '{{.Swarm.LocalNodeState}}')).toBe('active');
  });

  it('starts it again when it is installed again, as the same Pi; a purge takes that away', async () => {
    const key = await sh('sha256sum /var/lib/pi-swarm/node.key /etc/pi-swarm/secret');
    await install('new.deb');
    expect(await show('ActiveState')).toBe('active');
    expect(await sh('sha256sum /var/lib/pi-swarm/node.key /etc/pi-swarm/secret')).toBe(key);
    await sh('dpkg --purge pi-swarm 2>&1');
    expect(await sh('ls -d /var/lib/pi-swarm /etc/pi-swarm/secret 2>/dev/null || true')).toBe('');
    expect(await sh('systemctl is-active docker')).toBe('active');
  });
});
