/** What every measurement of the bench shares. */
import { formatSecret, generateSecret } from '../../src/io/secret.ts';
import { Lab, type UpOptions } from '../../src/lab/lab.ts';
import { until } from '../../src/lab/process.ts';

/** The lab of the bench; one at a time. */
export const LAB_NAME = 'bench';
const LOOK_EVERY_MS = 20;
const LIMIT_MS = 120_000;

/** One line of the table: ours beside what it is compared with, measured in the same run. */
export interface Row {
  what: string;
  unit: 's' | 'ms' | 'MB' | '%' | 'req.';
  /** Infinity: it did not happen within the limit. */
  ours: number[];
  reference: { what: string; values: number[] };
  /** What our median, or our worst, has to keep to, as it is written in the table; undefined: only for information. */
  target?: { text: string; of?: 'median' | 'worst'; keeps: (ours: number, reference: number) => boolean };
}

export interface BenchContext {
  /** Rounds of each measurement. */
  rounds: number;
  quick: boolean;
  signal: AbortSignal;
  progress: (text: string) => void;
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
};

/** Runs `work` on a fresh lab whose agents do not run yet, and takes the lab down whatever happens. */
export async function onFreshLab<T>(
  context: BenchContext,
  options: UpOptions,
  work: (lab: Lab, pis: string[]) => Promise<T>,
): Promise<T> {
  const lab = new Lab({ name: LAB_NAME });
  try {
    await lab.up({ secret: formatSecret(generateSecret()), agents: false, signal: context.signal, ...options });
    return await work(lab, lab.pis());
  } finally {
    await lab.down();
  }
}

/** Milliseconds from now until `fact` holds, looked at every 20 ms. @throws TimeoutError after two minutes */
export async function timeUntil(context: BenchContext, what: string, fact: () => Promise<boolean>): Promise<number> {
  const began = performance.now();
  await until(`Waited ${LIMIT_MS / 1000} s for ${what}.`, fact, {
    timeoutMs: LIMIT_MS,
    everyMs: LOOK_EVERY_MS,
    signal: context.signal,
  });
  return performance.now() - began;
}
