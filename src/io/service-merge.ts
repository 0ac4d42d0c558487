/** Taking back what we wrote into a part of a spec, and only that: what somebody else changed since then stays. Pure. */

/**
 * @param before as it was before we wrote, undefined where there was nothing
 * @param wrote what we put in its place, whole
 * @param now as the engine gives it; it adds its defaults (`MaxFailureRatio: 0`, `Constraints: null`)
 * @returns `before` itself where nobody else has written
 */
export function withoutOurs<T extends object>(before: T | undefined, wrote: T, now: T | undefined): T | undefined {
  const [b, w, n] = [fields(before), fields(wrote), fields(now)];
  if ([...Object.keys(w), ...Object.keys(n)].every(key => same(n[key], w[key]))) return before;
  const keys = new Set([...Object.keys(b), ...Object.keys(n)]);
  const merged = [...keys].map((key): [string, unknown] => {
    if (same(n[key], w[key])) return [key, b[key]];
    return [key, Array.isArray(n[key]) ? listWithoutOurs(b[key], w[key], n[key]) : n[key]];
  });
  return Object.fromEntries(merged.filter(([, value]) => value !== undefined)) as T;
}

function listWithoutOurs(before: unknown, wrote: unknown, now: unknown[]): unknown[] {
  const ours = listOf(wrote).filter(one => !listOf(before).includes(one));
  return now.filter(one => !ours.includes(one));
}

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const fields = (value: object | undefined): Record<string, unknown> => ({ ...value });

const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** Equal as JSON, in any order of keys, and «nothing» is equal in all its forms: absent, null, 0, '', [] and {}. */
const same = (a: unknown, b: unknown): boolean => JSON.stringify(plain(a)) === JSON.stringify(plain(b));

function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map(one => plain(one) ?? null);
  if (!isObject(value)) return value === null || value === 0 || value === '' || value === false ? undefined : value;
  const entries = Object.entries(value).flatMap(([key, one]) => {
    const kept = plain(one);
    return kept === undefined ? [] : [[key, kept] as const];
  });
  if (entries.length === 0) return undefined;
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
