import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../src/config.ts';
import { SystemClock } from '../src/io/clock.ts';
import { loadOrCreateIdentity } from '../src/io/identity.ts';
import { generateSecret } from '../src/io/secret.ts';
import { createLogger } from '../src/log.ts';
import { Membership } from '../src/membership.ts';
import type { NetworkState } from '../src/ports.ts';

describe('belonging to a cluster', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'pisw-member-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const make = async (port: number) => {
    let asked = 0;
    const listeners: ((state: NetworkState) => void)[] = [];
    const membership = new Membership({
      config: { ...parseConfig([], 'pi1'), port, mdns: false },
      identity: await loadOrCreateIdentity(directory),
      clock: new SystemClock({ stateDir: directory }),
      network: {
        state: () => {
          asked += 1;
          return { addresses: ['127.0.0.1'] };
        },
        onChange: listener => void listeners.push(listener),
        stop: () => {},
      },
      log: createLogger({ level: 'silent' }),
      onChange: () => {},
      onRequest: async () => ({}),
    });
    const change = (): number => {
      const before = asked;
      for (const listener of listeners) listener({ addresses: [] });
      return asked - before;
    };
    return { membership, listeners, change };
  };

  it('leaves nothing of the clusters before behind, however often it is claimed anew', async () => {
    const { membership, listeners, change } = await make(0);
    for (let times = 0; times < 5; times++) await membership.enter(generateSecret());
    expect(listeners).toHaveLength(1);
    // One certificate is issued anew, not five.
    expect(change()).toBe(1);
    await membership.leave();
  });

  it('belongs to none while its port is taken, and enters when it is free', async () => {
    const other = createServer();
    await new Promise<void>(resolve => other.listen(0, '0.0.0.0', resolve));
    const address = other.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { membership } = await make(port);
    const secret = generateSecret();
    await expect(membership.enter(secret)).rejects.toMatchObject({ code: 'environment' });
    expect(membership.tag).toBeUndefined();
    expect(membership.peers).toBeUndefined();
    await new Promise(resolve => other.close(resolve));
    await membership.enter(secret);
    expect(membership.tag).toMatch(/^[0-9a-f]{16}$/);
    await membership.leave();
  });
});
