/** The same against Debian's mosquitto, as people run it: with user, password and TLS. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { MqttConfig } from '../../src/config.ts';
import type { MqttTelemetry } from '../../src/telemetry/mqtt.ts';
import { type Mosquitto, mosquitto, PASSWORD, USER, until } from './brokers.ts';
import { IDS, snapshotOf, TAG } from './snapshots.ts';
import { makeTelemetry, mqttConfig } from './telemetry.ts';

const STATE = `pi-swarm/${TAG}/${IDS[0]}/state`;
const AVAILABILITY = `pi-swarm/${TAG}/${IDS[0]}/availability`;

let broker: Mosquitto;
const started: MqttTelemetry[] = [];

/** Connects with TLS, the right CA, user and password; `more` spoils some of it. */
function telemetryWith(more: Partial<MqttConfig> = {}) {
  const passwordFile = join(broker.folder, 'password');
  writeFileSync(passwordFile, `${PASSWORD}\n`);
  const config = mqttConfig(broker.tlsUrl, { username: USER, passwordFile, ca: broker.ca, ...more });
  const made = makeTelemetry(config);
  started.push(made.telemetry);
  made.telemetry.publish(snapshotOf());
  return made;
}

const connected = (telemetry: MqttTelemetry) => until(() => telemetry.state().state === 'connected');

async function problemOf(more: Partial<MqttConfig>): Promise<string> {
  const { telemetry, lines } = telemetryWith(more);
  await until(() => telemetry.state().state === 'offline');
  expect(lines.join('')).not.toContain(PASSWORD);
  return telemetry.state().problem ?? '';
}

beforeAll(async () => {
  broker = await mosquitto();
  await broker.start();
});
afterEach(async () => {
  await Promise.all(started.splice(0).map(telemetry => telemetry.stop()));
});
afterAll(() => broker.remove());

describe('with user, password and TLS', () => {
  it('states are retained for clients that come later, and a clean stop leaves offline', async () => {
    const { telemetry, lines } = telemetryWith();
    await connected(telemetry);
    await until(() => telemetry.waiting === 0);
    await until(() => broker.read(`pi-swarm/${TAG}/cluster/state`) !== undefined);
    expect(JSON.parse(broker.read(STATE) ?? '')).toMatchObject({ name: 'pi1', temperatureCelsius: 47 });
    expect(broker.read(AVAILABILITY)).toBe('online');
    await telemetry.stop();
    expect(broker.read(AVAILABILITY)).toBe('offline');
    expect(lines.join('')).not.toContain(PASSWORD);
  });

  it('a broker that restarts is found again and gets everything again', async () => {
    const { telemetry } = telemetryWith();
    await connected(telemetry);
    await broker.kill();
    await until(() => telemetry.state().state !== 'connected');
    await broker.start();
    await connected(telemetry);
    await until(() => telemetry.waiting === 0);
    await until(() => broker.read(STATE) !== undefined);
    expect(broker.read(AVAILABILITY)).toBe('online');
  });

  it('a password that is corrected in its file is used at the next attempt', async () => {
    const { telemetry } = telemetryWith({ passwordFile: join(broker.folder, 'other') });
    await until(() => telemetry.state().state === 'offline');
    expect(telemetry.state().problem).toMatch(/other cannot be read \(ENOENT\)/);
    writeFileSync(join(broker.folder, 'other'), PASSWORD);
    await connected(telemetry);
  });
});

describe('what is wrong is said in words, with the cure', () => {
  const password = { passwordFile: undefined, password: 'wrong' };
  const cases: [what: string, more: () => Partial<MqttConfig>, expected: RegExp][] = [
    ['a wrong password', () => password, /refuses the user name or the password\. Correct mqtt\.username/],
    [
      'no user',
      () => ({ username: undefined, passwordFile: undefined }),
      /wants a user name and a password\. Set mqtt/,
    ],
    ['an unknown CA', () => ({ ca: undefined }), /a CA that is not known here\. Set mqtt\.ca/],
    [
      'another name than the certificate has',
      () => ({ url: broker.tlsUrl.replace('localhost', '127.0.0.1') }),
      /for another name/,
    ],
    [
      'TLS spoken to the port without',
      () => ({ url: broker.plainUrl.replace('mqtt', 'mqtts') }),
      /closed the connection|does not speak TLS/,
    ],
    [
      'no TLS spoken to the port with',
      () => ({ url: broker.tlsUrl.replace('mqtts', 'mqtt') }),
      /closed the connection/,
    ],
    [
      'a CA file that is not there',
      () => ({ ca: '/nowhere/ca.pem' }),
      /\/nowhere\/ca\.pem cannot be read \(ENOENT\)\. Correct/,
    ],
    [
      'a name that does not exist',
      () => ({ url: 'mqtt://broker.invalid' }),
      /The name in mqtt:\/\/broker\.invalid is not known/,
    ],
  ];
  for (const [what, more, expected] of cases) {
    it(what, async () => {
      expect(await problemOf(more())).toMatch(expected);
    });
  }

  it('an insecure connection is made on request, and warned of', async () => {
    const { telemetry, lines } = telemetryWith({ ca: undefined, insecure: true });
    await connected(telemetry);
    expect(lines.join('')).toContain('the certificate of the broker is not checked');
  });
});

it('an agent that is killed leaves offline behind; bundled as it is shipped', async () => {
  const bundle = join(broker.folder, 'child.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'child.ts')],
    outfile: bundle,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    minify: true,
    logLevel: 'error',
    banner: { js: "import { createRequire as cr } from 'node:module'; const require = cr(import.meta.url);" },
  });
  const child = spawn(process.execPath, [bundle, broker.plainUrl, USER, PASSWORD], { stdio: 'inherit' });
  try {
    await until(() => broker.read(AVAILABILITY) === 'online');
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await until(() => broker.read(AVAILABILITY) === 'offline');
});
