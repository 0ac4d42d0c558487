/** Runs one MdnsDiscovery in a namespace; prints what it hears, obeys `stop` and `stats` on stdin. */
import { createInterface } from 'node:readline';
import { MdnsDiscovery } from '../../src/io/mdns.ts';
import { HostNetwork } from '../../src/io/network.ts';

const options = JSON.parse(process.argv[2] ?? '{}') as { tag: string; id: string; name: string; port: number };
const print = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  sleep: async () => {},
  random: () => Math.random(),
};
const network = new HostNetwork({ interface: 'auto', refreshMs: 200 });
const log = {
  info: (_fields: object, text: string) => print({ event: 'log', text }),
  warn: () => {},
};
const discovery = new MdnsDiscovery({ ...options, network, clock, log: log as never });
discovery.onHint(hint => print({ event: 'hint', ...hint, atMs: Date.now() }));
discovery.onGoodbye(id => print({ event: 'goodbye', id }));
network.onChange(state => print({ event: 'network', address: state.chosen?.address }));
createInterface({ input: process.stdin }).on('line', async line => {
  if (line === 'stats') print({ event: 'stats', ...discovery.stats() });
  if (line !== 'stop') return;
  await discovery.stop();
  network.stop();
  print({ event: 'stopped' });
  process.stdin.destroy();
});
await discovery.start();
print({ event: 'started', atMs: Date.now() });
