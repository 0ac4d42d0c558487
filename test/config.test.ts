import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Config, loadConfig, parseConfig } from '../src/config.ts';
import { durationMs, keysOf } from '../src/config-schema.ts';
import { ConfigError, EnvironmentError } from '../src/errors.ts';

const parse = (...texts: string[]): Config =>
  parseConfig(
    texts.map((text, index) => ({ path: index === 0 ? '/etc/c.yaml' : `/boot/${index}.yaml`, text })),
    'pi1',
  );

/** The lines of the error's message. */
function mistakes(...texts: string[]): string[] {
  try {
    parse(...texts);
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
  throw new Error('was accepted');
}

describe('settings', () => {
  it('have defaults, and an empty file changes none of them', () => {
    expect(parse()).toMatchObject({ name: 'pi1', port: 3378, managers: 'auto', replaceAfterMs: 60_000, peers: [] });
    for (const empty of ['', '# nothing\n', '---\n', 'mqtt:\nlog:\npeers:\n']) {
      expect({ ...parse(empty), files: [] }).toEqual(parse());
    }
  });

  it('of later files go over those of earlier ones, blocks key by key, lists whole', () => {
    const config = parse(
      'port: 1\npeers: [a, b]\nmqtt: { url: mqtt://one, topic: shelf }\n',
      'port: 2\npeers: [c]\nmqtt: { url: mqtt://two }\n',
    );
    expect(config).toMatchObject({
      port: 2,
      mqtt: { url: 'mqtt://two', topic: 'shelf' },
      files: ['/etc/c.yaml', '/boot/1.yaml'],
    });
    expect(config.peers).toEqual([{ host: 'c', port: 2 }]);
  });

  it('take times with their unit', () => {
    expect(parse('replaceAfter: 1.5m\nforgetAfter: 2d\nrestartDelay: 0s')).toMatchObject({
      replaceAfterMs: 90_000,
      forgetAfterMs: 172_800_000,
      restartDelayMs: 0,
    });
    expect(durationMs('10')).toBeUndefined();
    expect(durationMs('1w')).toBeUndefined();
    expect(durationMs('99999999999999s')).toBeUndefined();
  });

  it('leave the heartbeat to the number of Pis, or take one', () => {
    expect(parse().dispatcherHeartbeatMs).toBe('auto');
    expect(parse('dispatcherHeartbeat: auto').dispatcherHeartbeatMs).toBe('auto');
    expect(parse('dispatcherHeartbeat: 2s').dispatcherHeartbeatMs).toBe(2_000);
    expect(mistakes('dispatcherHeartbeat: 500ms')).toEqual([
      expect.stringMatching(/:1:22: dispatcherHeartbeat is text "500ms", expected auto, or a time from 1s to 1m/),
    ]);
  });

  it('take peers with and without a port', () => {
    expect(parse('peers: [pi2.local, "192.168.1.12:4000"]').peers).toEqual([
      { host: 'pi2.local', port: 3378 },
      { host: '192.168.1.12', port: 4000 },
    ]);
  });

  it('leave MQTT off as long as there is no url', () => {
    expect(parse('mqtt: { topic: shelf }').mqtt).toBeUndefined();
    expect(parse('mqtt: { url: mqtt://broker }').mqtt).toMatchObject({
      topic: 'pi-swarm',
      intervalMs: 10_000,
      insecure: false,
    });
  });

  it('cannot be changed afterwards, at any depth', () => {
    const config = parse('peers: [a]\nmqtt: { url: mqtt://broker }');
    for (const part of [config, config.peers, config.peers[0], config.mqtt, config.log])
      expect(Object.isFrozen(part)).toBe(true);
  });
});

describe('a mistake is shown with file, line and column, what was found and what was expected', () => {
  const cases: [what: string, text: string, expected: RegExp][] = [
    [
      'an unknown key, with the likely one',
      'port: 1\nreplaceAfer: 60s\n',
      /^\/etc\/c\.yaml:2:1: replaceAfer is not a setting; did you mean replaceAfter\?$/,
    ],
    [
      'an unknown key in a block',
      'mqtt:\n  pasword: x\n',
      /^\/etc\/c\.yaml:2:3: mqtt\.pasword is not a setting; did you mean mqtt\.password\?$/,
    ],
    [
      'an unknown key that is like none',
      'colour: red\n',
      /:1:1: colour is not a setting; expected one of name, secretFile,/,
    ],
    ['a text for a number', 'port: "3378"\n', /:1:7: port is text "3378", expected a port number from 1 to 65535$/],
    [
      'a number out of range',
      '\nport: 70000\n',
      /:2:7: port is the number 70000, expected a port number from 1 to 65535$/,
    ],
    [
      'a time without unit',
      'replaceAfter: 60\n',
      /:1:15: replaceAfter is the number 60, expected a time .* with its unit/,
    ],
    ['a time out of range', 'replaceAfter: 1s\n', /replaceAfter is text "1s", expected a time from 5s to 7d/],
    [
      'an even number of managers',
      'managers: 4\n',
      /:1:11: managers is the number 4, expected one of auto, 1, 3, 5, 7$/,
    ],
    ["YAML 1.1's yes", 'mdns: yes\n', /:1:7: mdns is text "yes", expected true or false$/],
    ['a word for a block', 'mqtt: true\n', /:1:7: mqtt is true, expected a block of settings/],
    [
      'one bad entry of a list',
      'peers:\n  - pi1\n  - "pi2:99999"\n',
      /:3:5: peers\.1 is text "pi2:99999", expected a host name/,
    ],
    [
      'a limit out of range',
      'health:\n  diskPercent: 5\n',
      /:2:16: health\.diskPercent is the number 5, expected a number from 50 to 101 \(percent\)$/,
    ],
    ['a list for a text', 'name: [a]\n', /:1:7: name is a list, expected a name/],
    [
      'a relative path',
      'stateDir: data\n',
      /:1:11: stateDir is text "data", expected the absolute path of a directory$/,
    ],
    [
      'a port of the broker that is none',
      'mqtt: { url: "mqtt://a:99999" }\n',
      /:1:14: mqtt\.url is text .* expected mqtt:\/\/HOST/,
    ],
    ['a wildcard in a topic', 'mqtt: { topic: a/# }\n', /expected a topic without spaces/],
    [
      'an address that is none',
      'advertise: 10.0.0\n',
      /:1:12: advertise is text "10\.0\.0", expected interface, or an IPv4/,
    ],
    [
      'broken YAML: indentation',
      'mqtt:\n  url: mqtt://a\n topic: b\n',
      /^\/etc\/c\.yaml:3:\d+: not valid YAML: the indentation/,
    ],
    ['broken YAML: an open bracket', 'peers: [a\n', /^\/etc\/c\.yaml:\d+:\d+: not valid YAML: /],
    ['broken YAML: a tab', 'mqtt:\n\turl: a\n', /:2:\d+: not valid YAML: a tab, expected spaces/],
    ['a key that stands there twice', 'port: 1\nport: 2\n', /:2:1: not valid YAML: this key stands here a second time/],
    ['an alias without anchor', 'name: *other\n', /: an alias/],
    ['a file that is a list', '- port: 1\n', /:1:1: the file is a list, expected settings/],
    ['a file that is a word', 'port:1\n', /:1:1: the file is plain text, expected settings/],
    ['a file that is far too long', `# ${'x'.repeat(300_000)}`, /:1:1: the file has \d+ characters, expected at most/],
    [
      'a certificate without its key',
      'mqtt:\n  url: mqtts://a\n  cert: /c\n',
      /:3:9: mqtt\.cert: there is no mqtt\.key/,
    ],
    [
      'a password without its user',
      'mqtt: { url: mqtt://a, password: x }\n',
      /mqtt\.password: there is no mqtt\.username/,
    ],
    [
      'two passwords',
      'mqtt: { username: a, password: x, passwordFile: /p }\n',
      /mqtt\.passwordFile: there is also mqtt\.password/,
    ],
    ['a CA for a connection without TLS', 'mqtt: { url: mqtt://a, ca: /ca.pem }\n', /mqtt\.ca: .* expected mqtts:\/\//],
  ];
  for (const [what, text, expected] of cases) {
    it(what, () => {
      const found = mistakes(text);
      expect(found).toHaveLength(1);
      expect(found[0]).toMatch(expected);
    });
  }

  it('all mistakes of all files at once, in order', () => {
    const found = mistakes('port: no\nnme: x\nmdns: 1\n', 'managers: 2\n', 'a: [\n');
    expect(found.map(line => line.split(' ')[0])).toEqual([
      '/etc/c.yaml:1:7:',
      '/etc/c.yaml:2:1:',
      '/etc/c.yaml:3:7:',
      '/boot/1.yaml:1:11:',
      expect.stringMatching(/^\/boot\/2\.yaml:\d+:\d+:$/),
    ]);
  });

  it('a contradiction between two files, where the later one is wrong', () => {
    expect(mistakes('mqtt: { username: a, password: x }', 'mqtt:\n  passwordFile: /p\n')).toEqual([
      expect.stringMatching(/^\/boot\/1\.yaml:2:17: /),
    ]);
  });

  it('never with a secret', () => {
    for (const text of [
      'mqtt: { url: mqtt://anna:hunter2@broker }',
      'mqtt: { username: a, password: [hunter2] }',
      'mqtt:\n  password: "x" hunter2\n',
      'mqtt:\n  password: x: hunter2\n',
      'mqtt:\n  password: @hunter2\n',
      'secretFile: PISW1-HUNTER2',
    ]) {
      expect(mistakes(text).join('\n')).not.toMatch(/hunter2/i);
    }
  });
});

describe('files', () => {
  it('that are missing are no mistake; those that cannot be read are', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'pi-swarm-config-'));
    try {
      const there = join(directory, 'config.yaml');
      await writeFile(there, 'port: 4000\n');
      const config = await loadConfig({ paths: [join(directory, 'none.yaml'), there, join(there, 'not-a-directory')] });
      expect(config).toMatchObject({ port: 4000, files: [there] });
      await expect(loadConfig({ paths: [directory] })).rejects.toBeInstanceOf(EnvironmentError);
      await chmod(there, 0);
      if (process.getuid?.() !== 0)
        await expect(loadConfig({ paths: [there] })).rejects.toBeInstanceOf(EnvironmentError);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describe('the commented example', () => {
  const settings = async () => {
    const example = await readFile(new URL('../docs/config.example.yaml', import.meta.url), 'utf8');
    expect({ ...parse(example), files: [] }).toEqual(parse());
    return example.replace(/^#(?=\S| {2})/gm, '');
  };

  it('shows every setting, once', async () => {
    const text = await settings();
    const shown = (indent: string) => [...text.matchAll(new RegExp(`^${indent}(\\w+):`, 'gm'))].map(match => match[1]);
    expect(shown('').sort()).toEqual(keysOf([]).sort());
    // One of the two ways to give a password is enough.
    expect(shown('  ').sort()).toEqual(
      [...keysOf(['health']), ...keysOf(['mqtt']).filter(key => key !== 'password'), ...keysOf(['log'])].sort(),
    );
  });

  it('is right when the # are taken away, and shows the defaults', async () => {
    const config = parse((await settings()).replace('mqtt://', 'mqtts://'));
    const { mqtt: _, files: __, ...rest } = config;
    const { mqtt: ___, files: ____, ...defaults } = parse();
    expect(rest).toEqual(defaults);
    const { url, username, passwordFile, ca, cert, key, ...mqttDefaults } = config.mqtt ?? {};
    expect(parse('mqtt: { url: mqtt://a }').mqtt).toEqual({ url: 'mqtt://a', ...mqttDefaults });
  });

  it('names in docs/config.md are those of the schema', async () => {
    const text = await readFile(new URL('../docs/config.md', import.meta.url), 'utf8');
    const all = [
      ...keysOf([]),
      ...keysOf(['health']).map(key => `health.${key}`),
      ...keysOf(['mqtt']).map(key => `mqtt.${key}`),
      ...keysOf(['log']).map(key => `log.${key}`),
    ];
    for (const key of all) expect(text).toContain(`\`${key}\``);
  });
});
