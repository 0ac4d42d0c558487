/** `rebalance`: what would be moved to even out the load, and the wish to do it now. On the leader, which alone moves work. */
import * as z from 'zod';
import { hindrance } from '../core/hindrance.ts';
import type { World } from '../core/observe.ts';
import { byItselfInMs, leftAlone, planRebalance } from '../core/rebalance.ts';
import { steadiness } from '../core/steady.ts';
import { PiSwarmError } from '../errors.ts';
import { readBody } from './body.ts';
import type { CommandDeps, RebalanceReport } from './types.ts';

const body = z.strictObject({ dryRun: z.boolean().default(false) });

/**
 * Without `dryRun` the leader does it as soon as it is safe; the wish holds for a few seconds, so whoever waits asks again and again.
 * @returns RebalanceReport
 */
export async function rebalance(
  deps: Pick<CommandDeps, 'engine' | 'world' | 'askRebalance'>,
  question: unknown,
): Promise<RebalanceReport> {
  const { dryRun } = readBody(body, question);
  const seen = await lookNow(deps);
  if (!dryRun) deps.askRebalance();
  const names = new Map(seen.nodes.map(({ nodeId, hostname }) => [nodeId, hostname]));
  const waits = hindrance(seen, !dryRun);
  const inMs = seen.wish.rebalance && hindrance(seen, true) === undefined ? byItselfInMs(seen) : undefined;
  return {
    plan: planRebalance(seen, { asked: true }).map(({ serviceName, count, fromName, to }) => ({
      service: serviceName,
      count,
      from: fromName,
      to,
    })),
    moving: seen.services.flatMap(({ name, move }) =>
      move === undefined ? [] : [{ service: name, count: move.count, from: names.get(move.from) ?? move.from }],
    ),
    ...(waits === undefined ? {} : { waits }),
    ...(inMs === undefined ? {} : { byItselfInMs: inMs }),
    automatic: seen.wish.rebalance,
    leftAlone: leftAlone(seen),
  };
}

type Seen = World & Required<Pick<World, 'nodes' | 'services' | 'tasks'>>;

/**
 * The swarm as it is when somebody asks. What the last turn saw may be seconds old: right after `drain --undo` it would still say that
 * there is nothing to move.
 */
async function lookNow({ engine, world }: Pick<CommandDeps, 'engine' | 'world'>): Promise<Seen> {
  const last = world();
  if (last?.nodes === undefined || last.services === undefined || last.tasks === undefined) {
    throw new PiSwarmError('unavailable', 'the leader has not looked at the swarm yet', 'Try again in a moment.');
  }
  const [nodes, tasks] = await Promise.all([engine.nodes(), engine.tasks()]);
  const services = await engine.services({ tasks, nodes });
  const { steady: _, ...rest } = last;
  const now: Seen = { ...rest, nodes, services, tasks };
  const steady = steadiness(now, last);
  return steady === undefined ? now : { ...now, steady };
}
