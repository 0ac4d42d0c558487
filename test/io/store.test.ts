import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Memory } from '../../src/core/world.ts';
import { EnvironmentError } from '../../src/errors.ts';
import { FileStore } from '../../src/io/store.ts';

const MEMORY: Memory = { intent: 'stay', swarmId: 'abc' };
let directory = '';
let path = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pi-swarm-store-'));
  path = join(directory, 'state.json');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('the state file', () => {
  it('is versioned, and closed to all but its owner like its directory', async () => {
    await chmod(directory, 0o755);
    await new FileStore(directory).save(MEMORY);
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ version: 1, memory: MEMORY });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
  });

  it('is found again by the next start', async () => {
    await new FileStore(directory).save(MEMORY);
    const store = new FileStore(directory);
    expect(await store.load()).toEqual(MEMORY);
    expect(store.notices()).toEqual([]);
  });

  it('is not written when nothing has changed, for the sake of the SD card', async () => {
    const store = new FileStore(directory);
    await store.save(MEMORY);
    const before = (await stat(path)).ino;
    await store.save({ ...MEMORY });
    expect((await stat(path)).ino).toBe(before);
    await store.save({ intent: 'left' });
    expect((await stat(path)).ino).not.toBe(before);
  });

  it('is written twice at most for any number of saves at once', async () => {
    const store = new FileStore(directory);
    const saves = Array.from({ length: 100 }, (_, n) => store.save({ intent: 'stay', swarmId: `swarm-${n}` }));
    expect(new Set(saves).size).toBeLessThanOrEqual(2);
    await Promise.all(saves);
  });
});

describe('a damaged state file', () => {
  it.each([
    ['empty', ''],
    ['cut off', '{"version":1,"memory":{"int'],
    ['full of zeros', '\0'.repeat(300)],
    ['another JSON', '[1,2]'],
    ['without a version', '{"memory":{"intent":"stay"}}'],
    ['of a newer version', '{"version":2,"memory":{"intent":"stay"}}'],
    ['of wrong types', '{"version":1,"memory":{"intent":"stay","swarmId":7}}'],
    ['of an unknown intent', '{"version":1,"memory":{"intent":"fly"}}'],
  ])('that is %s is kept aside, and the agent starts with defaults and a notice', async (_what, content) => {
    await writeFile(path, content);
    const store = new FileStore(directory);
    expect(await store.load()).toEqual({ intent: 'stay' });
    expect(await readFile(`${path}.damaged-1`, 'utf8')).toBe(content);
    expect(store.notices()).toMatchObject([{ severity: 'warning', kind: 'state-damaged', cure: expect.any(String) }]);
    await store.save(MEMORY);
    expect(await new FileStore(directory).load()).toEqual(MEMORY);
  });

  it('is kept aside five times at most', async () => {
    const store = new FileStore(directory);
    for (let n = 1; n <= 8; n++) {
      await writeFile(path, `garbage ${n}`);
      await store.load();
    }
    expect((await readdir(directory)).sort()).toEqual([1, 2, 3, 4, 5].map(n => `state.json.damaged-${n}`));
    expect(await readFile(`${path}.damaged-5`, 'utf8')).toBe('garbage 8');
    expect(store.notices()).toHaveLength(1);
  });

  it('does not bring in fields that nobody knows', async () => {
    await writeFile(path, '{"version":1,"memory":{"intent":"left","evil":1,"__proto__":{"x":1}}}');
    expect(await new FileStore(directory).load()).toEqual({ intent: 'left' });
  });
});

// Needs root: a small file system of its own is mounted. `npm test` runs as root.
describe.skipIf(process.getuid?.() !== 0)('on a full disk', () => {
  let mount = '';
  beforeEach(async () => {
    mount = join(directory, 'disk');
    await mkdir(mount);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k,nr_inodes=20', 'pi-swarm-test', mount]);
  });
  afterEach(() => execFileSync('umount', [mount]));

  it('the old state stays whole, no temporary file is left, and the error says what to do', async () => {
    const store = new FileStore(mount);
    await store.save(MEMORY);
    const filler = join(mount, 'filler');
    execFileSync('sh', ['-c', `cat /dev/zero > ${filler} 2>/dev/null || true`]);
    await expect(store.save({ intent: 'left' })).rejects.toMatchObject({
      code: 'environment',
      message: `cannot write ${join(mount, 'state.json')}: the disk is full`,
      cure: expect.stringContaining('Free some space'),
    });
    expect(await readdir(mount)).toEqual(['filler', 'state.json']);
    expect(await new FileStore(mount).load()).toEqual(MEMORY);

    await rm(filler);
    await store.save({ intent: 'left' });
    expect(await new FileStore(mount).load()).toEqual({ intent: 'left' });
  });
});

describe('without a state directory', () => {
  it('it is made', async () => {
    await new FileStore(join(directory, 'a', 'b')).save(MEMORY);
    expect(await readdir(join(directory, 'a', 'b'))).toEqual(['state.json']);
  });

  it('a person is told when it cannot be made', async () => {
    await writeFile(join(directory, 'file'), '');
    await expect(new FileStore(join(directory, 'file', 'state')).load()).rejects.toBeInstanceOf(EnvironmentError);
  });
});
