import { FakeClock } from '../fakes/clock.ts';
import { FakeLan } from '../fakes/peers.ts';
import { until } from '../io/netns.ts';
import { makeCluster, statusOf, TestPi } from '../io/peers-helper.ts';
import { type PeersRig, peersContract, type RigPi } from './peers.ts';

peersContract('TlsPeers', (): PeersRig => {
  const clusters = new Map<string, ReturnType<typeof makeCluster>>();
  const pis: TestPi[] = [];
  return {
    async add(name = 'ours') {
      const cluster = clusters.get(name) ?? makeCluster();
      clusters.set(name, cluster);
      const pi = await new TestPi(cluster).start();
      pis.push(pi);
      return { id: pi.id, host: '127.0.0.1', port: pi.port, peers: pi.peers, say: more => pi.say(more) };
    },
    until: (what, fact) => until(what, fact),
    powerCut: pi => pi.peers.stop(),
    remove: async () => void (await Promise.all(pis.map(pi => pi.peers.stop()))),
  };
});

peersContract('FakePeers', (): PeersRig => {
  const clock = new FakeClock();
  const lan = new FakeLan({ clock });
  let count = 0;
  return {
    async add(tag = 'ours') {
      const pi = lan.attach(String(count++).padStart(16, '0'), { tag });
      const say: RigPi['say'] = more => pi.peers.setStatus(statusOf(pi.id, pi.port, { address: pi.host, ...more }));
      await pi.peers.start();
      say({});
      return { ...pi, say };
    },
    async until(what, fact) {
      for (let i = 0; i < 2000; i++) {
        lan.step();
        if (fact()) return;
        await clock.advance(50);
      }
      throw new Error(`in vain until ${what}`);
    },
    powerCut: async pi => lan.power(pi.id, 'off'),
    remove: async () => {},
  };
});
