/** Steps that fail: who has to wait for them, and who has not. */
import { describe, expect, it } from 'vitest';
import { type Decision, type Step, sentence } from '../src/core/step.ts';
import { StepRunner } from '../src/step-runner.ts';

const end = (service: string): Step => ({ action: 'end-move', service, serviceName: service });
const pause = (name: string): Step => ({ action: 'pause', node: name, name, labels: {} });
const leave: Step[] = [
  { action: 'leave', force: false },
  { action: 'intend', intent: 'left' },
];
const decided = (...steps: Step[]): Decision => ({ rule: 'T', why: 'a test', steps });

class Bench {
  readonly runner = new StepRunner();
  nowMs = 0;
  done: string[] = [];
  refused = new Set<string>();

  run(...steps: Step[]): Promise<number> {
    return this.runner.run(decided(...steps), new AbortController().signal, {
      now: () => this.nowMs,
      execute: async step => {
        if (this.refused.has(sentence(step))) throw new Error('refused');
      },
      done: (step, _ms, error) => void (error === undefined && this.done.push(sentence(step))),
    });
  }
}

describe('a step that fails', () => {
  it('keeps no other service and no node waiting', async () => {
    const bench = new Bench();
    bench.refused.add('end the move of web');
    expect(await bench.run(end('web'), end('shop'), pause('pi2'))).toBe(0);
    expect(bench.done).toEqual(['end the move of shop', 'pause pi2']);
  });

  it('has its target left alone, longer each time and at most 15 s, until it works', async () => {
    const bench = new Bench();
    bench.refused.add('end the move of web');
    const waits: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      await bench.run(end('web'));
      waits.push((bench.runner.failing(bench.nowMs)['web'] ?? 0) - bench.nowMs);
      bench.nowMs += 60_000;
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
    expect(bench.runner.failing(bench.nowMs)).toEqual({});
    bench.refused.clear();
    await bench.run(end('web'));
    bench.refused.add('end the move of web');
    await bench.run(end('web'));
    expect(bench.runner.failing(bench.nowMs)).toEqual({ web: bench.nowMs + 500 });
  });

  it('is not called a failure when it was the agent that was told to stop', async () => {
    const stop = new AbortController();
    const said: unknown[] = [];
    await new StepRunner().run(decided(end('web')), stop.signal, {
      now: () => 0,
      execute: async () => {
        stop.abort();
        throw new Error('aborted');
      },
      done: (_step, _ms, error) => void said.push(error),
    });
    expect(said).toEqual([]);
  });

  it('ends the turn where the next one builds on it', async () => {
    const bench = new Bench();
    bench.refused.add('leave the swarm');
    expect(await bench.run(...leave)).toBe(1);
    expect(await bench.run(...leave)).toBe(2);
    expect(bench.done).toEqual([]);
  });

  it('is counted for a bounded number of targets', async () => {
    const bench = new Bench();
    for (let number = 0; number < 1_000; number++) {
      bench.refused.add(`end the move of web${number}`);
      await bench.run(end(`web${number}`));
    }
    expect(Object.keys(bench.runner.failing(bench.nowMs))).toHaveLength(256);
  });
});
