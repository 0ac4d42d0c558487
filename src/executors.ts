/** How each step is done: one short executor an action. What may go wrong is thrown; the loop plans again. */
import { swarmLabels } from './core/formation.ts';
import type { Wish } from './core/observe.ts';
import { baseHeartbeatMs } from './core/patience.ts';
import type { Step } from './core/step.ts';
import type { Memory } from './core/world.ts';
import { EnvironmentError, PeerError } from './errors.ts';
import type { Engine, Peers } from './ports.ts';

export interface ExecutorPorts {
  engine: Engine;
  peers(): Peers;
  tag(): string;
  wish: Wish;
  /** IPv4 that the swarm shall use. */
  address(): string | undefined;
  remember(change: Partial<Memory>): Promise<void>;
  makeImage(image: string): Promise<void>;
  /** Gives the machine another name; ends with a new start of the agent. */
  rename(to: string): Promise<void>;
  /** The engine's state was changed by us: what was collected is stale. */
  stale(): void;
}

type Executors = {
  [A in Step['action']]: (step: Extract<Step, { action: A }>, signal: AbortSignal) => Promise<unknown>;
};

/** What a manager answers to `join-token`. */
interface Admission {
  token: string;
  managers: string[];
}

export function createExecutors(ports: ExecutorPorts): Executors {
  const { engine } = ports;
  const address = (): string => {
    const it = ports.address();
    if (it === undefined)
      throw new EnvironmentError('this Pi has no network address', 'Check the cable or the Wi-Fi settings.');
    return it;
  };
  return {
    init: () =>
      engine.swarmInit({
        advertiseAddress: address(),
        labels: swarmLabels(ports.tag()),
        dispatcherHeartbeatMs: baseHeartbeatMs(ports.wish.dispatcherHeartbeatMs, 1),
        nodeCertExpiryMs: ports.wish.nodeCertExpiryMs,
      }),
    join: async ({ via, name }, signal) => {
      const admission = admissionFrom(
        await ports.peers().request(via, 'join-token', {}, { timeoutMs: 10_000, signal }),
        name,
      );
      await engine.swarmJoin({ advertiseAddress: address(), ...admission });
    },
    abandon: () => engine.swarmLeave(true),
    leave: ({ force }) => engine.swarmLeave(force),
    // Another swarm, or none: giving way is over.
    remember: ({ swarmId, swarmNodeId }) => ports.remember({ swarmId, swarmNodeId, yieldingTo: undefined }),
    yield: ({ into }) => ports.remember({ yieldingTo: into }),
    intend: ({ intent }) => ports.remember({ intent }),
    tune: ({ dispatcherHeartbeatMs, nodeCertExpiryMs, labels }) =>
      engine.swarmTune({ dispatcherHeartbeatMs, nodeCertExpiryMs, labels }),
    label: ({ node, labels }) => engine.nodeUpdate(node, { labels }),
    drain: ({ node, labels }) => engine.nodeUpdate(node, { availability: 'drain', labels }),
    pause: ({ node, labels }) => engine.nodeUpdate(node, { availability: 'pause', labels }),
    move: ({ service, node, count, why }) => engine.serviceMoveStart(service, { from: node, count, why }),
    'block-move': ({ service, empty, back }) => engine.serviceMoveBlock(service, empty, back),
    'end-move': ({ service }) => engine.serviceMoveEnd(service),
    activate: ({ node, labels }) => engine.nodeUpdate(node, { availability: 'active', labels }),
    promote: ({ node }) => engine.nodeUpdate(node, { role: 'manager' }),
    demote: ({ node }) => engine.nodeUpdate(node, { role: 'worker' }),
    remove: ({ node, force }) => engine.nodeRemove(node, force),
    rename: async ({ from, to }) => {
      await ports.remember({ renamedFrom: from });
      await ports.rename(to);
    },
    'make-image': ({ image }) => ports.makeImage(image),
  };
}

/** Runs one step and marks what was collected as stale, also when it fails half-way. */
export function executorOf(ports: ExecutorPorts): (step: Step, signal: AbortSignal) => Promise<void> {
  const executors = createExecutors(ports);
  return async (step, signal) => {
    const run = executors[step.action] as (step: Step, signal: AbortSignal) => Promise<unknown>;
    try {
      await run(step, signal);
    } finally {
      ports.stale();
    }
  };
}

function admissionFrom(answer: unknown, name: string): Admission {
  const { token, managers } = (answer ?? {}) as Partial<Admission>;
  const valid = typeof token === 'string' && Array.isArray(managers) && managers.length > 0;
  if (valid && managers.every(manager => typeof manager === 'string')) return { token, managers };
  throw new PeerError(
    `${name} did not say how to join its swarm`,
    'Both Pis should run the same version: `pi-swarm version`.',
  );
}
