/** From what people write after `deploy` to what the agent wants. The words are Docker's own (docker service create). */
import type { DeployBody } from '../commands/deploy.ts';
import { durationMs } from '../config-schema.ts';
import { UsageError } from '../errors.ts';

type Port = NonNullable<DeployBody['ports']>[number];
type Mount = NonNullable<DeployBody['mounts']>[number];

const portNumber = (text: string): number =>
  /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535 ? Number(text) : 0;

/** Docker's rule for the name of a service. @throws UsageError */
export function parseName(word: string): string {
  if (/^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$/.test(word)) return word;
  throw new UsageError(
    `--name ${word} cannot be the name of a service`,
    'Use at most 63 letters, digits and dashes, with a letter or digit at both ends: --name web-1',
  );
}

/** `80:8000`, `53:53/udp`, `8080` (the same on both sides), `host:8080:80` (only on the Pis where it runs). @throws UsageError */
export function parsePublish(word: string): Port {
  const [, host, ports = '', protocol = 'tcp'] = /^(host:)?([^/]*)(?:\/(tcp|udp))?$/.exec(word) ?? [];
  const [published = '', target = published, ...more] = ports.split(':');
  const port = { published: portNumber(published), target: portNumber(target) };
  if (port.published === 0 || port.target === 0 || more.length > 0) {
    throw new UsageError(
      `--publish ${word} is not a port to publish`,
      'Write PUBLISHED:TARGET, each from 1 to 65535: --publish 80:8000, --publish 53:53/udp, --publish host:8080:80',
    );
  }
  return { ...port, protocol: protocol === 'udp' ? 'udp' : 'tcp', mode: host === undefined ? 'ingress' : 'host' };
}

/** `NAME=VALUE`; `NAME` alone takes the value from here, as docker does. @throws UsageError */
export function parseEnv(word: string, environment: NodeJS.ProcessEnv): string {
  const name = word.split('=')[0] ?? '';
  if (name === '' || /\s/.test(name))
    throw new UsageError(`--env ${word} has no name`, 'Write NAME=VALUE: --env TZ=Europe/Zurich');
  if (word.includes('=')) return word;
  const value = environment[word];
  if (value === undefined)
    throw new UsageError(`--env ${word}: there is no such variable here`, `Write its value: --env ${word}=…`);
  return `${word}=${value}`;
}

/** `node.role==worker` @throws UsageError */
export function parseConstraint(word: string): string {
  if (/^[a-z][a-zA-Z0-9_.-]*\s*[!=]=\s*\S/.test(word)) return word;
  throw new UsageError(
    `--constraint ${word} is not a constraint`,
    'Write KEY==VALUE or KEY!=VALUE: --constraint node.hostname==pi2, --constraint node.labels.disk==ssd',
  );
}

/** `KEY=VALUE`, or `KEY` for an empty value. @throws UsageError */
export function parseLabel(word: string): [string, string] {
  const at = word.indexOf('=');
  const key = at < 0 ? word : word.slice(0, at);
  if (key === '') throw new UsageError(`--label ${word} has no name`, 'Write NAME=VALUE: --label team=garden');
  return [key, at < 0 ? '' : word.slice(at + 1)];
}

/** `data:/var/lib/data` is a volume, `/srv/www:/www:ro` a folder of the Pi. @throws UsageError */
export function parseMount(word: string): Mount {
  const [source = '', target = '', options = '', ...more] = word.split(':');
  const known = options === '' || options === 'ro' || options === 'rw';
  if (source === '' || !target.startsWith('/') || !known || more.length > 0) {
    throw new UsageError(
      `--volume ${word} is not a volume`,
      'Write NAME:/PATH for a volume, or /FOLDER:/PATH[:ro] for a folder of the Pi.',
    );
  }
  return { type: source.startsWith('/') ? 'bind' : 'volume', source, target, readOnly: options === 'ro' };
}

const UNITS: Record<string, number> = { '': 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** The engine refuses less than 4 MB. */
const MEMORY_MIN = 4 * 1024 ** 2;

/** `64m`, `1g` → bytes; at least 4 MB. @throws UsageError */
export function parseMemory(word: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,12})([bkmg]?)b?$/i.exec(word) ?? [];
  const bytes = Number(digits) * (UNITS[unit.toLowerCase()] ?? 1);
  if (digits !== '' && bytes >= MEMORY_MIN) return bytes;
  throw new UsageError(`--memory ${word} is not a limit`, 'Write it with its unit, at least 4m: --memory 64m');
}

/** `100ms`, `5s` → milliseconds, up to an hour @throws UsageError */
export function parseRestartDelay(word: string): number {
  const ms = durationMs(word);
  if (ms !== undefined && ms <= 3_600_000) return ms;
  throw new UsageError(`--restart-delay ${word} is not a time up to 1h`, 'Write it with its unit: --restart-delay 5s');
}

/** `5` → 5 @throws UsageError */
export function parseReplicas(word: string): number {
  if (/^\d{1,4}$/.test(word) && Number(word) <= 1000) return Number(word);
  throw new UsageError(`--replicas ${word} is not a number from 0 to 1000`, 'Write: --replicas 5');
}
