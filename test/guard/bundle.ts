/** Node 20 runs no TypeScript: scripts for processes of their own are bundled first. */
import { build } from 'esbuild';

/** @param entry a TypeScript file  @param outfile where the module for Node goes */
export async function bundleTo(outfile: string, entry: string): Promise<void> {
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    logLevel: 'error',
  });
}
