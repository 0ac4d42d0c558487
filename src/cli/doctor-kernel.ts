/** What the kernel has: by what is loaded, built in or installed as a module, and where that is not told, by trying. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { KERNEL_FEATURES, type KernelFeature } from './doctor-check.ts';

const TRY_MS = 3000;

export interface ModuleLists {
  /** Of modules.builtin and modules.dep; undefined when this kernel's are not installed here. */
  installed?: string;
  loaded(feature: KernelFeature): boolean;
}

/** Pure: true, false, or undefined where the lists cannot tell. */
export function fromLists(feature: KernelFeature, lists: ModuleLists): boolean | undefined {
  if (lists.loaded(feature)) return true;
  if (lists.installed === undefined) return undefined;
  const file = new RegExp(`/${feature.replaceAll('_', '[-_]')}\\.ko`, 'm');
  return file.test(lists.installed);
}

/** What shows that a feature works although it is not a module of that name (built in, or loaded under another). */
const TRACES: Record<KernelFeature, string[]> = {
  vxlan: [],
  bridge: ['/proc/sys/net/bridge'],
  overlay: [],
  nf_tables: [],
  br_netfilter: ['/proc/sys/net/bridge/bridge-nf-call-iptables'],
  ip_vs: ['/proc/net/ip_vs', '/proc/sys/net/ipv4/vs'],
};

/** In a network namespace of its own, which ends with the command: nothing of the machine is touched. */
const TRIES: Partial<Record<KernelFeature, string[]>> = {
  vxlan: ['ip', 'link', 'add', 'pi-swarm-try', 'type', 'vxlan', 'id', '42', 'dstport', '4789'],
  bridge: ['ip', 'link', 'add', 'pi-swarm-try', 'type', 'bridge'],
  nf_tables: ['nft', 'add', 'table', 'ip', 'pi-swarm-try'],
};

export async function kernelFeatures(): Promise<Record<KernelFeature, boolean | undefined>> {
  const folder = `/lib/modules/${release()}`;
  const [builtIn, modules, fileSystems] = await Promise.all(
    [`${folder}/modules.builtin`, `${folder}/modules.dep`, '/proc/filesystems'].map(path =>
      readFile(path, 'utf8').catch(() => undefined),
    ),
  );
  const lists: ModuleLists = {
    installed: modules === undefined ? undefined : `${builtIn ?? ''}\n${modules}`,
    loaded: feature =>
      existsSync(`/sys/module/${feature}`) ||
      TRACES[feature].some(existsSync) ||
      (feature === 'overlay' && /\boverlay$/m.test(fileSystems ?? '')),
  };
  const found = {} as Record<KernelFeature, boolean | undefined>;
  await Promise.all(
    KERNEL_FEATURES.map(async feature => {
      const listed = fromLists(feature, lists);
      found[feature] = listed === true ? true : ((await tryOut(feature)) ?? listed);
    }),
  );
  return found;
}

/** True when it worked, undefined when it did not: the tool may be missing, or we are not root. */
function tryOut(feature: KernelFeature): Promise<true | undefined> {
  const words = TRIES[feature];
  if (words === undefined || process.getuid?.() !== 0) return Promise.resolve(undefined);
  return new Promise(resolve => {
    execFile('unshare', ['--net', ...words], { timeout: TRY_MS }, problem =>
      resolve(problem === null ? true : undefined),
    );
  });
}

/** @returns which cgroup version limits memory, `off` when none does */
export async function memoryCgroup(): Promise<'v1' | 'v2' | 'off' | undefined> {
  const controllers = await readFile('/sys/fs/cgroup/cgroup.controllers', 'utf8').catch(() => undefined);
  const table = await readFile('/proc/cgroups', 'utf8').catch(() => undefined);
  return cgroupFrom(controllers, table);
}

/** Pure. `table`: /proc/cgroups, whose columns are name, hierarchy, number, enabled (cgroups(7)). */
export function cgroupFrom(
  controllers: string | undefined,
  table: string | undefined,
): 'v1' | 'v2' | 'off' | undefined {
  if (controllers?.split(/\s+/).includes('memory')) return 'v2';
  const memory = table
    ?.split('\n')
    .map(line => line.split(/\s+/))
    .find(([name]) => name === 'memory');
  if (memory === undefined) return controllers === undefined && table === undefined ? undefined : 'off';
  // Enabled, but in no hierarchy and not under v2 either: nobody mounted it.
  return memory[3] === '1' && controllers === undefined ? 'v1' : 'off';
}
