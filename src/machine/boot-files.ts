/**
 * Checks what a person wrote onto the boot partition of a card: cloud-init passes over what it does not understand without a
 * word that anybody sees, and the Pi then is not what was asked for. Pure.
 */
import { isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { type FileMistake, mistakesIn, nearest, parseYaml } from '../config-yaml.ts';
import { CLOUD_CONFIG_KEYS, NETWORK_KEYS } from './cloud-config-keys.ts';

export const BOOT_FILES = ['pi-swarm.yaml', 'user-data', 'network-config', 'meta-data'] as const;
export type BootFile = (typeof BOOT_FILES)[number];

/** Other first lines that cloud-init knows (docs.cloud-init.io, «User data formats»). Their content is the author's. */
const OTHER_FORMATS =
  /^(#!|#include|#cloud-boothook|#part-handler|#cloud-config-archive|#cloud-config-jsonp|## template: *jinja|Content-Type:|MIME-Version:)/i;
const BYTE_ORDER_MARK = '\ufeff';
/** A type word and base64, as in authorized_keys (sshd(8)). */
const SSH_KEY = /^(?:[\w-]+="[^"]*",?\s*)*(?:ssh-|ecdsa-|sk-)[\w@.-]+ [A-Za-z0-9+/]{30,}={0,3}(?: .*)?$/;
const HOSTNAME = /^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

/** All mistakes of all files that are there, with path, line and column. `directory`: how the paths are shown. */
export function bootMistakes(texts: Partial<Record<BootFile, string>>, directory: string): FileMistake[] {
  return BOOT_FILES.flatMap(name => {
    const text = texts[name];
    const path = `${directory}/${name}`;
    if (text === undefined)
      return name === 'user-data' || name === 'meta-data' ? [at(path, `is missing; ${LOST}`)] : [];
    return CHECKS[name](path, text);
  });
}

const LOST = 'without it cloud-init reads nothing of the card';
const at = (path: string, text: string, line = 1, column = 1): FileMistake => ({ path, line, column, text });

const CHECKS: Record<BootFile, (path: string, text: string) => FileMistake[]> = {
  'pi-swarm.yaml': (path, text) => {
    const file = parseYaml(path, text);
    return file.mistakes.length > 0 ? file.mistakes : mistakesIn(file);
  },
  'user-data': userDataMistakes,
  'network-config': networkMistakes,
  'meta-data': (path, text) => {
    const { mistakes, top } = topOf(path, text);
    const id = top?.get('instance-id');
    return mistakes.length > 0 || id !== undefined ? mistakes : [at(path, `has no instance-id; ${LOST}`)];
  },
};

export function userDataMistakes(path: string, text: string): FileMistake[] {
  const ignored = 'cloud-init ignores the whole file';
  if (text.startsWith(BYTE_ORDER_MARK)) {
    return [
      at(
        path,
        `begins with an invisible byte order mark, expected #cloud-config; ${ignored}. Save it as UTF-8 without BOM`,
      ),
    ];
  }
  const [first = ''] = text.split(/\r?\n/, 1);
  if (OTHER_FORMATS.test(first)) return [];
  if (!/^#cloud-config\s*$/.test(first)) {
    const shown = first.trim() === '' ? 'empty' : 'something else';
    return [at(path, `the first line is ${shown}, expected #cloud-config; without it ${ignored}`)];
  }
  const { mistakes, top } = topOf(path, text);
  if (top === undefined) return mistakes;
  return [...unknownKeys(path, top, CLOUD_CONFIG_KEYS), ...hostnameMistakes(path, top), ...keyMistakes(path, top)];
}

function hostnameMistakes(path: string, top: Top): FileMistake[] {
  const hostname = top.get('hostname');
  if (hostname === undefined || (typeof hostname.value === 'string' && HOSTNAME.test(hostname.value))) return [];
  return [at(path, 'hostname is not a name of letters, digits and dashes, at most 63', hostname.line, hostname.column)];
}

/** A key that is cut short or wrapped lets nobody in. */
function keyMistakes(path: string, top: Top): FileMistake[] {
  const keys = top.get('ssh_authorized_keys');
  if (keys === undefined) return [];
  if (!Array.isArray(keys.value)) {
    return [
      at(path, 'ssh_authorized_keys is not a list; expected lines that begin with «- ssh-…»', keys.line, keys.column),
    ];
  }
  return keys.value.flatMap((key, index) =>
    typeof key === 'string' && SSH_KEY.test(key.trim())
      ? []
      : [at(path, `ssh_authorized_keys: number ${index + 1} is not a public key on one line`, keys.line, keys.column)],
  );
}

export function networkMistakes(path: string, text: string): FileMistake[] {
  const { mistakes, top } = topOf(path, text);
  if (top === undefined) return mistakes;
  const inner = top.get('network');
  if (inner !== undefined) return [];
  const version = top.get('version')?.value;
  if (version === 1) return [];
  if (version !== 2)
    return [at(path, 'version is missing or neither 1 nor 2; expected `version: 2`, Netplan’s format')];
  return unknownKeys(path, top, NETWORK_KEYS);
}

function unknownKeys(path: string, top: Top, known: readonly string[]): FileMistake[] {
  return [...top].flatMap(([key, { keyLine, keyColumn }]) => {
    if (known.includes(key)) return [];
    const hint = nearest(key, known);
    const advice = hint === undefined ? 'it is ignored' : `did you mean ${hint}?`;
    return [at(path, `${key} is not a setting of this file; ${advice}`, keyLine, keyColumn)];
  });
}

interface Entry {
  value: unknown;
  line: number;
  column: number;
  keyLine: number;
  keyColumn: number;
}
type Top = Map<string, Entry>;

/** The settings of the first level; a file with nothing but comments has none. */
function topOf(path: string, text: string): { mistakes: FileMistake[]; top?: Top } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' });
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  if (document.errors.length > 0) {
    // Only what parseYaml says: the parser's own words quote the file, which may hold a password.
    const said = parseYaml(path, text).mistakes;
    // Those after the first are most often its consequences.
    return { mistakes: said.length > 0 ? said.slice(0, 1) : [at(path, 'not valid YAML')] };
  }
  const { contents } = document;
  if (contents === null) return { mistakes: [], top: new Map() };
  if (!isMap(contents))
    return { mistakes: [at(path, 'is not a block of settings; expected lines such as `hostname: pi1`')] };
  const top: Top = new Map();
  for (const { key, value } of contents.items) {
    const name = isScalar(key) ? String(key.value) : String(key);
    const { line: keyLine, column: keyColumn } = place(rangeOf(key));
    const { line, column } = place(rangeOf(value) || rangeOf(key));
    const plain = isScalar(value) ? value.value : isSeq(value) ? value.toJS(document, { maxAliasCount: 20 }) : value;
    top.set(name, { value: plain ?? undefined, line, column, keyLine, keyColumn });
  }
  return { mistakes: [], top };
}

const rangeOf = (node: unknown): number => {
  const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
  return Array.isArray(range) && typeof range[0] === 'number' ? range[0] : 0;
};
