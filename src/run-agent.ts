/** Runs the agent in the foreground, and ends it in order. */
import { Agent } from './agent.ts';
import type { Config } from './config.ts';
import { createLogger } from './log.ts';

/**
 * Runs until SIGTERM or SIGINT. When the whole Pi shuts down it first lets its work move (L1), bounded by `drainTimeout`.
 * @throws PiSwarmError when it cannot start: state directory, key or secret unreadable, socket in use
 */
export async function runAgent(config: Config): Promise<void> {
  const log = createLogger({ level: config.log.level, name: config.name });
  const stop = new AbortController();
  const agent = await Agent.create(config, log);
  const onSignal = (signal: NodeJS.Signals): void => {
    void agent.askToStop(signal, () => stop.abort());
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  try {
    await agent.run(stop.signal);
  } finally {
    await agent.close();
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
  }
}
