/** How demo and bench look: stages with their times, a live line while something is waited for, tables. At most 100 columns. */
import { cut as cutPlain, paintFor, stripColours, table, widthOf } from '../src/cli/output.ts';
import { messageOf } from '../src/errors.ts';

const COLUMNS = 100;
const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/** Where there is no terminal: a line at most this often. */
const LINE_EVERY_MS = 2000;

export const paint = paintFor(process.stdout);
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

const stamp = (ms: number): string => paint('dim', seconds(ms).padStart(8));
const pad = (text: string, columns: number): string => text + ' '.repeat(Math.max(0, columns - widthOf(text)));
const cut = (text: string, columns: number): string =>
  widthOf(text) <= columns ? text : cutPlain(stripColours(text), columns);

/** What a stage may say while it runs: one line, replaced by the next. */
export type Progress = (text: string) => void;

export class Show {
  readonly times: { title: string; ms: number; note: string }[] = [];
  private readonly started = performance.now();
  /** The stage under way. */
  private stageNow: { title: string; live: LiveLine; brokenOff: boolean } | undefined;

  /** Milliseconds since the show began. */
  elapsed(): number {
    return performance.now() - this.started;
  }

  /** Milliseconds since the show began, of a moment of performance.now(). */
  timeOf(atMs: number): number {
    return atMs - this.started;
  }

  line(text = ''): void {
    process.stdout.write(`${cut(text, COLUMNS)}\n`);
  }

  /** What a person could have typed, and what came of it. */
  command(prompt: string, output: string): void {
    const bar = `          ${paint('dim', '│')} `;
    for (const line of [paint('cyan', prompt), ...output.trimEnd().split('\n')]) this.line(`${bar}${line}`.trimEnd());
  }

  /** Beneath a stage. */
  detail(text: string): void {
    this.line(`            ${text}`);
  }

  /**
   * Runs `work` with a live line, then says how long it took. `note`: what it found out, for the line and the summary.
   * `summary`: its line in the table of times. What `work` throws is shown and thrown on.
   */
  async stage<T>(
    title: string,
    work: (progress: Progress) => Promise<{ note?: string; value: T }>,
    summary?: string,
  ): Promise<T> {
    const began = performance.now();
    const live = new LiveLine(() => this.elapsed(), title);
    const stage = { title, live, brokenOff: false };
    this.stageNow = stage;
    try {
      const { note = '', value } = await work(text => live.say(text));
      if (stage.brokenOff) throw new Error(`${title}: broken off`);
      const ms = performance.now() - began;
      live.end();
      const left = `${stamp(this.elapsed())}  ${paint('green', '✔')} ${paint('bold', title)}${note === '' ? '' : `  ${note}`}`;
      const took = seconds(ms);
      this.line(`${pad(cut(left, COLUMNS - took.length - 2), COLUMNS - took.length)}${paint('bold', took)}`);
      if (summary !== undefined) this.times.push({ title: summary, ms, note });
      return value;
    } catch (error) {
      if (!stage.brokenOff) this.fail(stage, messageOf(error).split('\n')[0] ?? '');
      throw error;
    } finally {
      if (this.stageNow === stage) this.stageNow = undefined;
    }
  }

  /** Ends the stage under way, if there is one, with the reason; what it says later is not heard any more. */
  breakOff(reason: string): void {
    if (this.stageNow === undefined) return;
    this.stageNow.brokenOff = true;
    this.fail(this.stageNow, reason);
  }

  private fail({ title, live }: { title: string; live: LiveLine }, reason: string): void {
    live.end();
    this.line(`${stamp(this.elapsed())}  ${paint('red', '✘')} ${paint('bold', title)}  ${paint('red', reason)}`);
  }

  /** Columns of numbers (all cells begin with a digit or a dash) stand to the right. */
  table(head: string[], rows: string[][]): void {
    const right = head.map((_, column) => rows.every(row => /^[\d–-]/.test(stripColours(row[column] ?? '–'))));
    const widths = head.map((_, column) => Math.max(...[head, ...rows].map(row => widthOf(row[column] ?? ''))));
    const align = (cells: string[]) =>
      cells.map((cell, column) => (right[column] ? ' '.repeat((widths[column] ?? 0) - widthOf(cell)) + cell : cell));
    const ruler = widths.map(columns => '─'.repeat(columns));
    for (const [index, line] of table([align(head), ruler, ...rows.map(align)]).entries()) {
      this.line(`  ${index === 0 ? paint('bold', line) : index === 1 ? paint('dim', line) : line}`);
    }
  }
}

/** On a terminal one line that moves; elsewhere a line now and then, when there is something new to say. */
class LiveLine {
  private readonly began = performance.now();
  private readonly timer: NodeJS.Timeout | undefined;
  private text = '';
  private frame = 0;
  private lastLineMs = -Infinity;
  private ended = false;

  constructor(
    private readonly elapsed: () => number,
    private readonly title: string,
  ) {
    if (!process.stdout.isTTY) return;
    this.draw();
    this.timer = setInterval(() => this.draw(), 100);
  }

  say(text: string): void {
    if (text === this.text || this.ended) return;
    this.text = text;
    if (this.timer !== undefined || performance.now() - this.lastLineMs < LINE_EVERY_MS) return;
    this.lastLineMs = performance.now();
    process.stdout.write(`${cut(`${stamp(this.elapsed())}  · ${this.title}: ${text}`, COLUMNS)}\n`);
  }

  end(): void {
    this.ended = true;
    if (this.timer === undefined) return;
    clearInterval(this.timer);
    process.stdout.write('\r\x1b[K');
  }

  private draw(): void {
    this.frame = (this.frame + 1) % FRAMES.length;
    const took = paint('dim', seconds(performance.now() - this.began));
    const columns = Math.min(COLUMNS, process.stdout.columns || COLUMNS) - 1;
    const line = `${stamp(this.elapsed())}  ${paint('yellow', FRAMES[this.frame] ?? '·')} ${this.title}  ${took}  ${this.text}`;
    process.stdout.write(`\r\x1b[K${widthOf(line) > columns ? cut(line, columns) : line}`);
  }
}
