/** Requests from outside and the tasks' lives together, while something happens to a cluster. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { Load, type LoadOptions, type LoadResult } from '../../scripts/load.ts';
import { messageOf } from '../../src/errors.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { runningWhenEnded, type TaskLife, TaskWatch, type Watched } from './task-watch.ts';

/** What the outcome of a planned change has to be shown with. */
export const REQUESTS_MIN = 2_000;
/** Each answer of whoami is a process; what waits because all cores are busy with them is not lost. */
export const GENTLY = { ratePerSecond: 40, timeoutMs: 15_000 };
const STORY_BEFORE_MS = 3_000;
const STORY_LINES_MAX = 80;

export interface ServiceLoad extends Omit<LoadOptions, 'pis'> {
  service: string;
}

export interface Outcome {
  /** By service. */
  results: Record<string, LoadResult>;
  watched: Watched;
  /** What happened when, for whoever has to find out why a request failed. */
  story: string;
}

/** What a test does meanwhile may take a Pi's address out, as a router does. */
export interface Traffic {
  drop(pi: string): Promise<void>;
  add(pi: string): Promise<void>;
  note(text: string): void;
}

/** Loads each service while `work` goes on, and until the first has had 2,000 requests. */
export async function underLoad(
  lab: Lab,
  pis: readonly string[],
  services: readonly ServiceLoad[],
  work: (traffic: Traffic) => Promise<void>,
): Promise<Outcome> {
  const watch = new TaskWatch(lab);
  const loads: Load[] = [];
  const results: Record<string, LoadResult> = {};
  let asked = [...pis];
  const ask = async (now: string[]) => {
    asked = now;
    await Promise.all(loads.map(load => load.ask(asked)));
  };
  try {
    for (const { service: _, ...options } of services) {
      loads.push(await Load.start(lab, { ...GENTLY, ...options, pis }));
    }
    await loads[0]?.sent(100);
    await work({
      drop: pi => {
        watch.note(`${pi} is asked no more`);
        return ask(asked.filter(other => other !== pi));
      },
      add: pi => ask([...asked, pi]),
      note: text => watch.note(text),
    });
    await loads[0]?.sent(REQUESTS_MIN, 200_000);
    for (const [index, { service }] of services.entries()) {
      const result = await loads[index]?.stop();
      if (result !== undefined) results[service] = result;
    }
  } catch (error) {
    process.stderr.write(`\n--- what happened ---\n${storyOf(lab, results, await watch.stop())}\n`);
    throw error;
  } finally {
    for (const load of loads) load.kill();
    await watch.stop();
  }
  const watched = await watch.stop();
  return { results, watched, story: storyOf(lab, results, watched) };
}

/** No request failed, of enough; never did fewer run than wished; what stopped had its successors running. */
export function expectUnnoticed({ results, watched, story }: Outcome, wished: Record<string, number>): void {
  for (const [service, { failed, sent }] of Object.entries(results)) {
    expect(failed, `${failed} of ${sent} requests to ${service} failed:\n${story}`).toBe(0);
  }
  expect(Object.values(results)[0]?.ok).toBeGreaterThanOrEqual(REQUESTS_MIN);
  for (const [service, count] of Object.entries(wished)) {
    expect(watched.least[service], `replicas of ${service}\n${story}`).toBeGreaterThanOrEqual(count);
    for (const gone of endedOf(watched, service)) {
      const what = `tasks of ${service} that ran when ${gone.container} on ${gone.pi} ended\n${story}`;
      expect(runningWhenEnded(watched.tasks, gone), what).toBeGreaterThanOrEqual(count);
    }
  }
}

export const endedOf = ({ tasks }: Watched, service: string): TaskLife[] =>
  tasks.filter(task => task.service === service && task.endedMs !== undefined);

/** One line for each service, for the report. */
export const summaryOf = ({ results }: Outcome): string =>
  Object.entries(results)
    .map(
      ([
        service,
        {
          ok,
          failed,
          retried,
          latencyMs: { median, p99, worst },
        },
      ]) => {
        const again = retried === 0 ? '' : `, ${retried} sent again`;
        return `${service}: ${ok} ok, ${failed} failed${again}; ${median} ms median, ${p99} p99, ${worst} worst`;
      },
    )
    .join(' · ');

/** Failed requests, tasks' and services' changes and what the agents logged, in order of time; empty when none failed. */
function storyOf(lab: Lab, results: Record<string, LoadResult>, watched: Watched): string {
  const failures = Object.entries(results).flatMap(([service, result]) =>
    result.failures.map(({ atMs, tookMs, pi, reason }): [number, string] => [
      atMs,
      `FAILED ${service} at ${pi}: ${reason} after ${tookMs} ms`,
    ]),
  );
  const first = Math.min(...failures.map(([atMs]) => atMs), Number.POSITIVE_INFINITY);
  const begin = failures.length === 0 ? 0 : first - STORY_BEFORE_MS;
  const lines = [...failures.slice(0, 30), ...watched.story, ...lab.pis().flatMap(pi => agentLines(lab, pi))]
    .filter(([atMs]) => atMs >= begin)
    .sort(([a], [b]) => a - b);
  return (failures.length === 0 ? lines.slice(-STORY_LINES_MAX) : lines.slice(0, STORY_LINES_MAX))
    .map(([atMs, text]) => `${new Date(atMs).toISOString().slice(14, 23)} ${text}`)
    .join('\n');
}

/** Its log is one JSON object a line, `time` in ms since 1970 or as ISO 8601. */
function agentLines(lab: Lab, pi: string): [number, string][] {
  let text = '';
  try {
    text = readFileSync(lab.logFile(pi, 'agent'), 'utf8');
  } catch (error) {
    return [[Date.now(), `${pi} has no log: ${messageOf(error)}`]];
  }
  return text.split('\n').flatMap((line): [number, string][] => {
    if (!line.startsWith('{')) return [];
    try {
      const { time, level: _, pid: __, hostname: ___, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
      const atMs = typeof time === 'number' ? time : Date.parse(String(time));
      return [[atMs, `    ${pi} ${String(msg)} ${JSON.stringify(fields).slice(0, 160)}`]];
    } catch {
      return [];
    }
  });
}
