/** Services that exist are changed as Docker wants it: read, change, write with the version that was read. */
import type { ServiceMove } from '../core/world.ts';
import { RefusedError } from '../errors.ts';
import type { WireService, WireServiceSpec } from './engine-map.ts';
import { blocked, ended, scaled, started } from './service-move.ts';

/** One call to the swarm; `retry` runs a change again when somebody else wrote in between. */
export interface SwarmCalls {
  call<T>(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    what: string,
    more?: { query?: Record<string, string | number | boolean>; body?: object },
  ): Promise<T>;
  retry(change: () => Promise<void>): Promise<void>;
}

/** @param change the new spec, or undefined where it is right already */
async function changeService(
  calls: SwarmCalls,
  name: string,
  what: string,
  change: (spec: WireServiceSpec) => WireServiceSpec | undefined,
): Promise<void> {
  const path = `/services/${encodeURIComponent(name)}`;
  await calls.retry(async () => {
    const { ID, Version, Spec } = await calls.call<WireService>('GET', path, `find the service ${name}`);
    const body = change(Spec);
    if (body === undefined) return;
    await calls.call('POST', `/services/${ID}/update`, what, { query: { version: Version.Index }, body });
  });
}

export const scaleService = (calls: SwarmCalls, name: string, replicas: number): Promise<void> =>
  changeService(calls, name, `scale the service ${name}`, spec => {
    if (spec.Mode?.Replicated === undefined) {
      throw new RefusedError(
        `${name} runs once on every Pi (--global): there is nothing to scale.`,
        'Remove it and deploy it again with --replicas.',
      );
    }
    return scaled(spec, replicas);
  });

export const startMove = (
  calls: SwarmCalls,
  id: string,
  move: Pick<ServiceMove, 'from' | 'count' | 'why'>,
): Promise<void> => changeService(calls, id, 'start tasks elsewhere before others stop', spec => started(spec, move));

export const blockMove = (
  calls: SwarmCalls,
  id: string,
  empty: readonly string[],
  back?: readonly string[],
): Promise<void> => changeService(calls, id, 'mark the tasks that go', spec => blocked(spec, empty, back));

export const endMove = (calls: SwarmCalls, id: string): Promise<void> =>
  changeService(calls, id, 'end a move of tasks', ended);
