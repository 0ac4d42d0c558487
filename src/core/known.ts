/** What is not known, and what does not work just now: both are reasons to wait, never to act. */
import type { World } from './observe.ts';

/** Services and tasks could not be asked this turn. That nothing is listed then does not mean that nothing runs. */
export const isBlind = ({ services, tasks }: Pick<World, 'services' | 'tasks'>): boolean =>
  services === undefined || tasks === undefined;

/** A change of this node or service failed a moment ago: others have their turn meanwhile. */
export const isFailing = ({ failing, nowMs }: World, target: string): boolean =>
  nowMs < ((Object.hasOwn(failing ?? {}, target) ? failing?.[target] : undefined) ?? 0);
