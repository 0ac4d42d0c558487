/** From YAML text to plain values that know where they stood, and mistakes in words. */
import { type Document, isMap, isScalar, isSeq, LineCounter, parseDocument, type YAMLMap } from 'yaml';
import type * as z from 'zod';
import { fileSchema, keysOf } from './config-schema.ts';
import { redact } from './redact.ts';

export interface FileMistake {
  path: string;
  line: number;
  column: number;
  /** What was found and what was expected. */
  text: string;
}

/** `mqtt.url` → where its value stands. */
export type Positions = Map<string, { path: string; line: number; column: number }>;

interface ParsedFile {
  path: string;
  values: Record<string, unknown>;
  positions: Positions;
  /** Of the YAML itself; with any of these the values mean nothing. */
  mistakes: FileMistake[];
}

/** A file of settings is a page long; more is not one. */
const SIZE_MAX = 256 * 1024;

/** Aliases that repeat aliases can blow up a small file («billion laughs»). */
const ALIASES_MAX = 20;

/** Keys whose values must never be shown, also when they are wrong. */
const SECRET_KEYS = new Set(['password']);

export function parseYaml(path: string, text: string): ParsedFile {
  const nothing = { path, values: {}, positions: new Map() };
  if (text.length > SIZE_MAX) {
    const found = `the file has ${text.length} characters, expected at most ${SIZE_MAX}`;
    return { ...nothing, mistakes: [{ path, line: 1, column: 1, text: found }] };
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' });
  const mistakes = document.errors.map(error => {
    const { line, col } = lines.linePos(error.pos[0]);
    return { path, line, column: col, text: yamlMistake(error.code, error.message) };
  });
  if (mistakes.length > 0) return { ...nothing, mistakes };
  const positions: Positions = new Map();
  note(document, path, lines, positions);
  try {
    return { path, values: withoutNulls(document.toJS({ maxAliasCount: ALIASES_MAX })), positions, mistakes: [] };
  } catch {
    const found = 'an alias (*name) without its anchor (&name) above it, or too many; expected plain values';
    return { ...nothing, mistakes: [{ path, line: 1, column: 1, text: found }] };
  }
}

/** Everything that the schema does not accept. */
export function mistakesIn(file: ParsedFile): FileMistake[] {
  const result = fileSchema.safeParse(file.values);
  if (result.success) return [];
  const mistakes = result.error.issues.flatMap(issue => schemaMistakes(file, issue));
  return mistakes.sort((a, b) => a.line - b.line || a.column - b.column);
}

function schemaMistakes(file: ParsedFile, issue: z.core.$ZodIssue): FileMistake[] {
  const keys = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => {
      const hint = nearest(key, keysOf(keys));
      const known =
        hint === undefined
          ? `expected one of ${keysOf(keys).join(', ')}`
          : `did you mean ${[...keys, hint].join('.')}?`;
      return { ...where(file, [...keys, key], 'key'), text: `${[...keys, key].join('.')} is not a setting; ${known}` };
    });
  }
  const value = valueAt(file.values, keys);
  if (keys.length === 0) {
    const found = Array.isArray(value) ? 'a list' : 'plain text';
    return [{ path: file.path, line: 1, column: 1, text: `the file is ${found}, expected ${issue.message}` }];
  }
  const found = describe(value, SECRET_KEYS.has(keys.at(-1) ?? ''));
  return [{ ...where(file, keys, 'value'), text: `${keys.join('.')} is ${found}, expected ${issue.message}` }];
}

function where(file: ParsedFile, keys: string[], what: 'key' | 'value') {
  const name = keys.join('.');
  return file.positions.get(what === 'key' ? `${name}#key` : name) ?? { path: file.path, line: 1, column: 1 };
}

/** Notes the place of each value under `a.b`, and of each key under `a.b#key`. */
function note(document: Document.Parsed, path: string, lines: LineCounter, positions: Positions): void {
  const place = (offset: number | undefined) => {
    const { line, col } = lines.linePos(offset ?? 0);
    return { path, line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const visit = (node: unknown, keys: string[]): void => {
    if (isMap(node)) for (const pair of (node as YAMLMap).items) visitPair(pair, keys);
    if (isSeq(node)) for (const [index, item] of node.items.entries()) visitValue(item, [...keys, String(index)]);
  };
  const visitPair = (pair: { key: unknown; value: unknown }, keys: string[]): void => {
    const name = [...keys, String(isScalar(pair.key) ? pair.key.value : pair.key)];
    positions.set(`${name.join('.')}#key`, place(startOf(pair.key)));
    visitValue(pair.value ?? pair.key, name);
  };
  const visitValue = (node: unknown, keys: string[]): void => {
    positions.set(keys.join('.'), place(startOf(node)));
    visit(node, keys);
  };
  visit(document.contents, []);
}

function startOf(node: unknown): number | undefined {
  const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
  return Array.isArray(range) && typeof range[0] === 'number' ? range[0] : undefined;
}

/** `mqtt:` with every line below it commented out is YAML's null: it means «nothing said here». */
function withoutNulls(value: unknown): Record<string, unknown> {
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object' || Array.isArray(value)) return value as Record<string, unknown>;
  const entries = Object.entries(value).filter(([, inner]) => inner !== null);
  return Object.fromEntries(
    entries.map(([key, inner]) => [
      key,
      typeof inner === 'object' && !Array.isArray(inner) ? withoutNulls(inner) : inner,
    ]),
  );
}

function valueAt(values: unknown, keys: readonly string[]): unknown {
  let value = values;
  for (const key of keys) value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
  return value;
}

function describe(value: unknown, secret: boolean): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a block of settings';
  const kind = typeof value === 'string' ? 'text' : typeof value === 'number' ? 'the number' : '';
  if (secret) return kind === 'text' ? 'a text that is empty or too long' : 'not a text';
  const shown = typeof value === 'string' ? JSON.stringify(shorten(value)) : String(value);
  return `${kind} ${shown}`.trim();
}

/** A value may hold a secret that belongs elsewhere, such as `mqtt://user:password@host`. */
const shorten = (value: string): string => redact(value).replace(/^(.{60}).+$/s, '$1…');

const YAML_WORDS: Record<string, string> = {
  DUPLICATE_KEY: 'this key stands here a second time; expected each key once',
  TAB_AS_INDENT: 'a tab, expected spaces for indentation',
  BAD_INDENT: 'the indentation does not fit the lines above; expected keys of one block in one column',
  MISSING_CHAR: 'something is missing here, such as a closing quote or bracket, or the space after a colon',
  MULTIPLE_DOCS: 'a second document (---), expected one',
};

/** Texts of the parser quote the file, and what they quote may be a password: only the words before the quote are kept. */
function yamlMistake(code: string, message: string): string {
  const words = YAML_WORDS[code] ?? message.replace(/:? ["'`].*$/s, '');
  return `not valid YAML: ${words}`;
}

/** The closest of `names`, when it is at most a third of its letters away (two, for two swapped ones). */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const ranked = names.map(name => ({ name, away: distance(word.toLowerCase(), name.toLowerCase()) }));
  ranked.sort((a, b) => a.away - b.away);
  const [best] = ranked;
  return best !== undefined && best.away <= Math.max(2, Math.floor(best.name.length / 3)) ? best.name : undefined;
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
