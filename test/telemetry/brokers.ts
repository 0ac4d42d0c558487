/** Brokers for tests, on free loopback ports: aedes in this process, and mosquitto with user and TLS. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Aedes } from 'aedes';

/** A TCP server that can drop all its connections. */
export async function listen(onSocket: (socket: Socket) => void, port = 0) {
  const sockets = new Set<Socket>();
  const server: Server = createServer(socket => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    onSocket(socket);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const dropAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    dropAll,
    async close() {
      dropAll();
      server.close();
      if (server.listening) await once(server, 'close');
    },
  };
}

export interface EmbeddedBroker {
  url: string;
  port: number;
  /** Retained messages by topic. */
  retained: Map<string, string>;
  /** Everything that came, in order. */
  log: { topic: string; payload: string }[];
  count(topic: string): number;
  publish(topic: string, payload: string, retain?: boolean): Promise<void>;
  dropAll(): void;
  close(): Promise<void>;
}

export async function embeddedBroker(port = 0): Promise<EmbeddedBroker> {
  const aedes = await Aedes.createBroker();
  const retained = new Map<string, string>();
  const log: { topic: string; payload: string }[] = [];
  aedes.on('publish', packet => {
    if (packet.topic.startsWith('$SYS')) return;
    const payload = packet.payload.toString();
    log.push({ topic: packet.topic, payload });
    if (!packet.retain) return;
    if (payload === '') retained.delete(packet.topic);
    else retained.set(packet.topic, payload);
  });
  const server = await listen(socket => aedes.handle(socket), port);
  return {
    url: `mqtt://127.0.0.1:${server.port}`,
    port: server.port,
    retained,
    log,
    count: topic => log.filter(entry => entry.topic === topic).length,
    publish: (topic, payload, retain = false) =>
      new Promise((resolve, reject) => {
        const packet = {
          cmd: 'publish' as const,
          topic,
          payload: Buffer.from(payload),
          qos: 0 as const,
          retain,
          dup: false,
        };
        aedes.publish(packet, error => (error ? reject(error) : resolve()));
      }),
    dropAll: server.dropAll,
    async close() {
      await server.close();
      await new Promise<void>(resolve => aedes.close(resolve));
    },
  };
}

export const USER = 'anna';
export const PASSWORD = 'correct horse: battery';

export interface Mosquitto {
  tlsUrl: string;
  plainUrl: string;
  ca: string;
  folder: string;
  start(): Promise<void>;
  /** Ends the process; retained messages are gone then. */
  kill(): Promise<void>;
  /** What another client gets for a topic: the first message, else undefined. */
  read(topic: string): string | undefined;
  remove(): Promise<void>;
}

/** Debian's mosquitto with a password file, on one port with TLS (certificate for localhost) and on one without. */
export async function mosquitto(): Promise<Mosquitto> {
  const folder = mkdtempSync(join(tmpdir(), 'pi-swarm-mosquitto-'));
  const [tlsPort, plainPort] = [await freePort(), await freePort()];
  makeCertificates(folder);
  execFileSync('mosquitto_passwd', ['-c', '-b', join(folder, 'passwords'), USER, PASSWORD], { stdio: 'ignore' });
  const config = [
    `user ${process.getuid?.() === 0 ? 'root' : 'nobody'}`,
    'per_listener_settings false',
    'allow_anonymous false',
    `password_file ${folder}/passwords`,
    `listener ${plainPort} 127.0.0.1`,
    `listener ${tlsPort} 127.0.0.1`,
    `cafile ${folder}/ca.pem`,
    `certfile ${folder}/broker.pem`,
    `keyfile ${folder}/broker.key`,
  ];
  writeFileSync(join(folder, 'mosquitto.conf'), `${config.join('\n')}\n`);
  let child: ChildProcess | undefined;
  const kill = async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  return {
    tlsUrl: `mqtts://localhost:${tlsPort}`,
    plainUrl: `mqtt://127.0.0.1:${plainPort}`,
    ca: join(folder, 'ca.pem'),
    folder,
    async start() {
      child = spawn('/usr/sbin/mosquitto', ['-c', join(folder, 'mosquitto.conf')], { stdio: 'ignore' });
      await until(() => answers(plainPort));
    },
    kill,
    read(topic) {
      const args = [
        '-h',
        '127.0.0.1',
        '-p',
        String(plainPort),
        '-u',
        USER,
        '-P',
        PASSWORD,
        '-t',
        topic,
        '-C',
        '1',
        '-W',
        '2',
      ];
      try {
        return execFileSync('mosquitto_sub', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trimEnd();
      } catch {
        return undefined;
      }
    },
    async remove() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function makeCertificates(folder: string): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=test CA');
  openssl(
    ...['req', '-x509', ...key, '-keyout', 'broker.key', '-out', 'broker.pem', '-subj', '/CN=localhost'],
    ...['-CA', 'ca.pem', '-CAkey', 'ca.key', '-addext', 'subjectAltName=DNS:localhost'],
  );
}

async function freePort(): Promise<number> {
  const { port, close } = await listen(() => {});
  await close();
  return port;
}

const answers = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });

/** Waits for a fact, at most 10 s. */
export async function until(fact: () => unknown | Promise<unknown>, limitMs = 10_000): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!(await fact())) {
    if (performance.now() > endMs) throw new Error(`not within ${limitMs} ms: ${fact}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}
