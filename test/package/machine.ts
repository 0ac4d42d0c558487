/**
 * A machine for dpkg: this machine's programs below layers of its own, a package database of its own, and the maintainer
 * scripts run for real. It lives in a mount and a pid namespace: when its first process ends, everything is gone.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Arguments: an empty folder. Ends when its standard input does. */
const BOOT = `set -eu
mount -t tmpfs -o mode=755 machine "$1"
cd "$1"
mkdir usr etc var run tmp proc dev root .layers
chmod 1777 tmp
for part in usr etc; do
  mkdir .layers/$part .layers/$part-work
  mount -t overlay -o "lowerdir=/$part,upperdir=.layers/$part,workdir=.layers/$part-work" overlay $part
done
for link in bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$link" ]; then ln -s "$(readlink "/$link")" $link
  elif [ -d "/$link" ]; then mkdir $link && mount --rbind "/$link" $link
  fi
done
mount -t proc proc proc
mount --rbind /dev dev
rm -rf etc/pi-swarm etc/systemd/system/*
mkdir -p var/lib/dpkg/info var/lib/dpkg/updates var/lib/dpkg/triggers var/lib/systemd var/log
: >var/lib/dpkg/available
cat >var/lib/dpkg/status <<'STATUS'
@STATUS@
STATUS
for name in @NAMES@; do : >var/lib/dpkg/info/$name.list; done
echo ready
cat >/dev/null
`;

/** A busy machine with a slow disk needs some seconds for what takes one. */
const LIMIT_MS = 60_000;

export interface Outcome {
  code: number;
  /** Both streams, as they came. */
  output: string;
}

/** What is installed, as far as dpkg knows: name → version. */
export const PI_OS: Record<string, string> = {
  nodejs: '20.19.2+dfsg-1',
  'docker.io': '26.1.5+dfsg1-9',
  iproute2: '6.15.0-1',
  iptables: '1.8.11-2',
  nftables: '1.1.3-1',
  systemd: '257.7-1',
};

const stanza = ([name, version]: [string, string]): string =>
  `Package: ${name}\nStatus: install ok installed\nMaintainer: nobody <nobody@example.org>\nArchitecture: all\nVersion: ${version}\nDescription: ${name}\n`;

export class Machine {
  readonly #folder: string;
  readonly #first: ChildProcess;
  #pid = 0;

  static async start(installed = PI_OS): Promise<Machine> {
    const machine = new Machine(Object.entries(installed).map(stanza).join('\n'), Object.keys(installed));
    await machine.#ready();
    return machine;
  }

  private constructor(status: string, names: string[]) {
    this.#folder = mkdtempSync(join(tmpdir(), 'pi-swarm-machine-'));
    const boot = BOOT.replace('@STATUS@', status).replace('@NAMES@', names.join(' '));
    const apart = ['--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private'];
    this.#first = spawn('unshare', [...apart, 'sh', '-c', boot, 'boot', this.#folder], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  }

  async #ready(): Promise<void> {
    const [said] = await Promise.race([once(this.#first.stdout!, 'data'), once(this.#first, 'exit')]);
    if (`${said}`.trim() !== 'ready') {
      await this.stop();
      throw new Error('the machine did not start');
    }
    this.#pid = this.#first.pid ?? 0;
  }

  /** Runs a program in it. */
  run(...words: string[]): Promise<Outcome> {
    return this.#enter(words);
  }

  #enter(words: string[], input?: Buffer): Promise<Outcome> {
    const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
    const namespaces = [`--mount=/proc/${this.#pid}/ns/mnt`, `--pid=/proc/${this.#pid}/ns/pid_for_children`];
    const argv = [...namespaces, '--', 'chroot', this.#folder, ...words];
    return new Promise(resolve => {
      const child = execFile('nsenter', argv, { env, timeout: LIMIT_MS, killSignal: 'SIGKILL' }, (error, out, err) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), output: `${out}${err}` }),
      );
      child.stdin?.end(input);
    });
  }

  /** A line of shell that has to work. @returns what it printed */
  async sh(line: string, input?: Buffer): Promise<string> {
    const { code, output } = await this.#enter(['sh', '-c', line], input);
    if (code !== 0) throw new Error(`${line} ended with ${code}: ${output}`);
    return output.trim();
  }

  async install(deb: string): Promise<Outcome> {
    // Its root is not to be seen from here; a pipe is.
    await this.sh('cat >/tmp/package.deb', readFileSync(deb));
    return this.run('dpkg', '--force-unsafe-io', '--install', '/tmp/package.deb');
  }

  async stop(): Promise<void> {
    if (this.#first.exitCode === null && this.#first.signalCode === null) {
      const ended = once(this.#first, 'exit');
      this.#first.stdin?.end();
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
