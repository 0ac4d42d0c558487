/** `events`: what happened to the cluster. Every Pi answers for itself, also when no leader can be reached. */
import * as z from 'zod';
import { EVENTS_MAX } from '../core/chronicle.ts';
import { readBody } from './body.ts';
import type { CommandDeps, EventList } from './types.ts';

const body = z.strictObject({
  agoMs: z.number().min(0).optional(),
  limit: z.int().min(1).max(EVENTS_MAX).optional(),
  after: z.int().min(0).optional(),
});

export async function listEvents({ events }: Pick<CommandDeps, 'events'>, question: unknown): Promise<EventList> {
  return events(readBody(body, question));
}
