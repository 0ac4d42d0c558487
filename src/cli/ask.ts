/** Commands that need a swarm with a leader: while one is being elected (up to 20 s) they wait instead of giving up. */
import { callAgent, fetchSnapshot } from '../control/client.ts';
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
  for (let attempt = 1; ; attempt++) {
    try {
      return await callAgent(socket, name, body, callMs === undefined ? {} : { timeoutMs: callMs });
    } catch (error) {
      const passing = isPiSwarmError(error) && (error.code === 'unavailable' || error.code === 'timeout');
      if (!passing || performance.now() - started + AGAIN_MS > limitMs || !(await isLeaderless(socket))) throw error;
      if (attempt === 1) note('no manager answers: waiting for the swarm to choose a leader …');
      await new Promise(resolve => setTimeout(resolve, AGAIN_MS));
    }
  }
}

/** In a swarm with a working engine, and still nobody could do it: that passes. Everything else needs a person. */
async function isLeaderless(socket: string): Promise<boolean> {
  const snapshot = await fetchSnapshot(socket).catch(() => undefined);
  return snapshot?.self.swarm.state === 'active' && snapshot.self.engine.state === 'ready';
}
