/** Carries the routing mesh's rules into the kernel: nftables in the Pi's namespace and in the ingress network's. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { release } from 'node:os';
import { ingressRuleset, MESH_TABLE, type MeshTable, nodeRuleset, removal } from '../core/mesh.ts';
import { EnvironmentError, messageOf } from '../errors.ts';

export type MeshMode = 'kernel' | 'nftables' | 'none';

export const DEFAULT_EXEC_ROOT = '/run/docker';

const COMMAND_TIMEOUT_MS = 10_000;
const OUTPUT_BYTES_MAX = 1_048_576;
/** Marks our rules in Docker's chain, so that they and no others are taken out. */
const COMMENT = 'pi-swarm-mesh';
const USER_CHAIN = 'DOCKER-USER';
const STAYS_AWAY = 'It is made within seconds after the engine joined; if it stays away: systemctl restart docker';

/** What of the kernel and the programs is there. */
export async function detectMesh(): Promise<{ mode: MeshMode; problem?: string }> {
  if (existsSync('/proc/net/ip_vs') || (await moduleInstalled('ip_vs'))) return { mode: 'kernel' };
  const reason = 'this kernel has no ip_vs, so Docker cannot make published ports answer on every Pi';
  try {
    await run(['nft', 'list', 'tables']);
    return { mode: 'nftables' };
  } catch (error) {
    const missing = (error as { cause?: { code?: string } }).cause?.code === 'ENOENT';
    const cure = missing ? 'apt-get install nftables' : 'use a kernel with ip_vs or nf_tables';
    return { mode: 'none', problem: `${reason}, and nftables cannot do it either (${messageOf(error)}): ${cure}` };
  }
}

export class NftMesh {
  readonly #ingressNamespace: string;

  constructor(execRoot = DEFAULT_EXEC_ROOT) {
    this.#ingressNamespace = `${execRoot}/netns/ingress_sbox`;
  }

  /** Changes when the engine made the ingress namespace anew; undefined while there is none. */
  async generation(): Promise<string | undefined> {
    const file = await stat(this.#ingressNamespace, { bigint: true }).catch(() => undefined);
    return file === undefined ? undefined : `${file.dev}:${file.ino}`;
  }

  /** Whether our table is in the ingress namespace (a firewall script may have flushed everything). */
  async present(): Promise<boolean> {
    const both = [
      run(['nft', 'list', 'table', 'ip', MESH_TABLE]),
      run([...this.#enter(), 'nft', 'list', 'table', 'ip', MESH_TABLE]),
    ];
    return Promise.all(both).then(
      () => true,
      () => false,
    );
  }

  /** Replaces all rules by those of the table. Idempotent. @throws EnvironmentError */
  async apply(table: MeshTable): Promise<void> {
    const gateway = await this.#gateway();
    await run([...this.#enter(), 'nft', '-f', '-'], ingressRuleset(table, gateway.address));
    await run([...this.#enter(), 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
    // Without it the kernel drops what comes back to a connection that began at 127.0.0.1. Docker's own mesh sets it too.
    await run(['sh', '-c', `echo 1 > /proc/sys/net/ipv4/conf/${gateway.bridge}/route_localnet`]);
    await allowForwarding(gateway.address);
    // Last, so that no connection arrives before the rest is there.
    await run(['nft', '-f', '-'], nodeRuleset(table, gateway.address));
  }

  /** Takes everything away, also what an earlier run left. Settings that Docker makes itself are left where we made none. Never throws. */
  async remove(): Promise<void> {
    const quietly = (argv: string[], input?: string) => run(argv, input).catch(() => '');
    await quietly(['nft', '-f', '-'], removal());
    await forbidForwarding();
    const list = [...this.#enter(), 'nft', 'list', 'table', 'ip', MESH_TABLE];
    const ours = await run(list).then(
      () => true,
      () => false,
    );
    if (!ours) return;
    const gateway = await this.#gateway().catch(() => undefined);
    if (gateway) await quietly(['sh', '-c', `echo 0 > /proc/sys/net/ipv4/conf/${gateway.bridge}/route_localnet`]);
    await quietly([...this.#enter(), 'sh', '-c', 'echo 0 > /proc/sys/net/ipv4/ip_forward']);
    await quietly([...this.#enter(), 'nft', '-f', '-'], removal());
  }

  #enter(): string[] {
    return ['nsenter', `--net=${this.#ingressNamespace}`];
  }

  /** `ip -4` in the ingress namespace. For a moment the engine's file is there, and the namespace or its devices are not. */
  #ask(words: string[]): Promise<string> {
    return run([...this.#enter(), 'ip', '-4', ...words]).catch((error: unknown) => {
      const cause = error instanceof Error ? error.cause : undefined;
      const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
      if (missing) throw error; // a program, which does not come by itself
      throw new EnvironmentError('the ingress network of the swarm is not ready on this Pi yet', STAYS_AWAY, {
        cause: error,
      });
    });
  }

  /** The ingress namespace's address on docker_gwbridge, and that bridge's name here. */
  async #gateway(): Promise<{ address: string; bridge: string }> {
    const route = await this.#ask(['route', 'show', 'default']);
    const [, via, device] = /via (\S+) dev (\S+)/.exec(route) ?? [];
    const addresses = await this.#ask(['-o', 'address', 'show', 'dev', device ?? 'eth1']);
    const address = /inet (\d+\.\d+\.\d+\.\d+)\//.exec(addresses)?.[1];
    const here = await run(['ip', '-4', '-o', 'address', 'show']);
    const bridge = here
      .split('\n')
      .find(line => line.includes(` ${via}/`))
      ?.split(/\s+/)[1];
    if (via === undefined || address === undefined || bridge === undefined || !/^[\w.-]+$/.test(bridge)) {
      throw new EnvironmentError('the ingress network of the swarm has no gateway on this Pi yet', STAYS_AWAY);
    }
    return { address, bridge };
  }
}

/**
 * Docker's FORWARD chain drops what it does not know, and no rule of another table can overrule that: only Docker's own
 * chain for such rules can. Both directions, as containers on other bridges would be cut off on the way back.
 */
async function allowForwarding(address: string): Promise<void> {
  const wanted = [
    [
      '-d',
      `${address}/32`,
      '-m',
      'conntrack',
      '--ctstate',
      'DNAT',
      '-m',
      'comment',
      '--comment',
      COMMENT,
      '-j',
      'ACCEPT',
    ],
    [
      '-s',
      `${address}/32`,
      '-m',
      'conntrack',
      '--ctstate',
      'RELATED,ESTABLISHED',
      '-m',
      'comment',
      '--comment',
      COMMENT,
      '-j',
      'ACCEPT',
    ],
  ];
  const existing = await userRules();
  // Without the chain, the engine runs with --iptables=false and forbids nothing.
  if (existing === undefined) return;
  const ours = existing.filter(rule => rule.includes(COMMENT));
  if (ours.length === wanted.length && ours.every(rule => rule.includes(` ${address}/32 `))) return;
  await forbidForwarding();
  for (const rule of wanted) await run(['iptables', '-w', '5', '-I', USER_CHAIN, ...rule]);
}

async function forbidForwarding(): Promise<void> {
  for (const rule of (await userRules()) ?? []) {
    if (!rule.includes(COMMENT)) continue;
    await run(['iptables', '-w', '5', '-D', ...rule.split(' ').slice(1)]).catch(() => '');
  }
}

/** As `iptables -S` prints them; undefined where there is no such chain. */
async function userRules(): Promise<string[] | undefined> {
  const rules = await run(['iptables', '-w', '5', '-S', USER_CHAIN]).catch(() => undefined);
  return rules?.split('\n').filter(rule => rule.startsWith('-A '));
}

async function moduleInstalled(name: string): Promise<boolean> {
  const folder = `/lib/modules/${release()}`;
  const lists = ['modules.dep', 'modules.builtin'].map(file => readFile(`${folder}/${file}`, 'utf8').catch(() => ''));
  return (await Promise.all(lists)).some(list => list.includes(`/${name}.ko`));
}

/** Runs a program within a limit. @throws EnvironmentError with what it wrote to standard error */
function run(argv: string[], input?: string): Promise<string> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: COMMAND_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    let output = '';
    let complaint = '';
    child.stdout.on('data', (chunk: Buffer) => {
      if (output.length < OUTPUT_BYTES_MAX) output += chunk;
    });
    child.stderr.on('data', (chunk: Buffer) => {
      if (complaint.length < 2_000) complaint += chunk;
    });
    const fail = (reason: string, cause?: unknown) =>
      reject(
        new EnvironmentError(`${argv.slice(0, 4).join(' ')} failed: ${reason}`, 'Run pi-swarm doctor.', { cause }),
      );
    child.on('error', cause => fail(messageOf(cause), cause));
    child.on('close', (code, signal) =>
      code === 0 ? resolve(output) : fail(complaint.trim() || `ended with ${code ?? signal}`),
    );
    // A program that does not read its input must not end the agent with EPIPE.
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
  });
}
