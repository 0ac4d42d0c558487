import { FakeClock } from '../fakes/clock.ts';
import { FakeLan, type FakePi } from '../fakes/peers.ts';
import { bundleScript, describeOnNamespaces, NetnsLan, type NetnsProcess, until } from '../io/netns.ts';
import { type DiscoveryRig, discoveryContract } from './discovery.ts';

const idOf = (n: number): string => String(n).repeat(16);

describeOnNamespaces('on namespaces', () => {
  discoveryContract('MdnsDiscovery', async (): Promise<DiscoveryRig> => {
    const script = await bundleScript('test/io/mdns-child.ts');
    const lan = new NetnsLan();
    const namespaces = new Map<number, string>();
    const runs = new Map<number, NetnsProcess[]>();
    const lines = (n: number) => (runs.get(n) ?? []).flatMap(run => run.lines);
    return {
      async start(n, cluster = 'ours') {
        const namespace = namespaces.get(n) ?? lan.addPi(n);
        namespaces.set(n, namespace);
        const tag = (cluster === 'ours' ? 'a' : 'b').repeat(16);
        const run = lan.run(namespace, script.path, { tag, id: idOf(n), name: `pi${n}`, port: 3378 });
        runs.set(n, [...(runs.get(n) ?? []), run]);
      },
      async stop(n) {
        runs.get(n)?.at(-1)?.say('stop');
        await runs.get(n)?.at(-1)?.ended();
      },
      hints(n, m) {
        const found = lines(n).filter(line => line['event'] === 'hint' && line['id'] === idOf(m));
        return { count: found.length, host: String(found.at(-1)?.['host']) };
      },
      goodbyes: n => lines(n).flatMap(line => (line['event'] === 'goodbye' ? [Number(String(line['id'])[0])] : [])),
      addressOf: n => `10.77.0.${n}`,
      until: (what, fact) => until(what, fact),
      async remove() {
        await lan.remove();
        script.remove();
      },
    };
  });
});

discoveryContract('FakeDiscovery', async (): Promise<DiscoveryRig> => {
  const clock = new FakeClock();
  const lan = new FakeLan({ clock });
  const pis = new Map<number, FakePi>();
  const heard: { by: number; of: number; host?: string }[] = [];
  return {
    async start(n, tag = 'ours') {
      const pi = lan.attach(idOf(n), { tag });
      pis.set(n, pi);
      pi.discovery.onHint(({ id, host }) => heard.push({ by: n, of: Number(id?.[0]), host }));
      pi.discovery.onGoodbye(id => heard.push({ by: n, of: Number(id[0]) }));
      await pi.discovery.start();
    },
    stop: async n => void (await pis.get(n)?.discovery.stop()),
    hints(n, m) {
      const found = heard.filter(one => one.by === n && one.of === m && one.host !== undefined);
      return { count: found.length, host: found.at(-1)?.host ?? '' };
    },
    goodbyes: n => heard.filter(one => one.by === n && one.host === undefined).map(one => one.of),
    addressOf: n => pis.get(n)?.host ?? '',
    async until(what, fact) {
      for (let i = 0; i < 2000; i++) {
        lan.step();
        if (fact()) return;
        await clock.advance(50);
      }
      throw new Error(`in vain until ${what}`);
    },
    remove: async () => {},
  };
});
