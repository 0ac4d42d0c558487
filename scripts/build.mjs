/** Bundles agent and command line into one file, dist/pi-swarm.mjs; demo and bench each into one beside it. */
import { chmod, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(await readFile(`${root}/package.json`, 'utf8'));

/**
 * dockerode and docker-modem can also speak SSH and BuildKit over gRPC; pi-swarm uses neither. Leaving them out saves
 * more than half of the memory at rest on a Pi.
 */
const left_out = /^(ssh2|cpu-features|@grpc\/grpc-js|@grpc\/proto-loader|protobufjs)$/;
const withoutUnused = {
  name: 'without-unused',
  setup(build) {
    build.onResolve({ filter: left_out }, ({ path }) => ({ path, namespace: 'left-out' }));
    build.onLoad({ filter: /.*/, namespace: 'left-out' }, ({ path }) => ({
      contents: `module.exports = new Proxy({}, { get(_, key) { throw new Error('${path} is not part of pi-swarm: ' + String(key)); } });`,
    }));
  },
};

/** @param {string} [outfile] where to  @param {string} [entry] what, from the project's folder */
export async function bundle(outfile = `${root}/dist/pi-swarm.mjs`, entry = 'src/cli.ts') {
  const result = await build({
    entryPoints: [`${root}/${entry}`],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    minify: true,
    keepNames: true,
    legalComments: 'none',
    metafile: true,
    define: { PI_SWARM_VERSION: JSON.stringify(version), PI_SWARM_BUILT_MS: String(buildTimeMs()) },
    banner: {
      js: [
        '#!/usr/bin/env node',
        "import { createRequire as piSwarmRequire } from 'node:module';",
        'const require = piSwarmRequire(import.meta.url);',
      ].join('\n'),
    },
    plugins: [withoutUnused],
    logLevel: 'warning',
  });
  await chmod(outfile, 0o755);
  return result.metafile;
}

/** SOURCE_DATE_EPOCH makes builds reproducible: https://reproducible-builds.org/specs/source-date-epoch/ */
function buildTimeMs() {
  const epoch = process.env.SOURCE_DATE_EPOCH;
  return epoch ? Number(epoch) * 1000 : Date.now();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundle();
