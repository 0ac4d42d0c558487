/** Another name for this machine, for good: file, kernel, hosts; and whoever took the name at its start is started anew. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { readFileIfAny, writeFileAtomic } from '../io/files.ts';

/** hostnamed is started for it, on a Pi that is busy starting everything else. */
const LIMIT_MS = 60_000;
/** The engine tells the swarm the name that it had at its start; avahi notices by itself, where it runs. */
const RESTARTED = ['docker.service', 'pi-swarm.service'];

/**
 * systemd does what the agent's own unit may not (it is closed against such changes).
 * @throws EnvironmentError when a file cannot be written, or what the programs say
 */
export async function renameMachine(name: string, etc = '/etc'): Promise<void> {
  const hosts = (await readFileIfAny(`${etc}/hosts`))?.toString('utf8') ?? '127.0.0.1 localhost\n';
  await writeFileAtomic(`${etc}/hosts`, hostsWith(hosts, name), 0o644);
  const run = (program: string, words: string[]) => promisify(execFile)(program, words, { timeout: LIMIT_MS });
  await run('hostnamectl', ['set-hostname', name]);
  // Not to be waited for: the second of them is this process.
  await run('systemctl', ['--no-block', 'restart', ...RESTARTED]);
}

/** The line of 127.0.1.1, where Debian keeps a machine's own name (Debian reference, section 5.1.1). Pure. */
export function hostsWith(hosts: string, name: string): string {
  const line = `127.0.1.1 ${name}`;
  return /^127\.0\.1\.1\s.*$/m.test(hosts)
    ? hosts.replace(/^127\.0\.1\.1\s.*$/m, line)
    : `${hosts.replace(/\n*$/, '\n')}${line}\n`;
}
