/** How demo and bench look: stages with their times, a live line while something is waited for, tables. At most 100 columns. */
import { messageOf } from '../src/errors.ts';

const COLUMNS = 100;
const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/** Where there is no terminal: a line at most this often. */
const LINE_EVERY_MS = 2000;

const colourful = process.stdout.isTTY === true && process.env.NO_COLOR === undefined;
const paint = (code: string) => (text: string) => (colourful ? `\x1b[${code}m${text}\x1b[0m` : text);
export const bold = paint('1');
export const dim = paint('2');
export const green = paint('32');
export const red = paint('31');
export const yellow = paint('33');
export const cyan = paint('36');

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** Length on the screen: without colours. */
// biome's rule against control characters: an escape sequence begins with one.
const ESCAPE = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');
const width = (text: string): number => [...text.replace(ESCAPE, '')].length;
const pad = (text: string, columns: number): string => text + ' '.repeat(Math.max(0, columns - width(text)));

function cut(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  return `${[...text.replace(ESCAPE, '')].slice(0, columns - 1).join('')}…`;
}

/** What a stage may say while it runs: one line, replaced by the next. */
export type Progress = (text: string) => void;

export class Show {
  readonly times: { title: string; ms: number; note: string }[] = [];
  private readonly started = performance.now();

  /** Milliseconds since the show began. */
  elapsed(): number {
    return performance.now() - this.started;
  }

  line(text = ''): void {
    process.stdout.write(`${cut(text, COLUMNS)}\n`);
  }

  /** What a person could have typed, and what came of it. */
  command(prompt: string, output: string): void {
    this.line(`          ${dim('│')} ${cyan(prompt)}`);
    for (const line of output.trimEnd().split('\n')) this.line(`          ${dim('│')} ${line}`);
  }

  /** Beneath a stage. */
  detail(text: string): void {
    this.line(`            ${text}`);
  }

  /**
   * Runs `work` with a live line, then says how long it took. `note`: what it found out, for the line and the summary.
   * What `work` throws is shown and thrown on.
   */
  async stage<T>(
    title: string,
    work: (progress: Progress) => Promise<{ note?: string; value: T }>,
    options: { summary?: string } = {},
  ): Promise<T> {
    const began = performance.now();
    const at = dim(seconds(this.elapsed()).padStart(8));
    const live = new LiveLine(at, title);
    try {
      const { note = '', value } = await work(text => live.say(text));
      const ms = performance.now() - began;
      live.end();
      const left = `${at}  ${green('✔')} ${bold(title)}${note === '' ? '' : `  ${note}`}`;
      const took = seconds(ms);
      this.line(`${pad(cut(left, COLUMNS - took.length - 2), COLUMNS - took.length)}${bold(took)}`);
      if (options.summary !== undefined) this.times.push({ title: options.summary, ms, note });
      return value;
    } catch (error) {
      live.end();
      this.line(`${at}  ${red('✘')} ${bold(title)}  ${red(messageOf(error).split('\n')[0] ?? '')}`);
      throw error;
    }
  }

  /** Columns as wide as their widest cell; numbers (cells that begin with a digit) to the right. */
  table(head: string[], rows: string[][], indent = 2): void {
    const widths = head.map((title, column) => Math.max(width(title), ...rows.map(row => width(row[column] ?? ''))));
    const numeric = head.map((_, column) =>
      rows.every(row => /^[\d–-]/.test((row[column] ?? '–').replace(ESCAPE, ''))),
    );
    const draw = (cells: string[]) =>
      ' '.repeat(indent) +
      cells
        .map((cell, column) => {
          const columns = widths[column] ?? 0;
          return numeric[column] ? ' '.repeat(columns - width(cell)) + cell : pad(cell, columns);
        })
        .join('   ')
        .trimEnd();
    this.line(bold(draw(head)));
    this.line(dim(draw(widths.map(columns => '─'.repeat(columns)))));
    for (const row of rows) this.line(draw(row));
  }
}

/** On a terminal one line that moves; elsewhere a line now and then, when there is something new to say. */
class LiveLine {
  private readonly began = performance.now();
  private readonly timer: NodeJS.Timeout | undefined;
  private text = '';
  private frame = 0;
  private lastLineMs = -Infinity;

  constructor(
    private readonly at: string,
    private readonly title: string,
  ) {
    if (!process.stdout.isTTY) return;
    this.draw();
    this.timer = setInterval(() => this.draw(), 100);
  }

  say(text: string): void {
    if (text === this.text) return;
    this.text = text;
    if (this.timer !== undefined || performance.now() - this.lastLineMs < LINE_EVERY_MS) return;
    this.lastLineMs = performance.now();
    process.stdout.write(`${this.at}  · ${cut(`${this.title}: ${text}`, COLUMNS - 12)}\n`);
  }

  end(): void {
    if (this.timer === undefined) return;
    clearInterval(this.timer);
    process.stdout.write('\r\x1b[K');
  }

  private draw(): void {
    this.frame = (this.frame + 1) % FRAMES.length;
    const took = dim(seconds(performance.now() - this.began));
    const columns = Math.min(COLUMNS, process.stdout.columns || COLUMNS) - 1;
    const line = `${this.at}  ${yellow(FRAMES[this.frame] ?? '·')} ${this.title}  ${took}  ${this.text}`;
    process.stdout.write(`\r\x1b[K${width(line) > columns ? cut(line, columns) : line}`);
  }
}
