/**
 * The one loop: collect → turn (pure) → run the steps → wait. Events only wake it; it plans from reality each time, so a
 * step that was cut short by a crash is simply planned again.
 */
import type { Facts, World } from './core/observe.ts';
import { type Decision, type Step, sentence, sentences } from './core/step.ts';
import { turn } from './core/turn.ts';
import type { PiStatus } from './core/world.ts';
import { messageOf } from './errors.ts';
import { type Logger, logDecision, logStep } from './log.ts';
import type { Clock } from './ports.ts';
import { RETRY_MS, StepRunner } from './step-runner.ts';

/** Events that come in a burst (a Pi boots, a service starts) cause one turn, not one each. */
const PACE_MS = 50;
/** While a swarm is being formed or left. */
const EAGER_MS = 250;
/** At rest: everything that matters also wakes the loop. */
const CALM_MS = 2_000;
/** No step takes longer than this; joins are the longest. */
const STEP_LIMIT_MS = 45_000;

export interface LoopLog {
  decision(decision: Decision): void;
  step(step: Step, ms: number, error?: unknown): void;
  trouble(what: string, error: unknown): void;
}

export interface LoopPorts {
  clock: Clock;
  collect(signal: AbortSignal): Promise<Facts>;
  /** Facts without events are looked at again after this long. */
  restMs?(): number;
  /** One executor for each action. */
  execute(step: Step, signal: AbortSignal): Promise<void>;
  /** After each turn: heartbeats, page, telemetry. Must not throw. */
  publish(world: World, decision: Decision, status: PiStatus): void;
  /** Each time the loop has come further: a turn, its facts, a step. Nothing between two of them lasts without a limit. */
  alive?(): void;
  log: LoopLog;
}

export class Loop {
  readonly #ports: LoopPorts;
  #world: World | undefined;
  #said = '';
  readonly #steps = new StepRunner();
  #wake: AbortController | undefined;
  #woken = false;

  constructor(ports: LoopPorts) {
    this.#ports = ports;
  }

  /** Something changed: the next turn comes as soon as the pace allows. */
  wake(): void {
    this.#woken = true;
    this.#wake?.abort();
  }

  /** Turns until `signal` aborts, or until a decision says that this Pi may stop. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const end = (): void => this.#wake?.abort();
    signal.addEventListener('abort', end);
    try {
      while (!signal.aborted) {
        this.#woken = false;
        this.#ports.alive?.();
        const waitMs = await this.#turnOnce(signal);
        if (waitMs === undefined) return;
        await this.#ports.clock.sleep(Math.min(waitMs, PACE_MS), signal);
        await this.#rest(waitMs - PACE_MS, signal);
      }
    } finally {
      signal.removeEventListener('abort', end);
    }
  }

  /** One turn; returns how long to wait, or undefined when there is nothing more to do. */
  async #turnOnce(signal: AbortSignal): Promise<number | undefined> {
    const { clock, log, publish } = this.#ports;
    let facts: Facts;
    try {
      facts = await unlessAborted(this.#ports.collect(signal), signal);
    } catch (error) {
      if (!signal.aborted) log.trouble('could not collect the facts', error);
      return CALM_MS;
    }
    this.#ports.alive?.();
    const { world, decision, status } = turn({ ...facts, failing: this.#steps.failing(clock.now()) }, this.#world);
    this.#world = world;
    try {
      publish(world, decision, status);
    } catch (error) {
      log.trouble('could not tell others what was decided', error);
    }
    this.#say(decision);
    if (decision.mayStop) return undefined;
    if (decision.steps.length === 0) {
      this.#steps.rest();
      const calm = world.swarm.state === 'active' && world.memory.intent === 'stay';
      return calm ? Math.min(CALM_MS, this.#ports.restMs?.() ?? CALM_MS) : EAGER_MS;
    }
    const tries = await this.#carryOut(decision, signal);
    if (tries < 1) return PACE_MS;
    const { first, most } = RETRY_MS;
    const backoffMs = Math.min(most, first * 2 ** Math.min(10, tries - 1));
    return backoffMs * (0.75 + clock.random() / 2);
  }

  #carryOut(decision: Decision, signal: AbortSignal): Promise<number> {
    const { clock, execute, log } = this.#ports;
    return this.#steps.run(decision, signal, {
      now: () => clock.now(),
      execute: step => {
        const limited = AbortSignal.any([signal, AbortSignal.timeout(STEP_LIMIT_MS)]);
        return unlessAborted(execute(step, limited), signal);
      },
      done: (step, ms, error) => {
        this.#ports.alive?.();
        log.step(step, ms, error);
      },
    });
  }

  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    if (ms <= 0 || this.#woken || signal.aborted) return;
    // Not AbortSignal.any(): each leaves 60 bytes behind in `signal`, which lives for months.
    this.#wake = new AbortController();
    await this.#ports.clock.sleep(ms, this.#wake.signal);
    this.#wake = undefined;
  }

  /** One line for each new decision, not one for each turn. */
  #say(decision: Decision): void {
    const text = `${decision.rule} ${sentences(decision).join('; ')}`;
    const steady = text.replace(/\d+ (ms|s)\b/g, '');
    if (steady === this.#said) return;
    this.#said = steady;
    this.#ports.log.decision(decision);
  }
}

/** A stop does not wait for an engine that hangs or a disk that is dying. @throws what aborted it */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
    // Whichever lost the race may still reject.
    aborted.catch(() => undefined);
    work.catch(() => undefined);
  }
}

/** One line for each decision (why) and each step (what, how long). */
export function loopLog(log: Logger): LoopLog {
  return {
    decision: ({ rule, steps, why }) =>
      logDecision(log, { rule, plan: steps.length > 0 ? steps.map(sentence).join('; ') : 'wait', why }),
    step: (step, ms, error) => logStep(log, { step: sentence(step), ms, ok: error === undefined, error }),
    trouble: (what, error) => log.warn({ error }, `${what}: ${messageOf(error)}`),
  };
}
