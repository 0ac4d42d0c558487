/** Waits until a service runs, tells how far it is, and why it does not. */
import type { ServiceDetail } from '../commands/types.ts';
import { callAgent } from '../control/client.ts';
import { isPiSwarmError, PiSwarmError } from '../errors.ts';
import { note, say } from './output.ts';
import { whereText } from './services.ts';
import { waitFor } from './wait.ts';

/**
 * A task may fail once for a passing reason; when so many of each copy have failed and nothing runs, it will not cure
 * itself. The engine forgets old tasks, so the failures are counted as they are seen.
 */
const FAILURES_MAX = 3;
const COPIES_COUNTED = 3;

/** @throws PiSwarmError `unhealthy` when tasks keep failing, TimeoutError at the limit; both with the tasks' reason */
export async function waitUntilRuns(socket: string, name: string, limitMs: number): Promise<ServiceDetail> {
  const cure = `Watch it: pi-swarm services. Its output: docker service logs ${name} (on a manager). Give up: pi-swarm rm ${name}`;
  let before: Set<string> | undefined;
  const failed = new Set<string>();
  let last: ServiceDetail | undefined;
  let runsSinceMs: number | undefined;
  const service = await waitFor<ServiceDetail>({
    what: `${name} to run`,
    limitMs,
    cure,
    look: async () => {
      last = await look(socket, name, last);
      const ids = last.failures.map(({ task }) => task);
      before ??= new Set(ids);
      for (const id of ids) if (!before.has(id)) failed.add(id);
      const enough = FAILURES_MAX * Math.min(last.desired, COPIES_COUNTED);
      if (last.running === 0 && last.desired > 0 && failed.size >= enough) {
        throw new PiSwarmError('unhealthy', `${name} does not run: ${reasonOf(last)}`, cure);
      }
      return last;
    },
    done: seen => {
      if (!allRun(seen)) runsSinceMs = undefined;
      else runsSinceMs ??= performance.now();
      return runsSinceMs !== undefined && (isOpen(seen) || performance.now() - runsSinceMs > OPEN_LIMIT_MS);
    },
    progress: seen => progressOf(name, { ...seen, failures: seen.failures.filter(({ task }) => !before?.has(task)) }),
    why: seen => (seen === undefined || seen.failures.length === 0 ? undefined : reasonOf(seen)),
  });
  if (!isOpen(service)) {
    const { pis, of } = service.open ?? { pis: 0, of: 0 };
    note(`! its published ports answer on ${pis} of ${of} Pis only: \`pi-swarm doctor\` on each Pi says why`);
  }
  say(`${name} runs: ${service.running}/${service.desired} on ${whereText(service.where)}`);
  return service;
}

/** A Pi without a routing mesh never opens its ports: that is worth a warning, not worth waiting for. */
const OPEN_LIMIT_MS = 10_000;

const isOpen = ({ open }: ServiceDetail): boolean => open === undefined || open.pis >= open.of;

const allRun = ({ running, desired, where }: ServiceDetail): boolean =>
  running >= desired && Object.values(where).reduce((a, b) => a + b, 0) === desired;

function progressOf(name: string, seen: ServiceDetail): string {
  if (allRun(seen) && seen.open) {
    const { pis, of } = seen.open;
    // Those that ran before have answered all the time.
    return `${name}: ${isOpen(seen) ? 'published ports' : 'the new copies'} answer on ${pis} of ${of} Pis${isOpen(seen) ? '' : ' yet'}`;
  }
  return `${name}: ${seen.running} of ${seen.desired} run${seen.failures.length > 0 ? ` (${reasonOf(seen)})` : ''}`;
}

/** A manager may be lost while we wait: that is what clusters are for, so keep looking until the limit. */
async function look(socket: string, name: string, before: ServiceDetail | undefined): Promise<ServiceDetail> {
  try {
    return (await callAgent(socket, 'service', { name })) as ServiceDetail;
  } catch (error) {
    const passing = isPiSwarmError(error) && (error.code === 'unavailable' || error.code === 'timeout');
    if (passing && before !== undefined) return before;
    throw error;
  }
}

function reasonOf({ failures }: ServiceDetail): string {
  const latest = failures.at(-1);
  return latest === undefined ? 'no reason was given' : `${latest.pi}: ${latest.reason}`;
}
