/** How a virtual Pi gets hot: its agent reads the kernel's files, and these are put in their place inside the Pi. */
import type { Lab } from '../../src/lab/lab.ts';
import { waitFor } from './harness.ts';

/** Above all tables of sensors: what `src/io/host.ts` reads is a real file, but only in this Pi's own mounts. */
const SENSOR = '/run/lab/thermal';
const MOUNTED = '/sys/class/thermal';

/** Gives a Pi that temperature, from its next reading (some seconds) until another one, or a power cut. */
export async function setTemperature(lab: Lab, pi: string, celsius: number): Promise<void> {
  const script = `set -e
    mkdir -p ${SENSOR}/thermal_zone0
    echo cpu-thermal >${SENSOR}/thermal_zone0/type
    echo ${celsius * 1000} >${SENSOR}/thermal_zone0/temp
    grep -q ' ${MOUNTED} ' /proc/self/mountinfo || mount --bind ${SENSOR} ${MOUNTED}`;
  await lab.run(pi, ['sh', '-c', script]);
}

/** `docker node inspect`, as far as the tests care. */
export interface Health {
  availability: string;
  /** `pi-swarm.unwell`. */
  label: string | undefined;
}

/** What the swarm says of a Pi, asked on another one that is a manager. */
export async function healthOf(lab: Lab, pi: string, on: string): Promise<Health> {
  const spec = JSON.parse(await lab.run(on, ['docker', 'node', 'inspect', '--format', '{{json .Spec}}', pi]));
  return { availability: spec.Availability, label: spec.Labels['pi-swarm.unwell'] };
}

export const becomes = (lab: Lab, pi: string, on: string, wished: Health, timeoutMs: number): Promise<Health> =>
  waitFor(() => healthOf(lab, pi, on), {
    what: `${pi} to be ${wished.availability} (${wished.label ?? 'no label'})`,
    timeoutMs,
    is: ({ availability, label }) => availability === wished.availability && label === wished.label,
  });
