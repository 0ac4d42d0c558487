/** What `Lab.up` takes, for all Pis or for each. */
import type { PiOptions } from './disk.ts';

/** Waiting for engines. */
export interface WaitingOptions {
  /** One line per stage, for people. */
  onProgress?: (line: string) => void;
  signal?: AbortSignal;
  /** Default 60 s. */
  engineTimeoutMs?: number;
}

export interface UpOptions extends WaitingOptions, Omit<PiOptions, 'secret' | 'config' | 'agent' | 'init'> {
  /** How many; default 3. */
  pis?: number;
  /** One secret for all, or one per Pi (undefined: unclaimed). */
  secret?: string | ((pi: string) => string | undefined);
  /** Goes to /etc/pi-swarm/config.yaml, for all or per Pi. */
  config?: Record<string, unknown> | ((pi: string) => Record<string, unknown> | undefined);
  /** Whether agents start with their Pis, for all or per Pi; default true. `startAgent` starts one later. */
  agents?: boolean | ((pi: string) => boolean);
  /** First process, for all or per Pi. */
  init?: PiOptions['init'] | ((pi: string) => PiOptions['init']);
  /** Short for config `mqtt: { url }`. */
  mqtt?: string;
}

/** What one Pi gets of them. */
export function optionsFor(pi: string, options: UpOptions): PiOptions {
  const { secret, config, agents = true, mqtt, engine, engineArgs, agentEnv, bundle, init } = options;
  const own = typeof config === 'function' ? config(pi) : config;
  return {
    secret: typeof secret === 'function' ? secret(pi) : secret,
    config: mqtt === undefined ? own : { ...own, mqtt: { url: mqtt, ...(own?.['mqtt'] as object | undefined) } },
    agent: typeof agents === 'function' ? agents(pi) : agents,
    engine,
    engineArgs,
    agentEnv,
    bundle,
    init: typeof init === 'function' ? init(pi) : init,
  };
}
