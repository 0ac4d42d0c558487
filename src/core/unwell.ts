/** Why a Pi gets no new work, in words: the notice, with its cure. Pure. */
import { type Ailment, ailmentOf } from './ailments.ts';
import type { World } from './observe.ts';
import type { Notice, PiSnapshot } from './snapshot.ts';
import type { Vitals } from './world.ts';

/** What a snapshot's row says of the Pi's health: nothing while it is well, or not in the swarm. */
export function unwellOf(world: World, { swarmNodeId, liveness }: PiSnapshot): { unwell?: Ailment } {
  const ailment = swarmNodeId === undefined || liveness === 'dead' ? undefined : ailmentOf(world.care, swarmNodeId);
  return ailment === undefined ? {} : { unwell: ailment };
}

export function unwellNotices(pis: readonly PiSnapshot[]): Notice[] {
  return pis.flatMap(({ name, unwell, availability, vitals = {} }): Notice[] => {
    if (unwell === undefined) return [];
    const text = `${name} ${SAYS[unwell](vitals)}${CONSEQUENCE[availability]}.`;
    return [{ severity: 'warning', kind: 'pi-unwell', text, cure: CURES[unwell] }];
  });
}

const rounded = (value: number | undefined, unit: string): string =>
  value === undefined ? '' : ` (${Math.round(value)} ${unit} now)`;

/** The values may be better already: a Pi stays unwell for a minute. */
const SAYS: Record<Ailment, (vitals: Vitals) => string> = {
  'under-voltage': () => 'gets too little voltage',
  throttled: () => 'is slowed down by its firmware, for lack of power or for heat',
  hot: ({ temperatureCelsius }) => `is too hot${rounded(temperatureCelsius, '°C')}`,
  'memory-full': ({ memoryPercent }) => `has hardly any memory left${rounded(memoryPercent, '% used')}`,
  'disk-full': ({ diskPercent }) => `has hardly any room left on its disk${rounded(diskPercent, '% used')}`,
};

const CURES: Record<Ailment, string> = {
  'under-voltage': 'Use the power supply made for this board, and a short cable.',
  throttled: 'Use the power supply made for this board; give it air, a heat sink or a fan.',
  hot: 'Give it air, a heat sink or a fan.',
  'memory-full': '`docker stats` on it shows who uses it; `pi-swarm deploy --memory` keeps a service within bounds.',
  'disk-full': '`sudo docker system prune` on it frees what no container uses.',
};

const CONSEQUENCE: Record<PiSnapshot['availability'], string> = {
  pause: '; it gets no new work while that lasts',
  active: '; it still gets work, because the other Pis alone do not suffice or somebody wished it so',
  drain: '',
  none: '',
};
