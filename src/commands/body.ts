/** Reads the body of a command; what comes over a socket is checked before it is believed. */
import * as z from 'zod';
import { UsageError } from '../errors.ts';

/** Docker's own rule for names of services (RFC 1123 label with dots and underscores). */
export const serviceName = z
  .string()
  .regex(/^[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?$/, 'letters, digits, dashes; at most 63');

/** More copies than any shelf of Pis can hold; a typo such as 50000 is caught. */
export const replicaCount = z.int().min(0, 'a number from 0 to 1000').max(1000, 'a number from 0 to 1000');

/** @throws UsageError that names the field and what was expected */
export function readBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue?.path.join('.') ?? '';
  throw new UsageError(`${where === '' ? 'the request' : where} is wrong: ${issue?.message ?? 'not understood'}`);
}
