import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EnvironmentError } from '../../src/errors.ts';
import { ensurePrivateDirectory, readFileIfAny, writeFileAtomic } from '../../src/io/files.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'pi-swarm-files-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('writeFileAtomic', () => {
  it('replaces the content and sets the mode, whatever the umask and the old mode', async () => {
    const path = join(directory, 'file');
    await writeFile(path, 'a longer old content', { mode: 0o777 });
    const before = process.umask(0o077);
    await writeFileAtomic(path, 'new', 0o644).finally(() => process.umask(before));
    expect(await readFile(path, 'utf8')).toBe('new');
    expect((await stat(path)).mode & 0o777).toBe(0o644);
  });

  it('never shows a reader half of a file', async () => {
    const path = join(directory, 'file');
    const [a, b] = ['a'.repeat(100_000), 'b'.repeat(100_000)];
    await writeFileAtomic(path, a);
    const writing = Promise.all(Array.from({ length: 20 }, (_, n) => writeFileAtomic(path, n % 2 === 0 ? b : a)));
    let done = false;
    void writing.finally(() => {
      done = true;
    });
    while (!done) expect([a, b]).toContain(await readFile(path, 'utf8'));
    await writing;
    expect(await readFile(path, 'utf8')).toBe(a);
    expect(await readdir(directory)).toEqual(['file']);
  });

  it('clears away what a process that lost power left, and not what a living one is writing', async () => {
    const path = join(directory, 'file');
    const dead = execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }).trim();
    await writeFile(`${path}.tmp-${dead}`, 'half');
    await writeFile(`${path}.tmp-1`, 'half');
    await writeFile(join(directory, 'other.tmp-x'), 'not ours');
    await writeFileAtomic(path, 'whole');
    expect((await readdir(directory)).sort()).toEqual(['file', 'file.tmp-1', 'other.tmp-x']);
  });

  it('never writes through a link that lies where its temporary file goes', async () => {
    const path = join(directory, 'file');
    const victim = join(directory, 'victim');
    await writeFile(victim, 'precious');
    await symlink(victim, `${path}.tmp-${process.pid}`);
    await writeFileAtomic(path, 'new');
    expect(await readFile(victim, 'utf8')).toBe('precious');
    expect(await readFile(path, 'utf8')).toBe('new');
    expect((await readdir(directory)).sort()).toEqual(['file', 'victim']);
  });

  it('says what is wrong and what to do, and goes on afterwards', async () => {
    const path = join(directory, 'file');
    await mkdir(path);
    const failed = writeFileAtomic(path, 'x');
    await expect(failed).rejects.toMatchObject({
      code: 'environment',
      message: expect.stringContaining(`cannot write ${path}`),
      cure: expect.stringContaining('move it away'),
    });
    expect(await readdir(directory)).toEqual(['file']);
    await rm(path, { recursive: true });
    await writeFileAtomic(path, 'x');
    expect(await readFile(path, 'utf8')).toBe('x');
  });
});

describe('the other file helpers', () => {
  it('close a directory to everyone but its owner', async () => {
    const path = join(directory, 'a', 'b');
    await mkdir(path, { recursive: true });
    await chmod(path, 0o777);
    await ensurePrivateDirectory(path);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
  });

  it('leave an open directory that others use as it is, and refuse to keep secrets in it', async () => {
    const path = join(directory, 'lib');
    await mkdir(join(path, 'dpkg'), { recursive: true });
    await chmod(path, 0o755);
    await expect(ensurePrivateDirectory(path)).rejects.toMatchObject({
      code: 'environment',
      cure: expect.stringContaining('stateDir'),
    });
    expect((await stat(path)).mode & 0o777).toBe(0o755);
    await rm(join(path, 'dpkg'), { recursive: true });
    await writeFile(join(path, 'node.key'), '');
    await ensurePrivateDirectory(path);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
  });

  it('tell a missing file from an unreadable one', async () => {
    expect(await readFileIfAny(join(directory, 'none'))).toBeUndefined();
    await symlink('loop', join(directory, 'loop'));
    await expect(readFileIfAny(join(directory, 'loop'))).rejects.toBeInstanceOf(EnvironmentError);
  });
});
