/** How far it is: one line that changes on a terminal, a line for each tenth elsewhere. */

/** A step is shown for the first time after so long, so that quick ones show nothing. */
const QUIET_MS = 500;
const REDRAW_MS = 250;
/** The rate of the last so many ms: a card that gets slower says so, and one slow block does not. */
const RATE_OVER_MS = 10_000;

export interface ProgressOutput {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

export class Progress {
  readonly #title: string;
  #total: number | undefined;
  readonly #out: ProgressOutput;
  readonly #now: () => number;
  readonly #began: number;
  readonly #past: { at: number; bytes: number }[] = [];
  #drawnAt = Number.NEGATIVE_INFINITY;
  #tenths = 0;
  #drawn = false;

  /** @param total bytes; undefined while nobody knows */
  constructor(
    title: string,
    total: number | undefined,
    out: ProgressOutput = process.stderr,
    now = () => performance.now(),
  ) {
    this.#title = title;
    this.#total = total;
    this.#out = out;
    this.#now = now;
    this.#began = now();
  }

  set total(bytes: number) {
    this.#total = bytes;
  }

  /** `bytes` done so far. */
  at(bytes: number): void {
    const now = this.#now();
    this.#past.push({ at: now, bytes });
    while (this.#past.length > 2 && (this.#past[0]?.at ?? 0) < now - RATE_OVER_MS) this.#past.shift();
    if (now - this.#began < QUIET_MS || now - this.#drawnAt < REDRAW_MS) return;
    if (this.#out.isTTY) this.#redraw(bytes);
    else this.#line(bytes);
    this.#drawnAt = now;
  }

  /** Ends the line. @param words what came of it, such as `written` */
  done(bytes: number, words: string): void {
    const seconds = (this.#now() - this.#began) / 1000;
    const rate = seconds > 0.1 ? ` in ${timeText(seconds)}, ${rateText(bytes / seconds)}` : '';
    this.#clear();
    this.#out.write(`${words}: ${bytesText(bytes)}${rate}\n`);
  }

  /** Takes the line away: something else is said. */
  clear(): void {
    this.#clear();
  }

  #redraw(bytes: number): void {
    this.#clear();
    this.#out.write(this.#text(bytes).slice(0, (this.#out.columns || 80) - 1));
    this.#drawn = true;
  }

  #line(bytes: number): void {
    const tenths = this.#total === undefined ? Math.floor(bytes / 100e6) : Math.floor((bytes * 10) / this.#total);
    if (tenths <= this.#tenths) return;
    this.#tenths = tenths;
    this.#out.write(`${this.#text(bytes)}\n`);
  }

  #clear(): void {
    // Back to the line's beginning, and erase to its end (ECMA-48: EL).
    if (this.#drawn) this.#out.write('\r\u001b[K');
    this.#drawn = false;
  }

  #text(bytes: number): string {
    const first = this.#past[0];
    const last = this.#past.at(-1);
    const passed = first === undefined || last === undefined ? 0 : (last.at - first.at) / 1000;
    const rate = passed > 0 ? (bytes - (first?.bytes ?? 0)) / passed : 0;
    const parts = [this.#title];
    if (this.#total !== undefined) parts.push(`${Math.floor((bytes * 100) / this.#total)} %`.padStart(5));
    parts.push(this.#total === undefined ? bytesText(bytes) : `${bytesText(bytes)} of ${bytesText(this.#total)}`);
    if (rate > 0) parts.push(rateText(rate));
    if (rate > 0 && this.#total !== undefined) parts.push(`${timeText((this.#total - bytes) / rate)} left`);
    return parts.join('  ');
  }
}

const bytesText = (bytes: number): string =>
  bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;

const rateText = (bytesPerSecond: number): string =>
  bytesPerSecond < 1e6 ? `${Math.round(bytesPerSecond / 1e3)} kB/s` : `${Math.round(bytesPerSecond / 1e6)} MB/s`;

function timeText(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}
