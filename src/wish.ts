/** The part of the configuration that the rules read, and the two times that nobody needs to change. */
import type { Config } from './config.ts';
import type { Wish } from './core/observe.ts';

/** Beside a reachable manager, an engine that is still `pending` by then will not get further by itself. */
const STUCK_AFTER_MS = 30_000;
/** Longer than any election (10–19 s) and a restart of the managers' Pis. */
const ORPHAN_AFTER_MS = 60_000;

export function wishOf(config: Config): Wish {
  const { settleMs, settleAloneMs, managers, replaceAfterMs, forgetAfterMs, drainTimeoutMs } = config;
  const { dispatcherHeartbeatMs, nodeCertExpiryMs, rebalance, steadyForMs, rebalanceEveryMs, health } = config;
  return {
    settleMs,
    settleAloneMs,
    managers,
    replaceAfterMs,
    forgetAfterMs,
    drainTimeoutMs,
    rebalance,
    steadyForMs,
    rebalanceEveryMs,
    stuckAfterMs: STUCK_AFTER_MS,
    orphanAfterMs: ORPHAN_AFTER_MS,
    dispatcherHeartbeatMs,
    nodeCertExpiryMs,
    health,
  };
}
