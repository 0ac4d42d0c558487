/** What `doctor` finds out (facts) and what it makes of it (checks). */
import type { Notice, Snapshot } from '../core/snapshot.ts';

export type Verdict = 'ok' | 'warning' | 'error';

export interface Check {
  /** Stable word for programs; listed in docs/troubleshooting.md. */
  name: string;
  verdict: Verdict;
  text: string;
  cure?: string;
}

export const ok = (name: string, text: string): Check => ({ name, verdict: 'ok', text });
export const warning = (name: string, text: string, cure: string): Check => ({ name, verdict: 'warning', text, cure });
export const error = (name: string, text: string, cure: string): Check => ({ name, verdict: 'error', text, cure });

export const KERNEL_FEATURES = ['vxlan', 'bridge', 'overlay', 'nf_tables', 'br_netfilter', 'ip_vs'] as const;
export type KernelFeature = (typeof KERNEL_FEATURES)[number];

export interface EngineFacts {
  socket: string;
  version?: string;
  apiVersion?: string;
  swarmState?: string;
  /** Managers only: whether the swarm carries pi-swarm's label. */
  swarmIsOurs?: boolean;
  memoryLimit?: boolean;
  /** Why it does not answer. */
  problem?: string;
}

export interface PortFacts {
  port: number;
  protocol: 'tcp' | 'udp';
  /** Something is bound to it. */
  held: boolean;
  /** The process that holds it, where root may know; undefined for the kernel's own. */
  holder?: string;
}

/** Everything is undefined where it could not be found out. */
export interface DoctorFacts {
  root: boolean;
  platform: string;
  nodeVersion: string;
  wallMs: number;
  /** 0: run from source. */
  builtMs: number;
  configProblem?: string;
  engine: EngineFacts;
  /** Addresses on which something listens on 2375, and whether a Docker Engine answers there. */
  openEngine: { addresses: string[]; answers: boolean };
  secret: { path: string; state: 'ok' | 'absent' | 'unreadable' | 'damaged'; mode?: number; problem?: string };
  stateDir: { path: string; exists: boolean; mode?: number; freeBytes?: number; totalBytes?: number };
  kernelRelease: string;
  kernel: Record<KernelFeature, boolean | undefined>;
  memoryCgroup: 'v1' | 'v2' | 'off' | undefined;
  machineId: string | undefined;
  /** What the first boot of the card image found; empty elsewhere. */
  bootNotices?: Notice[];
  agentPort: number;
  ports: PortFacts[];
  interfaces: { name: string; address: string; multicast?: boolean }[];
  /** Interface of the default route. */
  defaultRoute?: string;
  agent: { running: boolean; problem?: string; snapshot?: Snapshot };
}
