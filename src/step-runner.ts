/** Carries out the steps of one decision, and remembers which nodes and services refuse to be changed. */
import { type Decision, type Step, sentences, targetOf } from './core/step.ts';

/** A change that fails is tried again at this pace, doubled each time up to the limit. */
export const RETRY_MS = { first: 500, most: 15_000 } as const;
/** So often in a row may one plan succeed before it is taken for one without effect (and writes to the SD card for nothing). */
const REPEATS_FREE = 3;
/** Targets that are remembered; the oldest is forgotten. */
const FAILING_MAX = 256;

export interface StepPorts {
  now(): number;
  /** Resolves when it is done; within a limit. @throws what went wrong */
  execute(step: Step): Promise<void>;
  done(step: Step, ms: number, error?: unknown): void;
}

interface Failing {
  count: number;
  untilMs: number;
}

export class StepRunner {
  #failures = { plan: '', count: 0 };
  /** The same steps, carried out again and again without being missed the next turn, have no effect. */
  #repeats = { plan: '', count: 0 };
  readonly #failing = new Map<string, Failing>();

  /** Nothing was to be done: what failed before is forgotten, except for what refused a change. */
  rest(): void {
    this.#failures = { plan: '', count: 0 };
    this.#repeats = { plan: '', count: 0 };
  }

  /** Targets that are left alone for a moment, with the time until when (monotonic ms). */
  failing(nowMs: number): Record<string, number> {
    return Object.fromEntries(
      [...this.#failing].filter(([, { untilMs }]) => nowMs < untilMs).map(([target, { untilMs }]) => [target, untilMs]),
    );
  }

  /**
   * The steps in order. One that fails ends the turn, unless it stands for itself: then the others are carried out, and its
   * target is left alone for a while. @returns how many times in a row this plan came to nothing; 0: it went well
   */
  async run(decision: Decision, signal: AbortSignal, ports: StepPorts): Promise<number> {
    const plan = sentences(decision).join('; ');
    let failed = false;
    for (const step of decision.steps) {
      if (signal.aborted) return 1;
      const target = targetOf(step);
      const startMs = ports.now();
      try {
        await ports.execute(step);
        if (target !== undefined) this.#failing.delete(target);
        ports.done(step, ports.now() - startMs);
      } catch (error) {
        // The agent is told to stop: whether the step came to something is seen at the next start.
        if (signal.aborted) return 1;
        ports.done(step, ports.now() - startMs, error);
        if (target === undefined) {
          this.#failures = { plan, count: this.#failures.plan === plan ? this.#failures.count + 1 : 1 };
          return this.#failures.count;
        }
        failed = true;
        this.#blame(target, ports.now());
      }
    }
    if (failed) return 0;
    if (this.#failures.plan === plan) this.#failures = { plan: '', count: 0 };
    this.#repeats = { plan, count: this.#repeats.plan === plan ? this.#repeats.count + 1 : 1 };
    return Math.max(0, this.#repeats.count - REPEATS_FREE);
  }

  #blame(target: string, nowMs: number): void {
    const count = (this.#failing.get(target)?.count ?? 0) + 1;
    this.#failing.delete(target);
    this.#failing.set(target, { count, untilMs: nowMs + Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** (count - 1)) });
    const [oldest] = this.#failing.keys();
    if (this.#failing.size > FAILING_MAX && oldest !== undefined) this.#failing.delete(oldest);
  }
}
