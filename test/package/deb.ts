/** The package, made once for a test file, in a folder that is removed at the end. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { makeDeb } from '../../scripts/package/deb.ts';
import type { Metafile } from '../../scripts/package/licences.ts';

export const ROOT = join(import.meta.dirname, '..', '..');
export const EPOCH_SECONDS = 1_767_225_600;

const folders: string[] = [];

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'pi-swarm-package-'));
  folders.push(folder);
  return folder;
}

/** Call it once at the top of a test file. */
export function removeFoldersAtEnd(): void {
  afterAll(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });
}

/** @returns the .deb, and what esbuild put into its bundle */
export async function buildDeb(): Promise<{ file: string; metafile: Metafile }> {
  const builder: { bundle(outfile: string): Promise<Metafile> } = await import(
    new URL('../../scripts/build.mjs', import.meta.url).href
  );
  let metafile: Metafile = { outputs: {} };
  const before = process.env['SOURCE_DATE_EPOCH'];
  process.env['SOURCE_DATE_EPOCH'] = `${EPOCH_SECONDS}`;
  try {
    const bundle = async (outfile: string) => {
      metafile = await builder.bundle(outfile);
      return metafile;
    };
    const file = await makeDeb({ root: ROOT, outDir: temporaryFolder(), epochSeconds: EPOCH_SECONDS, bundle });
    return { file, metafile };
  } finally {
    if (before === undefined) delete process.env['SOURCE_DATE_EPOCH'];
    else process.env['SOURCE_DATE_EPOCH'] = before;
  }
}

export const run = (program: string, ...words: string[]): string =>
  execFileSync(program, words, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  });

/** The same package as another version. */
export function asVersion(file: string, version: string): string {
  const folder = temporaryFolder();
  run('dpkg-deb', '--raw-extract', file, `${folder}/content`);
  run('sed', '-i', `s/^Version: .*/Version: ${version}/`, `${folder}/content/DEBIAN/control`);
  run('dpkg-deb', '--root-owner-group', '-Zgzip', '--build', `${folder}/content`, `${folder}/other.deb`);
  return `${folder}/other.deb`;
}
