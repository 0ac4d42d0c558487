/** Two Pis of one name: the second takes another one, before it is in a swarm and everybody knows it by the first. Pure. */
import { visiblePeers, type World } from './observe.ts';
import type { Decision } from './step.ts';

/** A label of the domain name system (RFC 1123 section 2.1). */
const LENGTH_MAX = 63;
const HEX_SHOWN = 4;

/** `pi1-3fa2`: for the second Pi called pi1. What is too long is cut in front of the digits. */
export function otherName(name: string, id: string): string {
  const digits = `-${id.slice(0, HEX_SHOWN)}`;
  return `${name.slice(0, LENGTH_MAX - digits.length)}${digits}`;
}

/** Who is in a swarm keeps its name; between two that are not, the smaller id does: both see it the same way. */
export function rename(world: World): Decision | undefined {
  if (world.mayRename !== true) return undefined;
  const { id, name } = world.self;
  const same = visiblePeers(world).filter(({ status }) => status.name.toLowerCase() === name.toLowerCase());
  const first = same.find(peer => peer.status.swarm.state !== 'none' || peer.id < id);
  if (first === undefined) return undefined;
  const why = `another Pi (${first.status.address || first.id}) is called ${name}, too`;
  return { rule: 'N1', why, steps: [{ action: 'rename', from: name, to: otherName(name, id) }] };
}
