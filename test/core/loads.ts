/** Clusters of three Pis, pi1 leading, with work spread over them as each test wants it. */
import type { Facts } from '../../src/core/observe.ts';
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
