import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type CommandDeps, runCommand } from '../../src/commands.ts';
import { type PiSwarmError, RefusedError } from '../../src/errors.ts';
import { formatSecret, generateSecret } from '../../src/io/secret.ts';
import { FakeManager } from './fakes.ts';
import { snapshotOf, whoamiService } from './fixtures.ts';

let manager: FakeManager;
beforeEach(() => {
  manager = new FakeManager();
});

const local = (name: string, body: unknown = {}, more: Partial<CommandDeps> = {}) =>
  runCommand(manager.commands(more), name, body, { from: 'local' });

describe('membership', () => {
  let directory: string;
  let secretFile: string;
  let pickedUp: number;
  const [mine, other] = [formatSecret(generateSecret()), formatSecret(generateSecret())];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'pi-swarm-claim-'));
    secretFile = join(directory, 'etc', 'secret');
    pickedUp = 0;
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const claim = (body: object) =>
    local('claim', body, {
      secretFile,
      pickUpSecret: async () => {
        pickedUp++;
      },
    });

  test('claim keeps the secret for root only and wakes the agent', async () => {
    expect(await claim({ secret: mine })).toEqual({ changed: true });
    expect((await readFile(secretFile, 'utf8')).trim()).toBe(mine);
    expect((await stat(secretFile)).mode & 0o777).toBe(0o600);
    expect([pickedUp, manager.intents]).toEqual([1, ['stay']]);
  });

  test('the same secret again brings a Pi back that had left', async () => {
    await claim({ secret: mine });
    expect(await claim({ secret: mine.toLowerCase() })).toEqual({ changed: false });
    expect([pickedUp, manager.intents]).toEqual([1, ['stay', 'stay']]);
  });

  test('another secret needs force', async () => {
    await claim({ secret: mine });
    await expect(claim({ secret: other })).rejects.toMatchObject({
      code: 'refused',
      cure: expect.stringContaining('--force'),
    });
    expect((await readFile(secretFile, 'utf8')).trim()).toBe(mine);
    expect(await claim({ secret: other, force: true })).toEqual({ changed: true });
    expect((await readFile(secretFile, 'utf8')).trim()).toBe(other);
  });

  test('a misspelt secret changes nothing, and the error does not hold it', async () => {
    const typo = `${mine.slice(0, -1)}${mine.endsWith('0') ? '1' : '0'}`;
    const failure = await claim({ secret: typo }).catch((error: unknown) => error as PiSwarmError);
    expect(failure).toMatchObject({ code: 'usage', message: expect.stringContaining('checksum') });
    expect(JSON.stringify((failure as PiSwarmError).toWire())).not.toContain(typo.slice(6, 20));
    await expect(stat(secretFile)).rejects.toThrow();
    expect([pickedUp, manager.intents]).toEqual([0, []]);
  });

  test('a damaged secret file may be replaced without force', async () => {
    await claim({ secret: mine });
    await writeFile(secretFile, 'torn');
    expect(await claim({ secret: other })).toEqual({ changed: true });
  });

  test('return: only with a secret', async () => {
    expect(await local('return')).toEqual({ intent: 'stay' });
    const snapshot = () => snapshotOf({ change: it => (it.self.claimed = false) });
    await expect(local('return', {}, { snapshot })).rejects.toMatchObject({
      code: 'refused',
      cure: expect.stringContaining('invite'),
    });
  });

  test('leave is refused on the last Pi while services run, unless forced', async () => {
    const snapshot = () => snapshotOf({ pis: 1, services: [whoamiService] });
    await expect(local('leave', {}, { snapshot })).rejects.toMatchObject({
      code: 'refused',
      cure: expect.stringContaining('--force'),
    });
    expect(manager.intents).toEqual([]);
    await local('leave', { force: true }, { snapshot });
    expect(manager.intents).toEqual(['leave']);
  });

  test.each([
    ['others take the work', snapshotOf({ pis: 2, services: [whoamiService] })],
    ['nothing runs', snapshotOf({ pis: 1 })],
  ])('leave goes: %s', async (_name, snapshot) => {
    await local('leave', {}, { snapshot: () => snapshot });
    expect(manager.intents).toEqual(['leave']);
  });

  test('leave is refused when the others are down', async () => {
    const snapshot = snapshotOf({ pis: 2, services: [whoamiService] });
    for (const pi of snapshot.cluster.pis) if (!pi.self) pi.swarmState = 'down';
    await expect(local('leave', {}, { snapshot: () => snapshot })).rejects.toThrow(RefusedError);
  });
});
