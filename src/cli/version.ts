/** `pi-swarm version` */
import type { Command } from 'commander';
import { BUILT_MS, VERSION } from '../version.ts';
import { type CommonOptions, readingCommand } from './options.ts';
import { say, sayJson } from './output.ts';

export function versionCommand(): Command {
  return readingCommand('version', ['pi-swarm version --json']).action((_options, command: Command) => {
    const { json } = command.optsWithGlobals<CommonOptions>();
    if (json) sayJson({ version: VERSION, built: BUILT_MS === 0 ? null : new Date(BUILT_MS).toISOString() });
    else say(VERSION);
  });
}
