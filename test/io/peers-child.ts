/** One TlsPeers in a namespace; prints whom it sees and how, whenever that changes. */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { createInterface } from 'node:readline';
import { deriveCluster } from '../../src/io/cluster.ts';
import { nodeIdOf } from '../../src/io/identity.ts';
import { parseSecret } from '../../src/io/secret.ts';
import { TestPi } from './peers-helper.ts';

interface Options {
  secret: string;
  key: string;
  address: string;
  hints: string[];
  heartbeatMs: number;
}
const options = JSON.parse(process.argv[2] ?? '{}') as Options;
const privateKey = createPrivateKey(options.key);
const publicKey = createPublicKey(privateKey);
const identity = { id: nodeIdOf(publicKey), privateKey, publicKey };
const print = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const pi = new TestPi(deriveCluster(parseSecret(options.secret)), {
  identity,
  host: '0.0.0.0',
  port: 3378,
  heartbeatMs: options.heartbeatMs,
});
const tell = (): void => {
  for (const peer of pi.peers.list()) print({ event: 'sees', id: peer.id, liveness: peer.liveness, atMs: Date.now() });
};
pi.peers.onChange(tell);
createInterface({ input: process.stdin }).on('line', line => {
  if (line === 'cpu') print({ event: 'cpu', ...process.cpuUsage(), rss: process.memoryUsage().rss, atMs: Date.now() });
  if (line === 'block') {
    const end = Date.now() + 6000;
    while (Date.now() < end);
    tell();
  }
});
await pi.start({ address: options.address });
for (const host of options.hints) pi.peers.hint({ host, port: 3378 });
print({ event: 'started', id: pi.id });
