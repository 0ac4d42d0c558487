import { afterAll, beforeAll } from 'vitest';
import { DockerEngine } from '../../src/io/engine.ts';
import { ensureWhoami, WHOAMI_IMAGE } from '../../src/io/whoami.ts';
import { swarmContract } from '../contract/engine-swarm.ts';
import { describeOnNamespaces } from '../io/netns.ts';
import { docker, useLab, waitFor } from '../lab/harness.ts';

describeOnNamespaces('three real engines', () => {
  const lab = useLab({ pis: 3, agents: false });
  const engines = new Map<string, DockerEngine>();
  const open = (pi: string): void => void engines.set(pi, new DockerEngine({ socketPath: lab().engine(pi) }));
  const engine = (pi: string): DockerEngine => {
    const found = engines.get(pi);
    if (found === undefined) throw new Error(`no engine ${pi}`);
    return found;
  };

  beforeAll(async () => {
    for (const pi of lab().pis()) {
      open(pi);
      await ensureWhoami(engine(pi), (await engine(pi).info()).architecture);
    }
  }, 60_000);
  afterAll(() => Promise.all([...engines.values()].map(one => one.stop())));

  swarmContract(() => ({
    engine,
    address: pi => lab().address(pi),
    powerCut: pi => lab().powerCut(pi),
    async powerOn(pi) {
      await lab().powerOn(pi);
      await engine(pi).stop();
      open(pi);
    },
    spec: async (pi, service) =>
      JSON.parse(await docker(lab(), pi, 'service', 'inspect', service, '--format', '{{json .Spec}}')) as object,
    async canStart(pi, can) {
      if (can) await ensureWhoami(engine(pi), (await engine(pi).info()).architecture);
      else await docker(lab(), pi, 'image', 'rm', '--force', WHOAMI_IMAGE);
    },
    scaleByHand: async (pi, service, replicas) =>
      void (await docker(lab(), pi, 'service', 'scale', '--detach', `${service}=${replicas}`)),
    eventually: async (what, done) => void (await waitFor(done, { what, timeoutMs: 200_000 })),
  }));
});
