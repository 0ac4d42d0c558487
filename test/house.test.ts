/** The house keeps its shape (ARCHITECTURE.md): who may import whom, what pure code must not touch, how long files get. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

/** Every file of ours, from the project's folder. */
function filesIn(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap(entry => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (['node_modules', 'dist', '.git'].includes(entry.name) || entry.isSymbolicLink()) return [];
    return entry.isDirectory() ? filesIn(path) : entry.isFile() ? [path] : [];
  });
}

const files = filesIn('');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const sources = files.filter(path => /^src\/.*\.tsx?$/.test(path));
const code = files.filter(path => /\.(ts|tsx|mjs)$/.test(path));

interface Import {
  from: string;
  to: string;
  /** Gone after compiling. */
  typeOnly: boolean;
}

const IMPORT = /^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/gm;

function importsOf(path: string): Import[] {
  return [...read(path).matchAll(IMPORT)].map(([, type, named, lazy]) => {
    const target = named ?? lazy ?? '';
    const to = target.startsWith('.') ? normalize(join(dirname(path), target)) : target;
    return { from: path, to, typeOnly: type !== undefined };
  });
}

const imports = sources.flatMap(importsOf);

/** `src/io/mdns.ts` → `io`, `src/loop.ts` → `loop`, a package → its name. */
const roomOf = (path: string) => (path.startsWith('src/') ? path.split('/')[1]?.replace(/\.tsx?$/, '') : path);

/** Imports from `room` for which `allowed` says no, as sentences. */
const wrongArrows = (room: string, allowed: (to: string) => boolean) =>
  imports
    .filter(({ from, to }) => roomOf(from) === room && !allowed(roomOf(to) ?? ''))
    .map(({ from, to }) => `${from} imports ${to}`);

describe('the arrows of the house', () => {
  it('finds the imports it is to judge', () => {
    expect(imports.length).toBeGreaterThan(0);
  });

  it('core and scheduler import nothing but themselves', () => {
    expect(wrongArrows('core', to => to === 'core')).toEqual([]);
    expect(wrongArrows('scheduler', to => to === 'scheduler')).toEqual([]);
  });

  it('pure code touches no clock, no random number, no process, no file and no network', () => {
    const impure =
      /\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bprocess\.|\bperformance\.|\bsetTimeout\b|\bsetInterval\b|['"]node:|\bfetch\(/;
    const touched = sources
      .filter(path => /^src\/(core|scheduler)\//.test(path))
      .flatMap(path =>
        read(path)
          .split('\n')
          .flatMap((line, index) => (impure.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
      );
    expect(touched).toEqual([]);
  });

  it('the contracts know only the words of the core', () => {
    expect(wrongArrows('ports', to => to === 'core')).toEqual([]);
    expect(wrongArrows('errors', () => false)).toEqual([]);
  });

  it('io never imports the loop, the agent or anything that stands above them', () => {
    const above = new Set([
      'loop',
      'agent',
      'cli',
      'commands',
      'control',
      'telemetry',
      'web',
      'gateway',
      'lab',
      'flash',
      'machine',
    ]);
    expect(wrongArrows('io', to => !above.has(to))).toEqual([]);
  });

  it('the loop knows ports, not those who implement them', () => {
    const world = new Set([
      'io',
      'agent',
      'cli',
      'commands',
      'control',
      'telemetry',
      'web',
      'gateway',
      'lab',
      'flash',
      'machine',
    ]);
    expect(wrongArrows('loop', to => !world.has(to))).toEqual([]);
  });

  it('telemetry gets snapshots, and reaches for nothing itself', () => {
    const others = new Set(['loop', 'agent', 'cli', 'commands', 'lab']);
    expect(wrongArrows('telemetry', to => !others.has(to))).toEqual([]);
  });

  it('nothing but the command line imports the agent, the lab or the flasher', () => {
    const tops = imports
      .filter(({ from, to }) => ['agent', 'lab', 'flash'].includes(roomOf(to) ?? '') && roomOf(from) !== roomOf(to))
      .filter(({ from }) => !['cli', 'commands', 'run-agent'].includes(roomOf(from) ?? ''))
      .map(({ from, to }) => `${from} imports ${to}`);
    expect(tops).toEqual([]);
  });

  it('has no import cycles', () => {
    const next = new Map<string, string[]>();
    for (const { from, to, typeOnly } of imports) if (!typeOnly) next.set(from, [...(next.get(from) ?? []), to]);
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (path: string, way: string[]) => {
      if (way.includes(path)) cycles.push([...way.slice(way.indexOf(path)), path].join(' → '));
      if (way.includes(path) || done.has(path)) return;
      for (const to of next.get(path) ?? []) visit(to, [...way, path]);
      done.add(path);
    };
    for (const path of sources) visit(path, []);
    expect(cycles).toEqual([]);
  });
});

describe('every file', () => {
  it('has at most 300 lines', () => {
    const long = code
      .map(path => ({ path, lines: read(path).split('\n').length - 1 }))
      .filter(({ lines }) => lines > 300);
    expect(long).toEqual([]);
  });

  it('gets along without type escapes', () => {
    // Written in two pieces, or this file would find itself.
    const escapes = new RegExp(
      `\\bas ${'any'}\\b|: ${'any'}\\b|<${'any'}>|@ts-${'ignore'}|@ts-${'expect-error'}|@ts-${'nocheck'}|biome-${'ignore'}`,
    );
    expect(code.filter(path => escapes.test(read(path)))).toEqual([]);
  });

  it('names no folder of the machine it was written on', () => {
    const machine = new RegExp(`/${'work'}/|/${'home'}/[a-z]|/${'Users'}/[A-Za-z]`);
    const text = files.filter(path => !/\.(png|gif|svg|ico|woff2?)$/.test(path));
    expect(text.filter(path => machine.test(read(path)))).toEqual([]);
  });

  it('leaves the choice of the package registry to the machine: the lock names no host', () => {
    expect(read('package-lock.json')).not.toMatch(/"resolved"|https?:\/\/registry/);
  });
});
