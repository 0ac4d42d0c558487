/**
 * Logs go to stdout, one JSON object a line (journald adds the rest): never through pino's transports, which need a
 * worker thread and a second file beside the bundle. On a terminal the same lines are written for eyes.
 */
import pino, { type DestinationStream, type Level, type LevelWithSilent, type Logger } from 'pino';
import { isPiSwarmError } from './errors.ts';
import { printable, printableLines } from './printable.ts';
import { redact } from './redact.ts';

export type { Logger } from 'pino';

export interface LogOptions {
  /** Default `info`. */
  level?: LevelWithSilent;
  /** The Pi's name, on every line: logs of several Pis end up side by side. */
  name?: string;
  /** Readable lines instead of JSON. Default: only when stdout is a terminal. */
  pretty?: boolean;
  /** Default: stdout, unbuffered, so that nothing is lost when the plug is pulled. */
  destination?: DestinationStream;
}

/** Everything that goes through it is free of secrets, wherever in the line they stood; see `redact`. */
export function createLogger(options: LogOptions = {}): Logger {
  const pretty = options.pretty ?? process.stdout.isTTY === true;
  return pino(
    {
      level: options.level ?? 'info',
      base: options.name === undefined ? {} : { pi: options.name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      serializers: { err: errorFields, error: errorFields, cause: errorFields },
      errorKey: 'error',
      // Deep or huge objects would make one line as long as the card is slow.
      depthLimit: 6,
      edgeLimit: 100,
      hooks: { streamWrite: pretty ? line => readable(redact(line)) : redact },
    },
    options.destination ?? pino.destination({ fd: 1, sync: true }),
  );
}

/** Errors meant for people without their stack; bugs with it. */
function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const cause = error.cause === undefined ? {} : { cause: errorFields(error.cause) };
  if (isPiSwarmError(error)) return { message: error.message, code: error.code, cure: error.cure, ...cause };
  const { code } = error as NodeJS.ErrnoException;
  return { type: error.name, message: error.message, code, stack: error.stack, ...cause };
}

export interface Decision {
  /** The rule of docs that spoke, e.g. `F2 init`. */
  rule: string;
  /** What will be done, or `wait`. */
  plan: string;
  why: string;
}

/** One line for each decision: what, and why. */
export function logDecision(log: Logger, { rule, plan, why }: Decision): void {
  log.info({ rule, plan, why }, `${plan}: ${why}`);
}

export interface StepResult {
  step: string;
  /** How long it took. */
  ms: number;
  ok: boolean;
  error?: unknown;
}

/** One line for each step: what, how long, and what went wrong. */
export function logStep(log: Logger, { step, ms, ok, error }: StepResult): void {
  const fields = { step, ms: Math.round(ms), ok };
  if (ok) log.info(fields, `${step}: done`);
  else log.warn({ ...fields, error }, `${step}: failed`);
}

const LABELS: Record<Level, string> = {
  trace: 'trace',
  debug: 'debug',
  info: 'info ',
  warn: 'warn ',
  error: 'ERROR',
  fatal: 'FATAL',
};

/** `12:34:56.789 info  message  key=value`, from a line of pino's. */
function readable(line: string): string {
  const { level, time, msg, error, cause, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const label = LABELS[level as Level] ?? String(level);
  const pairs = Object.entries(fields).map(
    ([key, value]) => `  ${key}=${typeof value === 'string' ? quoted(value) : JSON.stringify(value)}`,
  );
  const text = `${String(time).slice(11, 23)} ${label} ${printable(`${String(msg ?? '')}${pairs.join('')}`)}\n`;
  return text + [error, cause].map(inLines).join('');
}

const quoted = (value: string): string => (/^[\w./:@-]+$/.test(value) ? value : JSON.stringify(value));

/** An error below its line: the stack of a bug, else message and cure. */
function inLines(error: unknown): string {
  if (error === undefined) return '';
  if (typeof error !== 'object' || error === null) return `    ${String(error)}\n`;
  const { message, cure, stack, cause } = error as Record<string, unknown>;
  const lines = [stack ?? message, cure].filter(part => part !== undefined).join('\n');
  return `${printableLines(lines).replace(/^/gm, '    ')}\n${inLines(cause)}`;
}
