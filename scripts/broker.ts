/**
 * The demo's MQTT broker: a child process in the LAN's network namespace, where the Pis reach it like one on a laptop.
 * Tells its parent what goes over it, a line of JSON each, and ends when the parent does; or stays until the lab ends.
 */
import { createServer } from 'node:net';
import { Aedes } from 'aedes';

/** One line of the broker's standard output; the first of all is `{ listening: port }`. */
export interface BrokerLine {
  listening?: number;
  /** What was published. */
  topic?: string;
  payload?: string;
  retain?: boolean;
}

/** @param port where to listen, on every address of this network namespace  @param stays whether it outlives its parent */
export async function runBroker(port: number, stays: boolean): Promise<void> {
  const broker = await Aedes.createBroker();
  const say = (line: BrokerLine) => process.stdout.write(`${JSON.stringify(line)}\n`);
  broker.on('publish', packet => {
    if (packet.topic.startsWith('$SYS/')) return;
    say({ topic: packet.topic, payload: packet.payload.toString(), retain: packet.retain });
  });
  const server = createServer(socket => broker.handle(socket));
  server.listen(port, () => {
    const address = server.address();
    say({ listening: typeof address === 'object' && address !== null ? address.port : port });
  });
  // The terminal's Ctrl-C and hang-up reach it as well; it goes when its parent has cleaned up, or with the lab.
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
  // The parent's end of the pipe is closed when it has gone.
  process.stdout.on('error', () => {});
  process.stdin.resume().on('end', () => {
    if (!stays) process.exit(0);
  });
}
