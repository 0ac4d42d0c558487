/** Waiting with a limit, and progress for the person who watches: on stderr, one line when something changes. */
import { isPiSwarmError, TimeoutError, UsageError } from '../errors.ts';
import { note } from './output.ts';

export interface WaitOptions<T> {
  /** For the message when it does not finish: `whoami to run`. */
  what: string;
  limitMs: number;
  /** Asked again and again. */
  look(): Promise<T>;
  done(seen: T): boolean;
  /** One line; printed when it differs from the last one. Empty: nothing. */
  progress(seen: T): string;
  /** Added to the message at the limit. */
  why?(seen: T | undefined): string | undefined;
  cure: string;
  everyMs?: number;
}

/** @throws TimeoutError at the limit, and whatever `look` throws */
export async function waitFor<T>(options: WaitOptions<T>): Promise<T> {
  const started = performance.now();
  const elapsed = () => performance.now() - started;
  let line = '';
  for (;;) {
    const seen = await options.look();
    const text = options.progress(seen);
    if (text !== '' && text !== line) note(`${(elapsed() / 1000).toFixed(1).padStart(5)} s  ${text}`);
    line = text;
    if (options.done(seen)) return seen;
    if (elapsed() >= options.limitMs) {
      const why = options.why?.(seen);
      const reason = why === undefined ? '' : `: ${why}`;
      throw new TimeoutError(
        `waited ${Math.round(options.limitMs / 1000)} s for ${options.what}${reason}`,
        options.cure,
      );
    }
    await new Promise(resolve => setTimeout(resolve, options.everyMs ?? 300));
  }
}

/** A manager may be lost while we wait, that is what clusters are for: then what was seen last counts, until the limit. */
export function passing<T>(look: () => Promise<T>): () => Promise<T> {
  let last: { seen: T } | undefined;
  return async () => {
    try {
      last = { seen: await look() };
    } catch (error) {
      const passes = isPiSwarmError(error) && (error.code === 'unavailable' || error.code === 'timeout');
      if (!passes || last === undefined) throw error;
    }
    return last.seen;
  };
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000 };

/** `90`, `90s`, `2m`, `500ms` → milliseconds, at most an hour. @throws UsageError */
export function limitMsOf(text: string): number {
  const [, digits = '', unit = 's'] = /^(\d{1,7})(ms|s|m)?$/.exec(text.trim()) ?? [];
  const ms = Number(digits) * (UNIT_MS[unit] ?? 1000);
  if (digits === '' || ms < 1 || ms > 3_600_000) {
    throw new UsageError(`--timeout ${text} is not a time`, 'Write seconds, or a number with its unit: 90, 90s, 2m.');
  }
  return ms;
}
