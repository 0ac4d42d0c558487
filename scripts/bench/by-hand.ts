/** The reference: what a person does with Docker alone, typed by a script without a pause. */
import { whoamiImage } from '../../src/io/whoami.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { askEngine } from '../swarm-view.ts';

/** `docker swarm init` on the first, `join` on the others, one after the other: 3 managers, the others workers. */
export async function swarmByHand(lab: Lab, pis: readonly string[]): Promise<void> {
  const [first = 'pi1', ...others] = pis;
  const docker = (pi: string, ...words: string[]) => lab.run(pi, ['docker', ...words]);
  await docker(first, 'swarm', 'init', '--advertise-addr', lab.address(first));
  const manager = await docker(first, 'swarm', 'join-token', '-q', 'manager');
  const worker = await docker(first, 'swarm', 'join-token', '-q', 'worker');
  for (const [index, pi] of others.entries()) {
    const token = index < 2 ? manager : worker;
    await docker(
      pi,
      'swarm',
      'join',
      '--token',
      token,
      '--advertise-addr',
      lab.address(pi),
      `${lab.address(first)}:2377`,
    );
  }
}

/** The same image on every engine, as stock `docker service create` runs it: restart delay 5 s, no registry asked. */
export async function whoamiByHand(
  lab: Lab,
  pis: readonly string[],
  { name = 'whoami', replicas, port }: { name?: string; replicas: number; port?: number },
): Promise<void> {
  const { Architecture } = await askEngine<{ Architecture: string }>(lab, pis[0] ?? 'pi1', '/info');
  const stdin = await whoamiImage(Architecture);
  const loaded = await Promise.all(pis.map(pi => lab.run(pi, ['docker', 'load', '--quiet'], { stdin })));
  const image = loaded[0]?.replace(/^Loaded image: /, '') ?? '';
  const published = port === undefined ? [] : ['--publish', `${port}:8000`];
  const service = ['service', 'create', '--quiet', '--name', name, '--replicas', `${replicas}`, ...published];
  await runOnManager(lab, pis, ['docker', ...service, '--no-resolve-image', image]);
}

/** On the first of these Pis that is a manager. */
export async function runOnManager(lab: Lab, pis: readonly string[], argv: string[]): Promise<void> {
  for (const pi of pis) {
    const { code } = await lab.exec(pi, ['docker', 'node', 'ls', '--quiet']);
    if (code === 0) return void (await lab.run(pi, argv));
  }
  throw new Error(`None of ${pis.join(', ')} is a manager of a swarm with a leader`);
}
