/** debian/copyright: ours, and the licences of everything that the bundle holds. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The part of esbuild's metafile that is read: https://esbuild.github.io/api/#metafile */
export interface Metafile {
  outputs: Record<string, { inputs: Record<string, { bytesInOutput: number }> }>;
}

/** What may be given away in a file of ours under Apache-2.0. Anything else stops the build: a person has to look at it. */
const ACCEPTED = new Set(['Apache-2.0', 'MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD']);
/** Where a package lets us choose. */
const CHOSEN: Record<string, string> = { '(BSD-3-Clause OR GPL-2.0)': 'BSD-3-Clause' };
const APACHE = 'The full text is in /usr/share/common-licenses/Apache-2.0 on Debian systems.';
/** https://spdx.org/licenses/ISC.html, for packages that name it and do not bring its text. */
const ISC = `Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted, provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.`;

interface Part {
  folder: string;
  name: string;
  version: string;
  licence: string;
  holders: string[];
  text: string;
}

/** Packages of which something is in the bundle, from the project's folder: `node_modules/zod`. */
export function bundledPackages(metafile: Metafile): string[] {
  const inputs = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.entries(inputs));
  const folders = inputs
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
    .map(([path]) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.[0])
    .filter(folder => folder !== undefined);
  return [...new Set(folders)].sort();
}

/**
 * Machine-readable: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
 * @throws Error naming packages whose licence nobody has looked at, or that bring no text for it
 */
export function copyrightFile(root: string, metafile: Metafile): string {
  const parts = bundledPackages(metafile).map(folder => readPart(root, folder));
  const texts = new Map<string, string>([['Apache-2.0', APACHE]]);
  const files = parts.map(({ folder, name, version, licence, holders, text }) => {
    const label = labelFor(licence, text, texts);
    return [
      `Files: ${folder}/*`,
      `Copyright: ${holders.join('\n           ')}`,
      `License: ${label}`,
      `Comment: ${name} ${version} is in /usr/lib/pi-swarm/pi-swarm.mjs.`,
    ].join('\n');
  });
  return `${[
    'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: pi-swarm\n' +
      'Comment: /usr/lib/pi-swarm/pi-swarm.mjs is one file, bundled from pi-swarm and from\n parts of the packages below node_modules/.',
    'Files: *\nCopyright: the pi-swarm contributors\nLicense: Apache-2.0',
    ...files,
    ...[...texts].map(([label, text]) => `License: ${label}\n${indented(text)}`),
  ].join('\n\n')}\n`;
}

function readPart(root: string, folder: string): Part {
  const { name, version, license, author } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
  const licence = CHOSEN[license] ?? license;
  if (!ACCEPTED.has(licence)) {
    throw new Error(
      `${name} is under ${JSON.stringify(license)}; look at it, then add it to scripts/package/licences.ts`,
    );
  }
  const file = readdirSync(join(root, folder)).find(entry => /^(licen[cs]e|copying)/i.test(entry));
  const text = file === undefined ? '' : readFileSync(join(root, folder, file), 'utf8').replace(/\r\n/g, '\n');
  const authorName = (typeof author === 'string' ? author : author?.name) || `the authors of ${name}`;
  const holders = holdersIn(text);
  return { folder, name, version, licence, holders: holders.length > 0 ? holders : [authorName], text };
}

/** Names and years, from the lines above the licence itself. */
const holdersIn = (text: string): string[] =>
  text
    .slice(0, beginOf(text))
    .split('\n')
    .map(line => line.replace(/^[\s#*]+/, '').trim())
    .filter(line => /^(portions )?copyright\b/i.test(line))
    .map(line =>
      line.replace(/^copyright:?\s*(\(c\)|©)?\s*/i, '').replace(/ under the .* included in this file\.$/, ''),
    );

/** Where the licence begins, after headings and the names of holders. */
function beginOf(text: string): number {
  const begin = text.search(/^[\s#*]*(Permission|Redistribution|Apache License)\b/m);
  return begin < 0 ? 0 : begin;
}

/** One paragraph for each text that differs: `MIT`, `MIT-2` … */
function labelFor(licence: string, text: string, texts: Map<string, string>): string {
  if (licence === 'Apache-2.0') {
    const also = text.search(/^Permission is hereby granted/m);
    return also < 0 ? licence : `${licence} and ${labelFor('MIT', text.slice(also), texts)}`;
  }
  const body = text === '' && licence === 'ISC' ? ISC : bodyOf(text);
  if (body === '') throw new Error(`a package under ${licence} brings no text of its licence`);
  const same = [...texts].find(([label, known]) => label.startsWith(licence) && words(known) === words(body));
  if (same !== undefined) return same[0];
  const number = [...texts.keys()].filter(label => label.startsWith(licence)).length + 1;
  const label = number === 1 ? licence : `${licence}-${number}`;
  texts.set(label, body);
  return label;
}

/** Of two licences to choose from, the first. */
const bodyOf = (text: string): string =>
  text
    .slice(beginOf(text))
    .replace(/\n-{20,}\n[\s\S]*GNU GENERAL PUBLIC LICENSE[\s\S]*$/, '')
    .trim();

const words = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z]+/g, ' ')
    .trim();

const indented = (text: string): string =>
  text
    .split('\n')
    .map(line => (line.trim() === '' ? ' .' : ` ${line.trimEnd()}`))
    .join('\n');
