/** Clusters of three Pis, pi1 leading, with work spread over them as each test wants it. */
import type { Facts, World } from '../../src/core/observe.ts';
import { turn } from '../../src/core/turn.ts';
import type { SwarmService, SwarmTask } from '../../src/core/world.ts';
import { WISH as BASE, leading, manager, node, nodeIdOf, service } from './build.ts';

export const WISH = { ...BASE, managers: 1 } as const;

/** `{ web: [4, 2, 0] }`: so many tasks of web on pi1, pi2 and pi3. */
export type Where = Record<string, number[]>;

export const tasksOf = (where: Where): SwarmTask[] =>
  Object.entries(where).flatMap(([name, counts]) =>
    counts
      .flatMap((count, index) => Array.from({ length: count }, () => nodeIdOf(`pi${index + 1}`)))
      .map((nodeId, index) => ({
        id: `${name}${index}`,
        serviceId: name,
        nodeId,
        slot: index + 1,
        state: 'running',
        desired: 'running',
      })),
  );

export function world(
  where: Where,
  services: Record<string, Partial<SwarmService>> = {},
  more: Partial<Facts> = {},
): Facts {
  const tasks = tasksOf(where);
  const all = Object.keys(where).map(name => {
    const replicas = tasks.filter(({ serviceId }) => serviceId === name).length;
    return { ...service(name), replicas, running: replicas, desired: replicas, ...services[name] };
  });
  return leading([manager('pi1'), node('pi2'), node('pi3')], { tasks, services: all, wish: WISH, ...more });
}

/** Turns one after the other; each fact as it is from then on. @returns the last plan */
export function story(...scenes: [number, Facts][]): World & { plan: string[] } {
  let before: World | undefined;
  let last: string[] = [];
  let nowMs = 100_000;
  for (const [ms, facts] of scenes) {
    nowMs += ms;
    const { world: seen, decision } = turn({ ...facts, nowMs }, before);
    before = seen;
    last = decision.steps.map(step => step.action);
  }
  if (before === undefined) throw new Error('no scenes');
  return { ...before, plan: last };
}
