/**
 * On which Pis an image can run. The Docker CLI fills `Placement.Platforms` from the registry's answer; over the API it is
 * up to us, or the swarm starts an image on a Pi whose processor it is not made for («exec format error»). Pure.
 */
import type { SwarmNode } from '../core/world.ts';
import { RefusedError } from '../errors.ts';
import type { ImagePlatform } from '../ports.ts';

export interface Placement {
  /** As nodes report themselves; empty: anywhere. */
  platforms: { os: string; architecture: string }[];
  warnings: string[];
}

/** From Go's names to those of nodes (`uname -m`). Swarm itself only knows that amd64 is x86_64 and arm64 is aarch64. */
const RUNS_ON: Record<string, string[]> = {
  amd64: ['x86_64'],
  '386': ['i386', 'i686', 'x86_64'],
  arm64: ['aarch64'],
  'arm/v5': ['armv6l', 'armv7l'],
  'arm/v6': ['armv6l', 'armv7l'],
  'arm/v7': ['armv7l'],
  riscv64: ['riscv64'],
};

function nodeNames({ architecture, variant }: ImagePlatform): string[] {
  // An arm image that names no variant was made for the oldest one that its makers support: v7 is what is meant today.
  const key = architecture === 'arm' ? `arm/${variant ?? 'v7'}` : architecture;
  return RUNS_ON[key] ?? [architecture];
}

/**
 * @param offered what the image offers; undefined where nobody knows it
 * @throws RefusedError when it can run on none of the nodes
 */
export function placementOf(
  image: string,
  offered: readonly ImagePlatform[] | undefined,
  nodes: readonly SwarmNode[],
): Placement {
  if (offered === undefined || offered.length === 0) {
    const warning = `could not find out for which processors ${image} is made; it is tried everywhere`;
    return { platforms: [], warnings: [warning] };
  }
  const linux = offered.filter(platform => platform.os === 'linux');
  const names = [...new Set(linux.flatMap(nodeNames))];
  const usable = nodes.filter(node => node.state === 'ready');
  const fits = (node: SwarmNode) => names.includes(node.architecture);
  if (usable.length > 0 && !usable.some(fits)) {
    throw new RefusedError(
      `${image} runs on none of these Pis: it is made for ${offered.map(platformText).join(', ')}; ${pisText(usable)}`,
      'Look for a tag or another image that offers your processor (docker manifest inspect IMAGE), or build one on a Pi.',
    );
  }
  const without = usable.filter(node => !fits(node)).map(node => node.hostname);
  const warnings =
    without.length === 0
      ? []
      : [`${image} is not made for the processor of ${without.join(', ')}: it does not run there`];
  return { platforms: names.map(architecture => ({ os: 'linux', architecture })), warnings };
}

const platformText = ({ os, architecture, variant }: ImagePlatform): string =>
  [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');

/** `the Pis are aarch64 (pi1, pi2) and armv7l (pi3)` */
function pisText(nodes: readonly SwarmNode[]): string {
  const groups = [...new Set(nodes.map(node => node.architecture))].map(architecture => {
    const names = nodes.filter(node => node.architecture === architecture).map(node => node.hostname);
    names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
    return `${architecture} (${names.join(', ')})`;
  });
  return `the Pis are ${groups.join(' and ')}`;
}
