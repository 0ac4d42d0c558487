/** Commands that need a swarm with a leader: while it forms, or elects one (up to 20 s), they wait instead of giving up. */
import { callAgent, fetchSnapshot } from '../control/client.ts';
import { JUST_STARTED } from '../control/wire.ts';
import type { Snapshot } from '../core/snapshot.ts';
import { isPiSwarmError } from '../errors.ts';
import { note } from './output.ts';

export interface AskOptions {
  /** Until when it is tried again. */
  limitMs: number;
  /** Of one call. */
  callMs?: number;
}

const AGAIN_MS = 1_000;

/** Only for what may safely be asked twice. @throws as `callAgent`; in the end what the last call threw */
export async function askLeader(socket: string, name: string, body: unknown, options: AskOptions): Promise<unknown> {
  const { limitMs, callMs } = options;
  const started = performance.now();
  let said: string | undefined;
  for (;;) {
    try {
      return await callAgent(socket, name, body, callMs === undefined ? {} : { timeoutMs: callMs });
    } catch (error) {
      const passing = isPiSwarmError(error) && (error.code === 'unavailable' || error.code === 'timeout');
      if (!passing || performance.now() - started + AGAIN_MS > limitMs) throw error;
      const waitsFor = await whatPasses(socket);
      if (waitsFor === undefined) throw error;
      if (waitsFor !== said) note(waitsFor);
      said = waitsFor;
      await new Promise(resolve => setTimeout(resolve, AGAIN_MS));
    }
  }
}

/** What is to be waited for, as a line for the person who does. Undefined: it needs a person. */
async function whatPasses(socket: string): Promise<string | undefined> {
  try {
    return lineOf(await fetchSnapshot(socket));
  } catch (error) {
    const passes = isPiSwarmError(error) && error.message === JUST_STARTED;
    return passes ? `${JUST_STARTED}: waiting for it …` : undefined;
  }
}

function lineOf({ self, doing }: Snapshot): string | undefined {
  if (!self.claimed || self.intent !== 'stay') return undefined;
  if (self.engine.state === 'slow') return 'the Docker Engine of this Pi is slow to answer: waiting for it …';
  if (self.engine.state !== 'ready') return undefined;
  switch (self.swarm.state) {
    case 'active':
      return 'no manager answers: waiting for the swarm to choose a leader …';
    case 'none':
    case 'pending':
      return `the swarm is still forming: waiting for it (${doing.replace(/^wait: /, '')}) …`;
    default:
      return undefined;
  }
}
