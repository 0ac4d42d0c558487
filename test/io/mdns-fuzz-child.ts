/** Throws garbage at 224.0.0.251:5353 in its namespace: random bytes, mutilated and forged announcements, huge headers. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { MDNS_ADDRESS, MDNS_PORT } from '../../src/io/mdns-socket.ts';

const { address, seed, tags } = JSON.parse(process.argv[2] ?? '{}') as {
  address: string;
  seed: number;
  /** Sound announcements of ever new clusters instead. */
  tags?: boolean;
};
let state = seed;
const random = (below: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state % below;
};

const label = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
const nameOf = (...labels: string[]): Buffer => Buffer.concat([...labels.map(label), Buffer.from([0])]);
function forged(pairs: string[], instance: string): Buffer {
  const header = Buffer.from([0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
  const txt = Buffer.concat(pairs.map(label));
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(16, 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt32BE(120, 4);
  fixed.writeUInt16BE(txt.length, 8);
  return Buffer.concat([header, nameOf(instance, '_pi-swarm', '_tcp', 'local'), fixed, txt]);
}
const id = 'f'.repeat(16);
const tag = 'aaaaaaaaaaaaaaaa';
const good = ['v=1', `tag=${tag}`, `id=${id}`, 'port=3378', 'name=x'];
const valid = forged(good, id);

function packet(kind: number): Buffer {
  if (tags) return forged([...good, `tag=${randomBytes(8).toString('hex')}`].toSpliced(1, 1), id);
  if (kind === 0) return randomBytes(1 + random(600));
  if (kind === 1) return randomBytes(5000);
  if (kind === 2) return Buffer.concat([Buffer.from([0, 0, 0x84, 0, 255, 255, 255, 255, 255, 255, 255, 255])]);
  if (kind === 3) return forged(['v=1', `tag=${tag}`, `id=${id}`, 'port=99999', 'name=x'], id);
  if (kind === 4) return forged(good, 'somebody-else');
  if (kind === 5) return forged([], id);
  const broken = Buffer.from(valid);
  for (let i = 0; i < 1 + random(8); i++) broken[2 + random(broken.length - 2)] = random(256);
  return broken;
}

const socket = createSocket('udp4');
socket.bind(0, address, () => {
  socket.setMulticastInterface(address);
  let left = 1500;
  const next = (): void => {
    for (let i = 0; i < 50 && left > 0; i++, left--) socket.send(packet(left % 9), MDNS_PORT, MDNS_ADDRESS);
    if (left > 0) setTimeout(next, 20);
    else socket.close(() => process.stdout.write('{"event":"done"}\n'));
  };
  next();
});
