/** What the commands share: their common options and the way to the agent. */
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import type { Config } from '../config.ts';
import { DEFAULT_SOCKET } from '../control/wire.ts';
import { UsageError } from '../errors.ts';
import { withExamples } from './help.ts';

export interface CommonOptions {
  socket?: string;
  config?: string;
  json?: boolean;
  debug?: boolean;
}

/** A command that prints something to read: it has `--json`. */
export function readingCommand(name: string, examples: readonly string[]): Command {
  return withExamples(new Command(name).option('--json', 'print JSON instead, for programs'), examples);
}

/** The configuration as this command line asks for it. @throws ConfigError, EnvironmentError, UsageError */
export async function configOf(options: CommonOptions): Promise<Config> {
  const { loadConfig } = await import('../config.ts');
  const path = options.config ?? process.env['PI_SWARM_CONFIG'];
  if (path === undefined || path === '') return loadConfig();
  if (!existsSync(path)) throw new UsageError(`there is no file ${path}`, 'Give the path of a file with --config.');
  return loadConfig({ paths: [path] });
}

/** Where the agent listens. Reads the configuration only where it must: that takes half a second on an old Pi. */
export async function socketOf(options: CommonOptions): Promise<string> {
  const given = options.socket ?? process.env['PI_SWARM_SOCKET'];
  if (given !== undefined && given !== '') return given;
  const named = options.config ?? process.env['PI_SWARM_CONFIG'];
  if ((named === undefined || named === '') && existsSync(DEFAULT_SOCKET)) return DEFAULT_SOCKET;
  return (await configOf(options)).socket;
}
