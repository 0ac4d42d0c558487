/**
 * Every setting, its default and the reason for it. What is written here is what a person writes in the YAML file:
 * times carry their unit (`60s`). `src/config.ts` turns it into the `Config` that the program uses (milliseconds).
 *
 * Each leaf has one text that says what is expected; it completes the sentence «expected …».
 */
import { isIPv4 } from 'node:net';
import * as z from 'zod';

const MS_PER_UNIT = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** `100ms`, `30s`, `5m`, `24h`, `3d` in milliseconds; undefined when it is none of these. */
export function durationMs(text: string): number | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text.trim());
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * MS_PER_UNIT[match[2] as keyof typeof MS_PER_UNIT]);
}

function duration(least: string, most: string, fallback: string) {
  const error = `a time from ${least} to ${most} with its unit (ms, s, m, h or d), such as ${fallback}`;
  return z
    .string({ error })
    .transform((text, context) => {
      const ms = durationMs(text);
      if (ms !== undefined && ms >= (durationMs(least) ?? 0) && ms <= (durationMs(most) ?? 0)) return ms;
      context.addIssue({ code: 'custom', message: error });
      return z.NEVER;
    })
    .prefault(fallback);
}

/** A time, or `auto`, the default: then something else decides. */
function autoOrDuration(least: string, most: string, example: string) {
  const error = `auto, or a time from ${least} to ${most} with its unit (ms, s, m, h or d), such as ${example}`;
  return z.union([z.literal('auto'), duration(least, most, example)], { error }).default('auto');
}

function text(error: string, pattern = /\S/) {
  return z.string({ error }).max(1024, { error }).regex(pattern, { error });
}

const path = (what: string) => text(`the absolute path of ${what}`, /^\/\S*/);
const toggle = (fallback: boolean) => z.boolean({ error: 'true or false' }).default(fallback);
const block = (name: string) => ({ error: `a block of settings, indented below \`${name}:\`` });

function choice<const T extends readonly [string | number, ...(string | number)[]]>(values: T, fallback: T[number]) {
  const error = `one of ${values.join(', ')}`;
  return z.literal([...values] as T[number][], { error }).default(fallback as never);
}

function port() {
  const error = 'a port number from 1 to 65535';
  return z.int({ error }).min(1, { error }).max(65535, { error });
}

const PEER = /^(?<host>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}))(?::(?<port>\d{1,5}))?$/;
const PEER_EXPECTED =
  'a host name or IPv4 address, with :port where it is not the usual one, such as pi2.local or 192.168.1.12';

const peer = z.string({ error: PEER_EXPECTED }).transform((value, context) => {
  const { host = '', port = '' } = PEER.exec(value)?.groups ?? {};
  const number = port === '' ? undefined : Number(port);
  if (host !== '' && (number === undefined || (number >= 1 && number <= 65535))) return { host, port: number };
  context.addIssue({ code: 'custom', message: PEER_EXPECTED });
  return z.NEVER;
});

const BROKER_EXPECTED =
  'mqtt://HOST or mqtts://HOST, with :PORT where it is not the usual one; user and password have keys of their own';

/** Topics and topic prefixes: no wildcards, no empty levels (MQTT 3.1.1 §4.7). */
const topic = (fallback: string) =>
  text('a topic without spaces, +, # and without / at either end', /^[^\s+#/]+(\/[^\s+#/]+)*$/).default(fallback);

const mqttSchema = z.strictObject(
  {
    /** Without it, nothing goes out over MQTT. */
    url: text(BROKER_EXPECTED, /^mqtts?:\/\/[^\s/@:]+(:\d{1,5})?\/?$/)
      .refine(url => URL.canParse(url), { error: BROKER_EXPECTED })
      .optional(),
    username: text('a user name in quotes').optional(),
    /** `passwordFile` keeps the password off the card's boot partition, which every computer can read. */
    password: text('a password in quotes').optional(),
    passwordFile: path('a file that holds the password').optional(),
    /** PEM files: the broker's CA; and this Pi's certificate with its key, where the broker asks for one. */
    ca: path('a PEM file').optional(),
    cert: path('a PEM file').optional(),
    key: path('a PEM file').optional(),
    /** Accepts any certificate of the broker. Off: whoever answers on that address would get the password. */
    insecure: toggle(false),
    /** First level of all topics; change it where two programs on one broker would meet. */
    topic: topic('pi-swarm'),
    /** Home Assistant's own default. */
    discoveryPrefix: topic('homeassistant'),
    homeAssistant: toggle(true),
    /** The least time between two states of a Pi: fresh enough to watch, 10 s of history a row at 20 Pis. */
    interval: duration('1s', '1h', '10s'),
  },
  block('mqtt'),
);

function figure(least: number, most: number, unit: string, fallback: number) {
  const error = `a number from ${least} to ${most} (${unit})`;
  return z.number({ error }).min(least, { error }).max(most, { error }).default(fallback);
}

/** From when a Pi counts as unwell and gets no new work; the leader's settings count. */
const healthSchema = z.strictObject(
  {
    /** From 80 °C on the firmware slows a Pi down; at 85 °C all of it. */
    temperatureCelsius: figure(40, 120, '°C', 80),
    /** Beyond it a new task makes the kernel end another one. Above 100: never, as for the disk. */
    memoryPercent: figure(50, 101, 'percent', 95),
    /** Images and logs need the rest; a full disk stops Raft and with it the manager. */
    diskPercent: figure(50, 101, 'percent', 95),
    /** `true` also moves what runs there. Off: moving costs more than it brings where all Pis stand on one hot shelf. */
    evict: toggle(false),
  },
  block('health'),
);

const logSchema = z.strictObject(
  {
    /** `info` is one line per decision and per step: quiet at rest, so that logs do not wear out the card. */
    level: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], 'info'),
  },
  block('log'),
);

export const fileSchema = z.strictObject(
  {
    /** Name of this Pi for people; the hostname where nothing is said. */
    name: text(
      'a name of letters, digits and dashes, at most 63',
      /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/,
    ).optional(),
    /** Beside the config, readable by root only. */
    secretFile: path('the file with the cluster secret').default('/etc/pi-swarm/secret'),
    /** Node key and memory: must survive reboots, so not in /run or /tmp. */
    stateDir: path('a directory').default('/var/lib/pi-swarm'),
    /** For the command line on the same machine; in /run, so that no stale socket survives a power cut. */
    socket: path('a socket').default('/run/pi-swarm/agent.sock'),
    dockerSocket: path("the Docker Engine's socket").default('/var/run/docker.sock'),

    /** Peers, API and page; next to the endpoint's 3376, and not registered for anything common. */
    port: port().default(3378),
    /** `auto`: the interface of the default route, else the first physical one that has an address. */
    interface: text(
      'auto or the name of a network interface, such as eth0',
      /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,14}$/,
    ).default('auto'),
    /** What the engines call each other by: `interface` is that interface's IPv4 address. */
    advertise: z
      .string({ error: 'interface, or an IPv4 address of this Pi' })
      .refine(value => value === 'interface' || isIPv4(value), { error: 'interface, or an IPv4 address of this Pi' })
      .default('interface'),
    /** For networks without multicast; beside mDNS, not instead of it. */
    peers: z
      .array(peer, { error: 'a list, such as [pi1.local, 192.168.1.12]' })
      .max(64, { error: 'at most 64 peers' })
      .default([]),
    mdns: toggle(true),

    /** After the last new peer, before a swarm is made: more than one heartbeat (1 s), so that all have heard each other. */
    settle: duration('100ms', '5m', '1500ms'),
    /** A Pi that sees nobody waits longer: boards on one power strip come up seconds apart. */
    settleAlone: duration('100ms', '1h', '8s'),
    /** `auto`: 1, 3 or 5 by the number of Pis. Odd where fixed: an even one more tolerates no more failures. */
    managers: choice(['auto', 1, 3, 5, 7], 'auto'),
    /** A Pi reboots in less; a manager that is gone longer leaves the quorum one failure from the edge. */
    replaceAfter: duration('5s', '7d', '60s'),
    /**
     * Longer than a weekend with the plug pulled (Friday evening to Monday morning: 64 h). Forgetting costs little,
     * since a Pi that comes back later joins anew by itself; only labels that a person gave it are lost.
     */
    forgetAfter: duration('10s', '365d', '3d'),
    /** Nothing but moves of tasks evens out a swarm; they cost a start of each task that moves. */
    rebalance: toggle(true),
    /** A Pi that just came back may go again (a bad cable, a boot loop): this long without a change counts as steady. */
    steadyFor: duration('1s', '1d', '20s'),
    /** Between two moves, so that a small machine pulls and starts for one service at a time. */
    rebalanceEvery: duration('1s', '1d', '10s'),
    /** How long a shutdown or stop waits for its tasks to run elsewhere; systemd is asked for the time where its unit allows less. */
    drainTimeout: duration('1s', '10m', '60s'),
    /**
     * A silent Pi is Down after three of these. `auto`: 1 s up to 30 Pis, 2 s up to 100, then 5 s, since each is work for
     * the leader. Docker's own 5 s make a failover take 16 s instead of 4 s.
     */
    dispatcherHeartbeat: autoOrDuration('1s', '1m', '2s'),
    /** Docker's 90 days lock out a cluster that spent the summer in a drawer. */
    nodeCertExpiry: duration('1h', '36500d', '3650d'),
    /** Docker's 5 s before a task is started again are most of a failover; used where a service names none. */
    restartDelay: duration('0ms', '1h', '100ms'),
    /** Published ports on every Pi: `auto` uses Docker's mesh where the kernel has ip_vs, else nftables rules of our own. */
    mesh: choice(['auto', 'kernel', 'nftables', 'off'], 'auto'),

    health: healthSchema.prefault({}),
    mqtt: mqttSchema.prefault({}),
    log: logSchema.prefault({}),
  },
  { error: 'settings, one `key: value` on each line' },
);

export type ConfigFile = z.output<typeof fileSchema>;

/** All keys of a block, for «did you mean». `[]` is the top. */
export function keysOf(path: readonly string[]): string[] {
  if (path.length === 0) return Object.keys(fileSchema.shape);
  if (path[0] === 'mqtt') return Object.keys(mqttSchema.shape);
  if (path[0] === 'health') return Object.keys(healthSchema.shape);
  return path[0] === 'log' ? Object.keys(logSchema.shape) : [];
}
