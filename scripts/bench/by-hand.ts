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
export async function whoamiByHand(lab: Lab, pis: readonly string[], replicas: number): Promise<void> {
  const { Architecture } = await askEngine<{ Architecture: string }>(lab, pis[0] ?? 'pi1', '/info');
  const stdin = await whoamiImage(Architecture);
  const loaded = await Promise.all(pis.map(pi => lab.run(pi, ['docker', 'load', '--quiet'], { stdin })));
  const image = loaded[0]?.replace(/^Loaded image: /, '') ?? '';
  const service = ['service', 'create', '--quiet', '--name', 'whoami', '--replicas', `${replicas}`];
  await lab.run(pis[0] ?? 'pi1', ['docker', ...service, '--no-resolve-image', image]);
}
