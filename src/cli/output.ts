/** Everything that the commands write to the terminal goes through here. */
import util from 'node:util';
import { EXIT, isPiSwarmError, messageOf } from '../errors.ts';

export type Paint = (style: Style, text: string) => string;
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

const PLAIN: Paint = (_style, text) => text;
// The stream was judged already; Node would judge stdout, also for a text that goes to stderr.
// The first releases of Node 20 have no styleText: no colours there.
const COLOURED: Paint = (style, text) => util.styleText?.(style, text, { validateStream: false }) ?? text;

/** Colours only on a terminal, and not where NO_COLOR is set (https://no-color.org). */
export function paintFor(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): Paint {
  const wanted = stream.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  return wanted ? COLOURED : PLAIN;
}

export const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** For people who watch: never part of what a program reads from stdout. */
export const note = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

export const sayJson = (value: unknown): void => say(JSON.stringify(value, null, 2));

/** Prints the error with its cure (a bug with its stack) on stderr and sets the exit code. */
export function reportError(error: unknown, debug: boolean): void {
  const paint = paintFor(process.stderr);
  const name = paint('red', 'pi-swarm:');
  if (!isPiSwarmError(error)) {
    const stack = error instanceof Error ? (error.stack ?? messageOf(error)) : messageOf(error);
    note(`${name} this is a bug in pi-swarm; please report it with the lines below.\n${stack}`);
    process.exitCode = EXIT.failure;
    return;
  }
  note(`${name} ${error.message}`);
  if (error.cure !== undefined) note(error.cure);
  if (debug) note(paint('dim', stackOf(error)));
  process.exitCode = EXIT[error.code];
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by: ${stackOf(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}

/** How wide a text stands on a terminal, without colours. Close enough: names and images hold no wide characters. */
export const widthOf = (text: string): number => [...stripColours(text)].length;

// biome would rather have no control characters in patterns; this one is what a colour is.
const COLOUR = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');
export const stripColours = (text: string): string => text.replace(COLOUR, '');

/** Cuts a plain text to `width` characters, with `…` where something is missing. */
export function cut(text: string, width: number): string {
  const letters = [...text];
  return letters.length <= width ? text : `${letters.slice(0, Math.max(0, width - 1)).join('')}…`;
}

/** Columns as wide as their widest cell, two spaces between, the last one not padded. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, index) => {
      widths[index] = Math.max(widths[index] ?? 0, widthOf(cell));
    });
  }
  return rows.map(row =>
    row
      .map((cell, index) => cell + ' '.repeat((widths[index] ?? 0) - widthOf(cell)))
      .join('  ')
      .trimEnd(),
  );
}

/** Breaks a text between words; lines after the first begin with `indent`. */
export function wrap(text: string, width: number, indent = ''): string[] {
  const lines: string[] = [];
  for (const part of text.split('\n')) {
    let line = lines.length === 0 ? '' : indent;
    let empty = true;
    for (const word of part.split(' ')) {
      if (!empty && widthOf(line) + 1 + widthOf(word) > width) {
        lines.push(line);
        line = indent;
        empty = true;
      }
      line += empty ? word : ` ${word}`;
      empty = false;
    }
    lines.push(line);
  }
  return lines;
}
