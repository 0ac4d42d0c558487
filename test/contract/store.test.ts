import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Memory } from '../../src/core/world.ts';
import { FileStore } from '../../src/io/store.ts';
import type { Store } from '../../src/ports.ts';
import { FakeStore } from '../fakes/store.ts';

let directory = '';
let count = 0;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pi-swarm-store-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const makers: Record<string, () => Store> = {
  'the file store': () => new FileStore(join(directory, String(count++))),
  'the fake store': () => new FakeStore(),
};
const FULL: Memory = { intent: 'shutdown', swarmId: 'abc', swarmNodeId: 'def' };

describe.each(Object.entries(makers))('%s', (_name, make) => {
  it('answers with defaults when nothing was saved', async () => {
    expect(await make().load()).toEqual({ intent: 'stay' });
  });

  it('gives back every field that was saved', async () => {
    const store = make();
    await store.save(FULL);
    expect(await store.load()).toEqual(FULL);
  });

  it('forgets a field that the newer memory does not have', async () => {
    const store = make();
    await store.save(FULL);
    await store.save({ intent: 'left' });
    expect(await store.load()).toEqual({ intent: 'left' });
  });

  it('ends with the last of many concurrent saves', async () => {
    const store = make();
    await Promise.all(Array.from({ length: 50 }, (_, n) => store.save({ intent: 'stay', swarmId: `swarm-${n}` })));
    expect(await store.load()).toEqual({ intent: 'stay', swarmId: 'swarm-49' });
  });

  it('keeps what was saved when the caller changes the object afterwards', async () => {
    const store = make();
    const memory: Memory = { intent: 'stay', swarmId: 'before' };
    const saving = store.save(memory);
    memory.swarmId = 'after';
    await saving;
    expect((await store.load()).swarmId).toBe('before');
  });
});
