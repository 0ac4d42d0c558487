/** Changes single settings of a YAML text and leaves all the rest, comments included, as a person wrote it. */
import { type Document, parseDocument } from 'yaml';
import { parseYaml } from '../config-yaml.ts';
import { ConfigError } from '../errors.ts';

/** @param path what the text is called in messages. @throws ConfigError each mistake with line and column */
export function checkYaml(path: string, text: string): ReturnType<typeof parseYaml> {
  const parsed = parseYaml(path, text);
  if (parsed.mistakes.length === 0) return parsed;
  const lines = parsed.mistakes.map(({ line, column, text: found }) => `${path}:${line}:${column}: ${found}`);
  throw new ConfigError(lines.join('\n'), `Correct ${path}; nothing was written.`);
}

/** `change` may set what it likes; a text of comments only stays, and what is set comes after it. */
export function editYaml(text: string, change: (document: Document) => void): string {
  const document: Document = parseDocument(text);
  const empty = document.contents === null;
  // With nothing but comments the library would put them below what is set.
  const edited: Document = empty ? parseDocument('') : document;
  change(edited);
  const result = edited.toString({ lineWidth: 0 });
  return empty && text.trim() !== '' ? `${text.trimEnd()}\n${result}` : result;
}
