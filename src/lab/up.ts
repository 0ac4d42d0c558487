/** Making a lab and removing it. */
import { rmSync } from 'node:fs';
import { RefusedError } from '../errors.ts';
import { type PiOptions, preparePi, writeHosts } from './disk.ts';
import { startLan } from './lan.ts';
import { PIS_MAX, piName } from './names.ts';
import { powerOnPi } from './pi.ts';
import type { LabPlace } from './place.ts';
import { isAlive, sendSignal } from './process.ts';
import { createRecord, currentBootId, type LabRecord } from './record.ts';

/** LAN and Pis, all at once; engines are still starting when it returns. Call it within `place.exclusive`. */
export async function makeLab(
  place: LabPlace,
  pis: number,
  options: (pi: string) => PiOptions,
  onBegun: () => void,
): Promise<void> {
  if (!Number.isInteger(pis) || pis < 1 || pis > PIS_MAX) {
    throw new RefusedError(`A lab has 1 to ${PIS_MAX} Pis, not ${pis}.`);
  }
  refuseIfThere(place);
  const indexes = Array.from({ length: pis }, (_, number) => number + 1);
  const record: LabRecord = {
    kind: 'pi-swarm-lab',
    version: 1,
    name: place.name,
    bootId: currentBootId(),
    cgroup: place.cgroup.name,
    createdAt: new Date().toISOString(),
    pis: Object.fromEntries(indexes.map(index => [piName(index), { index }])),
  };
  onBegun();
  createRecord(place.directory, record);
  writeHosts(place.directory, place.name, indexes);
  for (const index of indexes) preparePi(place.piDirectory(piName(index)), place.name, index, options(piName(index)));
  record.lan = await startLan(place.directory, place.name, place.cgroup);
  place.write(record);
  await startPis(place, record, indexes);
}

function refuseIfThere(place: LabPlace): void {
  const found = place.find();
  if (found !== undefined) {
    throw new RefusedError(
      `Lab «${place.name}» is already there, with ${Object.keys(found.pis).join(', ')}.`,
      `Use it, or remove it first: pi-swarm lab down${place.nameOption}`,
    );
  }
  if (place.cgroup.exists()) {
    throw new RefusedError(
      `Processes of an earlier lab «${place.name}» are still there, though its directory is gone.`,
      `pi-swarm lab down${place.nameOption}`,
    );
  }
}

/** Powers Pis on side by side and records them. */
export async function startPis(place: LabPlace, record: LabRecord, indexes: number[]): Promise<void> {
  const lan = place.lan(record);
  const start = async (index: number) => {
    const directory = place.piDirectory(piName(index));
    const init = await powerOnPi({ directory, lab: place.name, index, lan, cgroup: place.cgroup });
    record.pis[piName(index)] = { index, init };
  };
  const results = await Promise.allSettled(indexes.map(start));
  place.write(record);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/**
 * Ends every process of the lab and removes all it has made; also what a killed command or a crashed machine left half
 * made. Nothing to do is no error. Call it within `place.exclusive`.
 * @returns whether there was anything @throws RefusedError when the directory is not a lab's
 */
export async function removeLab(place: LabPlace): Promise<boolean> {
  const record = place.find();
  const there = record !== undefined || place.cgroup.exists();
  const marks = [record?.lan, ...Object.values(record?.pis ?? {}).map(({ init }) => init)];
  for (const mark of marks) if (isAlive(mark)) sendSignal(mark.pid, 'SIGKILL');
  await place.cgroup.remove();
  if (record !== undefined) rmSync(place.directory, { recursive: true, force: true, maxRetries: 3 });
  rmSync(`${place.base}/.${place.name}.new`, { recursive: true, force: true });
  return there;
}
