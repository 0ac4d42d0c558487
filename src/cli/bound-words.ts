/** What a Pi cannot give away, in words. */
import type { BoundReport } from '../commands/types.ts';

/** `pinned runs only on pi3 (node.hostname==pi3)` */
export function boundText({ service, constraints }: BoundReport['only'][number], pi: string): string {
  return `${service} runs only on ${pi}${constraints.length === 0 ? '' : ` (${constraints.join(', ')})`}`;
}

export const volumesText = (service: string, pi: string): string =>
  `${service} has its data on ${pi}: elsewhere it starts without it`;
