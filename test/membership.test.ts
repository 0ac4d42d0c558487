import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../src/config.ts';
import { SystemClock } from '../src/io/clock.ts';
import { loadOrCreateIdentity } from '../src/io/identity.ts';
import { formatSecret, generateSecret } from '../src/io/secret.ts';
import { createLogger } from '../src/log.ts';
import { Membership } from '../src/membership.ts';

let directory: string;
let membership: Membership;
let logged = '';
const file = () => join(directory, 'secret');

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'pi-swarm-membership-'));
  logged = '';
  const write = (line: string): void => {
    logged += line;
  };
  membership = new Membership({
    config: { ...parseConfig([{ path: 'test', text: 'mdns: false' }], 'pi1'), port: 0 },
    identity: await loadOrCreateIdentity(join(directory, 'state')),
    clock: new SystemClock({ stateDir: join(directory, 'state') }),
    network: { state: () => ({ addresses: ['127.0.0.1'] }), onChange: () => {}, stop: () => {} },
    log: createLogger({ destination: { write }, pretty: false }),
    onChange: () => {},
    onRequest: async () => undefined,
  });
});

afterEach(async () => {
  await membership.leave();
  rmSync(directory, { recursive: true, force: true });
});

describe('the secret on this Pi', () => {
  it('makes it belong to its cluster', async () => {
    writeFileSync(file(), formatSecret(generateSecret()));
    await membership.pickUp(file());
    expect(membership.tag).toMatch(/^[0-9a-f]{16}$/);
    expect(membership.notices()).toEqual([]);
  });

  it('is not needed for the agent to run: without it the Pi is unclaimed', async () => {
    await membership.pickUp(file());
    expect(membership.tag).toBeUndefined();
    expect(membership.notices()).toEqual([]);
  });

  it('may be damaged: the Pi stays unclaimed and says so, without telling it, until it is put right', async () => {
    const right = formatSecret(generateSecret());
    const typo = right.replace(/.$/, last => (last === 'A' ? 'B' : 'A'));
    writeFileSync(file(), typo);
    await membership.pickUp(file());
    expect(membership.tag).toBeUndefined();
    expect(membership.notices()).toMatchObject([{ severity: 'error', kind: 'secret-damaged' }]);
    expect(logged + JSON.stringify(membership.notices())).not.toContain(typo.slice(10, 30));
    writeFileSync(file(), right);
    await membership.pickUp(file());
    expect(membership.tag).toBeDefined();
    expect(membership.notices()).toEqual([]);
  });
});
