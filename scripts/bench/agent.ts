/** How much the agent weighs: its file, its start, its memory and its processor time at rest, beside a bare Node. */
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fetchSnapshot } from '../../src/control/client.ts';
import { defaultBundle } from '../../src/lab/disk.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { allReady, nodesOf } from '../swarm-view.ts';
import { type BenchContext, onFreshLab, type Row, timeUntil } from './measure.ts';

const PIS = 5;
const MEGABYTE = 1_000_000;
const MEBIBYTE_KB = 1024;
const REST_MS = 60_000;
const REST_QUICK_MS = 20_000;
/** Before "at rest" begins: the last promotion and its echoes are over. */
const CALM_MS = 10_000;

const atMost = (limit: number, unit: string) => ({
  text: `≤ ${limit} ${unit}`,
  keeps: (ours: number) => ours <= limit,
});

export async function weight(context: BenchContext): Promise<Row[]> {
  const bundle = defaultBundle();
  const bareStart: number[] = [];
  const versionStart: number[] = [];
  for (let round = 1; round <= context.rounds; round++) {
    context.progress(`start, round ${round} of ${context.rounds}`);
    bareStart.push(timeOf(['-e', '0']));
    versionStart.push(timeOf([bundle, 'version']));
  }
  const bare = { what: 'node -e 0', values: bareStart };
  const running = await atRest(context);
  const file = [statSync(bundle).size / MEGABYTE];
  const { starts, memory, cpu, engineCpu, bareMemory } = running;
  return [
    { what: 'bundle on disk', unit: 'MB', ours: file, reference: { what: '–', values: [] }, target: atMost(2, 'MB') },
    {
      what: 'pi-swarm version',
      unit: 'ms',
      ours: versionStart,
      reference: bare,
      target: atMost(300, 'ms'),
    },
    { what: 'agent: start → its socket answers', unit: 'ms', ours: starts, reference: bare, target: atMost(300, 'ms') },
    {
      what: `agent: memory, ${PIS} Pis at rest`,
      unit: 'MB',
      ours: memory,
      reference: { what: 'idle node', values: bareMemory },
      target: atMost(64, 'MB'),
    },
    {
      what: `agent: one core, ${PIS} Pis at rest`,
      unit: '%',
      ours: cpu,
      reference: { what: 'dockerd', values: engineCpu },
      target: atMost(1.5, '%'),
    },
  ];
}

/** Milliseconds that one run of node takes. */
function timeOf(args: string[]): number {
  const began = performance.now();
  execFileSync(process.execPath, args, { stdio: 'ignore' });
  return performance.now() - began;
}

interface AtRest {
  starts: number[];
  memory: number[];
  cpu: number[];
  engineCpu: number[];
  bareMemory: number[];
}

async function atRest(context: BenchContext): Promise<AtRest> {
  return onFreshLab(context, { pis: PIS }, async (lab, pis) => {
    const starts: number[] = [];
    for (const pi of pis) {
      context.progress(`the agent of ${pi} starts`);
      starts.push(await startOf(context, lab, pi));
      // Before it has settled: the next one starts on a machine that is at rest, too.
      await lab.stopAgent(pi);
    }
    context.progress('one swarm');
    await Promise.all(pis.map(pi => lab.startAgent(pi)));
    await timeUntil(context, 'all Ready', async () => allReady(await nodesOf(lab, pis), PIS));
    context.progress('waiting until it is calm');
    await new Promise(resolve => setTimeout(resolve, CALM_MS));
    const agents = pis.map(pi => processOf(lab, pi, 'agent'));
    const engines = pis.map(pi => processOf(lab, pi, 'engine'));
    const restMs = context.quick ? REST_QUICK_MS : REST_MS;
    context.progress(`at rest for ${restMs / 1000} s`);
    const before = [...agents, ...engines].map(cpuMs);
    const began = performance.now();
    await new Promise(resolve => setTimeout(resolve, restMs));
    const took = performance.now() - began;
    const used = [...agents, ...engines].map((pid, index) => ((cpuMs(pid) - (before[index] ?? 0)) / took) * 100);
    return {
      starts,
      memory: agents.map(rssMb),
      cpu: used.slice(0, PIS),
      engineCpu: used.slice(PIS),
      bareMemory: [await bareRssMb()],
    };
  });
}

/** Milliseconds from the supervisor's word to the first answer on the agent's socket. */
async function startOf(context: BenchContext, lab: Lab, pi: string): Promise<number> {
  const socket = lab.inside(pi, '/run/pi-swarm/agent.sock');
  const began = performance.now();
  await lab.startAgent(pi);
  const answers = () =>
    fetchSnapshot(socket, { timeoutMs: 1000 }).then(
      () => true,
      () => false,
    );
  await timeUntil(context, `the agent of ${pi}`, answers);
  return performance.now() - began;
}

/** The pid on this machine of what the Pi's supervisor calls `agent` or `engine`. */
function processOf(lab: Lab, pi: string, what: 'agent' | 'engine'): number {
  const inner = readFileSync(lab.inside(pi, `/run/lab/${what}.pid`), 'utf8').trim();
  const found = lab.place.cgroup.pids(pi).find(pid => {
    const spaces = /^NSpid:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]?.split(/\s+/);
    return spaces?.at(-1) === inner && spaces.length === 2;
  });
  if (found === undefined) throw new Error(`The ${what} of ${pi} does not run`);
  return found;
}

/** proc(5) /proc/pid/stat: utime and stime, fields 14 and 15, in ticks of 10 ms. The name in field 2 may hold spaces. */
function cpuMs(pid: number): number {
  const fields = readFileSync(join('/proc', `${pid}`, 'stat'), 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function rssMb(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(join('/proc', `${pid}`, 'status'), 'utf8'))?.[1];
  return Number(kilobytes) / MEBIBYTE_KB;
}

async function bareRssMb(): Promise<number> {
  const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60_000); console.log()'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve);
      child.once('error', reject);
    });
    return rssMb(child.pid ?? 0);
  } finally {
    child.kill();
  }
}
