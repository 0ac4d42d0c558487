/** A Pi that comes and goes again and again is one event that grows, not a hundred that push all others out. Pure. */
import { type Scene, say } from './event-scene.ts';
import type { ToldPi } from './event-types.ts';
import { durationText } from './event-words.ts';

/** So many losses within this time are told one by one; with the next one it comes and goes. */
const LOSSES = 3;
const WITHIN_MS = 10 * 60_000;
/** Nothing new for so long: it is over, one way or the other. */
const CALM_MS = 60_000;
const LOSSES_MAX = 200;

const keyOf = ({ nodeId }: ToldPi): string => `flapping ${nodeId}`;

export const isRestless = ({ losses = [] }: ToldPi): boolean => losses.length > LOSSES;

/** It is lost. @returns whether that has been told by this */
export function toldAsRestless(scene: Scene, pi: ToldPi): boolean {
  const nowMs = scene.world.wallMs;
  const recent = isRestless(pi) ? pi.losses : pi.losses?.filter(atMs => Math.abs(nowMs - atMs) < WITHIN_MS);
  pi.losses = [...(recent ?? []), nowMs].slice(-LOSSES_MAX);
  if (!isRestless(pi)) return false;
  const { count, spanMs } = spanOf(pi);
  const text = `${pi.name} comes and goes: lost ${count} times in ${durationText(spanMs)}`;
  say(scene, pi, 'flapping', text, { key: keyOf(pi), open: true });
  return true;
}

/** @returns whether it has just come to rest */
export function cameToRest(scene: Scene, pi: ToldPi): boolean {
  const last = pi.losses?.at(-1) ?? 0;
  // A clock that went back must not leave it restless until that time comes again.
  if (!isRestless(pi) || Math.abs(scene.world.wallMs - last) < CALM_MS) return false;
  const { count, spanMs } = spanOf(pi);
  delete pi.losses;
  const text = `${pi.name} came and went: lost ${count} times in ${durationText(spanMs)}`;
  say(scene, pi, 'flapping', text, { key: keyOf(pi), durationMs: spanMs });
  return true;
}

function spanOf({ losses = [] }: ToldPi): { count: number; spanMs: number } {
  return { count: losses.length, spanMs: Math.max(0, (losses.at(-1) ?? 0) - (losses[0] ?? 0)) };
}
