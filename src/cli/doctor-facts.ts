/** Collects what `doctor` looks at. Everything is bounded in time, and what cannot be found out is left out. */
import { readFile, stat, statfs } from 'node:fs/promises';
import { request } from 'node:http';
import { networkInterfaces, release } from 'node:os';
import { type Config, parseConfig } from '../config.ts';
import { fetchSnapshot } from '../control/client.ts';
import { messageOf } from '../errors.ts';
import { readSecretFile } from '../io/secret.ts';
import { readNotices } from '../machine/boot-notices.ts';
import { BUILT_MS } from '../version.ts';
import type { DoctorFacts, EngineFacts } from './doctor-check.ts';
import { kernelFeatures, memoryCgroup } from './doctor-kernel.ts';
import { listenersOn, portFacts } from './doctor-ports.ts';
import { type CommonOptions, configOf } from './options.ts';

const AGENT_MS = 5000;
const ENGINE_MS = 5000;
const OPEN_ENGINE_MS = 1000;
const OPEN_ENGINE_PORT = 2375;
/** `GET /info` is some 10 KB. */
const ANSWER_MAX = 1024 * 1024;
/** linux/if.h */
const IFF_MULTICAST = 0x1000;
/** Made by Docker for containers; the cluster never runs over them. */
const CONTAINER_INTERFACE = /^(lo|docker|br-|veth|vx-)/;

export async function collectFacts(options: CommonOptions): Promise<DoctorFacts> {
  const { config, configProblem } = await readConfig(options);
  const socket = options.socket ?? process.env['PI_SWARM_SOCKET'] ?? config.socket;
  const [agent, engine, openEngine, kernel, cgroup, ports, secret, stateDir, interfaces, defaultRoute] =
    await Promise.all([
      agentFacts(socket),
      engineFacts(config.dockerSocket),
      openEngineFacts(),
      kernelFeatures(),
      memoryCgroup(),
      portFacts(config.port),
      secretFacts(config.secretFile),
      stateDirFacts(config.stateDir),
      interfaceFacts(),
      routeInterface(),
    ]);
  return {
    root: process.getuid?.() === 0,
    platform: process.platform,
    nodeVersion: process.version,
    wallMs: Date.now(),
    builtMs: BUILT_MS,
    configProblem,
    agent,
    engine,
    openEngine,
    secret,
    stateDir,
    kernelRelease: release(),
    kernel,
    memoryCgroup: cgroup,
    machineId: (await text('/etc/machine-id'))?.trim(),
    bootNotices: await readNotices(),
    agentPort: config.port,
    ports,
    interfaces,
    defaultRoute,
  };
}

/** A broken configuration is one finding among others; the rest is looked at with the defaults. */
async function readConfig(options: CommonOptions): Promise<{ config: Config; configProblem?: string }> {
  try {
    return { config: await configOf(options) };
  } catch (error) {
    return { config: parseConfig([], 'localhost'), configProblem: messageOf(error) };
  }
}

async function agentFacts(socket: string): Promise<DoctorFacts['agent']> {
  try {
    return { running: true, snapshot: await fetchSnapshot(socket, { timeoutMs: AGENT_MS }) };
  } catch (error) {
    return { running: false, problem: messageOf(error) };
  }
}

interface DockerInfo {
  MemoryLimit?: boolean;
  Swarm?: { LocalNodeState?: string; Cluster?: { Spec?: { Labels?: Record<string, string> } } };
}

/** `GET /version` and `GET /info`, without a version prefix, which every engine answers. */
async function engineFacts(socket: string): Promise<EngineFacts> {
  try {
    const version = (await getJson({ socketPath: socket, path: '/version' }, ENGINE_MS)) as Record<string, string>;
    const info = (await getJson({ socketPath: socket, path: '/info' }, ENGINE_MS)) as DockerInfo;
    const cluster = info.Swarm?.Cluster;
    return {
      socket,
      version: version['Version'],
      apiVersion: version['ApiVersion'],
      swarmState: info.Swarm?.LocalNodeState,
      ...(cluster ? { swarmIsOurs: cluster.Spec?.Labels?.['pi-swarm.tag'] !== undefined } : {}),
      memoryLimit: info.MemoryLimit,
    };
  } catch (error) {
    return { socket, problem: messageOf(error) };
  }
}

async function openEngineFacts(): Promise<DoctorFacts['openEngine']> {
  const addresses = await listenersOn(OPEN_ENGINE_PORT);
  for (const address of addresses) {
    const host = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address;
    const version = await getJson({ host, port: OPEN_ENGINE_PORT, path: '/version' }, OPEN_ENGINE_MS).catch(
      () => undefined,
    );
    if (typeof version === 'object' && version !== null && 'ApiVersion' in version) return { addresses, answers: true };
  }
  return { addresses, answers: false };
}

interface Where {
  socketPath?: string;
  host?: string;
  port?: number;
  path: string;
}

function getJson(where: Where, limitMs: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(limitMs);
    const call = request({ ...where, agent: false, signal }, response => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
        if (body.length > ANSWER_MAX) call.destroy(new Error('its answer is too large'));
      });
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve(JSON.parse(body));
        } catch (error) {
          reject(error);
        }
      });
    });
    call.on('error', error => reject(signal.aborted ? new Error(`no answer within ${limitMs / 1000} s`) : error));
    call.end();
  });
}

async function secretFacts(path: string): Promise<DoctorFacts['secret']> {
  const mode = (await stat(path).catch(() => undefined))?.mode;
  try {
    return { path, mode, state: (await readSecretFile(path)) === undefined ? 'absent' : 'ok' };
  } catch (error) {
    const code = (error as { code?: string }).code;
    return { path, mode, state: code === 'environment' ? 'unreadable' : 'damaged', problem: messageOf(error) };
  }
}

async function stateDirFacts(path: string): Promise<DoctorFacts['stateDir']> {
  const found = await stat(path).catch(() => undefined);
  // Before the first start: the file system that will hold it.
  const disk = await statfs(found === undefined ? '/var/lib' : path).catch(() => undefined);
  return {
    path,
    exists: found !== undefined,
    mode: found?.mode,
    ...(disk === undefined ? {} : { freeBytes: disk.bavail * disk.bsize, totalBytes: disk.blocks * disk.bsize }),
  };
}

async function interfaceFacts(): Promise<DoctorFacts['interfaces']> {
  const result: DoctorFacts['interfaces'] = [];
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    const address = addresses.find(candidate => candidate.family === 'IPv4' && !candidate.internal)?.address;
    if (address === undefined || CONTAINER_INTERFACE.test(name)) continue;
    const flags = await text(`/sys/class/net/${name}/flags`);
    result.push({
      name,
      address,
      ...(flags === undefined ? {} : { multicast: (Number(flags) & IFF_MULTICAST) !== 0 }),
    });
  }
  return result;
}

/** /proc/net/route: columns Iface, Destination (00000000 is the default), Gateway … (proc(5)) */
async function routeInterface(): Promise<string | undefined> {
  const lines = (await text('/proc/net/route'))?.split('\n').slice(1) ?? [];
  return lines.map(line => line.split(/\s+/)).find(([, destination]) => destination === '00000000')?.[0];
}

const text = (path: string): Promise<string | undefined> => readFile(path, 'utf8').catch(() => undefined);
