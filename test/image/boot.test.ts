/**
 * Cards for three Pis, powered on at once, become one swarm by themselves. Each test goes on where the one before it ended, as
 * an evening with three new Pis does.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commandOk } from '../../src/lab/process.ts';
import { makeCard } from './card.ts';
import { MACHINE, machineOf } from './machines.ts';
import { bootPartition, compressed, firmwareOf, remove, unpack, workDirectory } from './parts.ts';
import { NETWORK, Shelf, type VirtualPi } from './shelf.ts';

const MINUTES_MS = 60_000;
/** Emulated, on a machine that does other things, too. */
const BOOT_MS = 30 * MINUTES_MS;
const CHANGE_MS = 15 * MINUTES_MS;

const directory = workDirectory();
const pis: VirtualPi[] = [];
let shelf: Shelf;
const firstOf = (): VirtualPi => pis[0] as VirtualPi;

interface Status {
  self: { id: string; name: string; swarm: { state: string } };
  cluster: { state: string; managers: number; pis: { name: string; liveness: string; swarmState: string }[] };
}
/** As the agent says it; `pi-swarm status` takes a virtual Pi a quarter of a minute. */
const statusOf = async (pi: VirtualPi): Promise<Status> =>
  JSON.parse(await shelf.on(pi, 'curl -s --unix-socket /run/pi-swarm/agent.sock http://pi/v1/snapshot'));

beforeAll(async () => {
  const image = await unpack(directory);
  const firmware = firmwareOf(await bootPartition(image, directory));
  rmSync(image);
  const machine = machineOf(MACHINE, firmware);
  mkdirSync(`${directory}/vms`);
  shelf = new Shelf(`${directory}/vms`, machine);
  await commandOk(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', `${shelf.directory}/key`]);
  const keyFile = `${shelf.directory}/key.pub`;
  const { cardBytes } = machine;
  for (let index = 1; index <= machine.pis; index++) {
    const pi = shelf.pi(index, `${directory}/pi${index}.img`);
    // The last two have the same name: one of them takes another.
    const hostname = index === 3 ? 'pi2' : pi.name;
    await makeCard({ image: compressed, card: pi.card, cardBytes, hostname, keyFile, home: directory });
    pis.push(pi);
  }
  await shelf.open(pis);
  for (const pi of pis) shelf.powerOn(pi);
});

afterAll(async () => {
  await shelf?.close();
  remove(directory);
});

describe('cards at their first start', () => {
  test('every Pi can be logged into with the key of user-data, and its engine answers', async () => {
    for (const pi of pis) {
      const version = await shelf.until(`the engine of ${pi.name} answers`, BOOT_MS, () =>
        shelf.on(pi, "docker info --format '{{.ServerVersion}}'"),
      );
      expect(version.trim()).toMatch(/^\d+\.\d+/);
    }
  });

  test('what has to differ from card to card does, and the secret has left the boot partition', async () => {
    const script =
      'cat /etc/machine-id; cut -d" " -f2 /etc/ssh/ssh_host_ed25519_key.pub; cat /var/lib/docker/engine-id; echo; cat /boot/firmware/pi-swarm.secret 2>&1 | tail -1; stat -c %a:%U /etc/pi-swarm/secret';
    const answers: string[][] = [];
    for (const pi of pis)
      answers.push(
        (await shelf.on(pi, script))
          .trim()
          .split('\n')
          .filter(line => line !== ''),
      );
    for (const [, , , gone, mode] of answers) {
      expect(gone).toMatch(/No such file/);
      expect(mode).toBe('600:root');
    }
    for (const column of [0, 1, 2]) expect(new Set(answers.map(lines => lines[column])).size).toBe(pis.length);
  });

  test('the root partition fills the card', async () => {
    const size = Number(await shelf.on(firstOf(), 'df --output=size -B1M / | tail -1'));
    expect(size).toBeGreaterThan(3_000);
  });

  test('only ssh, the agent, the engine’s swarm and the names on the LAN listen', async () => {
    const listening = await shelf.on(firstOf(), 'ss -Hlntup | grep -v "127.0.0\\|\\[::1\\]"');
    const programs = new Set([...listening.matchAll(/users:\(\("([^"]+)"/g)].map(match => match[1]));
    expect(
      [...programs].filter(
        name =>
          !['sshd', 'node', 'MainThread', 'pi-swarm', 'dockerd', 'avahi-daemon', 'systemd-network'].includes(
            name ?? '',
          ),
      ),
    ).toEqual([]);
    expect(listening).not.toMatch(/:237[56]\b/);
  });
});

describe.runIf(MACHINE === 'virt')('three Pis', () => {
  const ready = async (count: number): Promise<Status | undefined> => {
    const status = await statusOf(firstOf());
    const up = status.cluster.pis.filter(pi => pi.swarmState === 'ready' && pi.liveness === 'alive');
    return up.length === count ? status : undefined;
  };

  const running = async (from: VirtualPi, service: string): Promise<number> => {
    const script = `docker service ps ${service} --filter desired-state=running --format '{{.CurrentState}}'`;
    return (await shelf.on(from, script)).split('\n').filter(line => line.startsWith('Running')).length;
  };

  const answersOf = async (address: string): Promise<Set<string>> => {
    const names = new Set<string>();
    for (let index = 0; index < 6; index++) {
      const { code, stdout } = await shelf.fromOutside(['curl', '-s', '-m', '20', `http://${address}/`]);
      if (code === 0) names.add(stdout.trim());
    }
    return names;
  };

  test('become one swarm by themselves, and the second of a name takes another one', async () => {
    const status = await shelf.until('three Pis are one swarm', CHANGE_MS, () => ready(3));
    const names = status.cluster.pis.map(pi => pi.name).sort();
    expect(names.slice(0, 2)).toEqual(['pi1', 'pi2']);
    expect(names[2]).toMatch(/^pi2-[0-9a-f]{4}$/);
    const three = await shelf.until('there are three managers', CHANGE_MS, async () => {
      const now = await statusOf(firstOf());
      return now.cluster.managers === 3 && now;
    });
    expect(three.self.swarm.state).toBe('active');
  });

  test('whoami answers from outside on every Pi, from more than one container', async () => {
    await shelf.on(firstOf(), 'pi-swarm deploy whoami --replicas 3 --publish 80:8000', 5 * MINUTES_MS);
    await shelf.until('3/3 run', CHANGE_MS, async () => (await running(firstOf(), 'whoami')) === 3);
    for (const { address } of pis) {
      const names = await shelf.until(`several containers answer on ${address}`, CHANGE_MS, async () => {
        const some = await answersOf(address);
        return some.size > 1 && some;
      });
      expect([...names].every(name => name.startsWith("I'm "))).toBe(true);
    }
    expect(await shelf.on(firstOf(), 'lsmod | grep -c ^ip_vs')).not.toBe('0');
  });

  test('an encrypted overlay network carries traffic between Pis', async () => {
    const image = '127.0.0.1:1/pi-swarm/whoami:1';
    await shelf.on(
      firstOf(),
      `docker network create -d overlay --opt encrypted --attachable hidden
       docker service create --detach --no-resolve-image --quiet --name inside --mode global --network hidden ${image}`,
      5 * MINUTES_MS,
    );
    await shelf.until('a task on each Pi', CHANGE_MS, async () => (await running(firstOf(), 'inside')) === 3);
    // Each task by its own address, asked from one Pi: at least two of the answers have crossed the wire.
    const addresses = `docker inspect $(docker service ps -q --filter desired-state=running inside) --format '{{range .NetworksAttachments}}{{index .Addresses 0}}{{end}}' | cut -d/ -f1`;
    const ask = `for it in $(${addresses}); do docker exec $(docker ps -q --filter name=inside | head -1) busybox wget -T 20 -qO- http://$it:8000/; done`;
    const viaTasks = async (): Promise<boolean> =>
      new Set((await shelf.on(firstOf(), ask)).match(/I'm \w+/g)).size === 3;
    await shelf.until('all three tasks answer over the encrypted network', CHANGE_MS, viaTasks);
  });

  test('when one loses power its work runs on the others, and when it is back it is one of them again', async () => {
    const last = pis[2] as VirtualPi;
    await shelf.powerCut(last);
    await shelf.until('3/3 run on two Pis', CHANGE_MS, async () => {
      const script = `docker service ps whoami --filter desired-state=running --format '{{.Node}} {{.CurrentState}}'`;
      const lines = (await shelf.on(firstOf(), script)).split('\n').filter(line => / Running/.test(line));
      return lines.length === 3 && new Set(lines.map(line => line.split(' ')[0])).size === 2;
    });
    expect((await answersOf(`${NETWORK}.11`)).size).toBeGreaterThan(0);
    shelf.powerOn(last);
    await shelf.until('it is back', BOOT_MS, () => ready(3));
  });
});
