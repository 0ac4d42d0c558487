import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ControlServer, callAgent, startControl } from '../src/control.ts';
import { EXIT, fromWire } from '../src/errors.ts';
import { readBeat, readHello } from '../src/io/peer-protocol.ts';
import { createLogger } from '../src/log.ts';
import { printable, printableLines } from '../src/printable.ts';
import { status } from './core/build.ts';

const ESC = '\u001b';
const EVIL = `pi${ESC}[2J${ESC}]0;owned\u0007\u009b31m\u202edlo\nFAKE`;

describe('the words of others', () => {
  it('lose what a terminal would obey, and nothing else', () => {
    expect(printable('Küche-π 日本 🍓 pi1: 3/5 «ok»')).toBe('Küche-π 日本 🍓 pi1: 3/5 «ok»');
    expect(printable(EVIL)).not.toMatch(/[\p{Cc}\u202e]/u);
    expect(printableLines('one\ntwo\t\u001b[31m')).toBe('one\ntwo\ufffd\ufffd[31m');
  });

  it('lose it on the way in, in heartbeats and hellos', () => {
    const swarm = { state: 'pending', nodeId: 'n', reason: EVIL } as const;
    const said = status('pi1', { name: EVIL, version: EVIL, model: EVIL, address: EVIL, swarm });
    const beat = readBeat({ etag: 'e', seen: '', wallMs: 1, status: said });
    const hello = readHello({ id: said.id, versions: { min: 1, max: 1 }, release: EVIL, name: EVIL, port: 1 });
    expect(Object.values({ ...beat.status, ...beat.status?.swarm, ...hello }).join('')).not.toMatch(/\p{Cc}/u);
  });

  it('name no hosts that would have to be looked up', () => {
    const hosts = ['10.0.0.2', '', 'pi2.local', 'a b\r\nc', '::1', '10.0.0.300'];
    const said = status('pi1', { peers: hosts.map(host => ({ host, port: 1 })) });
    expect(readBeat({ etag: 'e', seen: '', wallMs: 1, status: said }).status?.peers).toEqual([
      { host: '10.0.0.2', port: 1 },
    ]);
  });

  it('lose it in logs for eyes', () => {
    const lines: string[] = [];
    const log = createLogger({ pretty: true, destination: { write: line => void lines.push(line) } });
    log.warn({ error: new Error(EVIL), name: EVIL }, `join the swarm of ${EVIL}`);
    expect(lines.join('')).not.toMatch(/[^\P{Cc}\n]/u);
    expect(lines.join('').split('\n')[0]).toContain('FAKE');
  });
});

describe('an error from another Pi', () => {
  it.each(['constructor', 'toString', '__proto__', 'ok', 7, null, {}, undefined])('of code %j is a failure', code => {
    const error = fromWire({ code, message: 'm', cure: {} });
    expect(error).toMatchObject({ code: 'failure', message: 'm' });
    expect(error.cure).toBeUndefined();
    expect(EXIT[error.code]).toBe(1);
  });

  it.each([undefined, null, 7, 'x', [], { message: { toString: 'x' } }])('of shape %j has a message', wire => {
    expect(typeof fromWire(wire).message).toBe('string');
  });
});

describe('the command line', () => {
  let directory: string;
  let server: ControlServer;
  const socket = () => join(directory, 'agent.sock');
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'pisw-print-'));
    server = await startControl(socket(), {
      snapshot: () => {
        throw new Error('not asked for');
      },
      command: async name => {
        if (name === 'rm') throw fromWire({ code: 'constructor', message: EVIL });
        return { name: EVIL };
      },
    });
  });
  afterEach(async () => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  });

  it('gets no control characters from the agent, and errors of any code', async () => {
    expect(JSON.stringify(await callAgent(socket(), 'services'))).not.toMatch(/\\u00|\u009b/);
    await expect(callAgent(socket(), 'rm')).rejects.toMatchObject({ code: 'failure', message: /^pi\ufffd\[2J/ });
  });
});
