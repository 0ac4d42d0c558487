/** Bundles agent and command line into one file, dist/pi-swarm.mjs; demo and bench each into one beside it. */
import { chmod, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(await readFile(`${root}/package.json`, 'utf8'));

/**
 * What the libraries can do and pi-swarm never asks of them: SSH, BuildKit over gRPC and build contexts (dockerode),
 * WebSockets and SOCKS (mqtt), Wi-Fi scans, printers and the like (systeminformation), worker threads (pino), messages
 * in 60 languages (zod). Together they are half of the file and a good part of the memory at rest.
 */
const LEFT_OUT = [
  /^(ssh2|cpu-features|@grpc\/grpc-js|@grpc\/proto-loader|protobufjs|tar-fs)$/,
  /^(ws|socks|thread-stream)$/,
  // Leaves cpu and what it needs.
  /^\.\/(wifi|bluetooth|audio|usb|printer|virtualbox|docker|users|internet|battery)$/,
  /^\.\/(osinfo|memory|graphics|filesystem|network|processes|system)$/,
  /^\.\.\/locales\/index\.js$/,
];

/** A module whose functions say that they are not there, but only when they are called. */
const stubOf = name => `module.exports = new Proxy({}, {
  get: (_, key) => key === '__esModule' || typeof key === 'symbol'
    ? undefined
    : function leftOut() { throw new Error(${JSON.stringify(`${name} is not part of pi-swarm: `)} + key); },
});`;

/**
 * `import` of one of Node's own modules reads every one of its exports, also those made when they are first read: the 140
 * root certificates of node:tls, all of Web Crypto. `require` does not: 0.4 MB less.
 */
const nodeModulesByRequire = {
  name: 'node-modules-by-require',
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path, kind }) =>
      kind === 'import-statement' ? { path, namespace: 'of-node' } : { path, external: true },
    );
    build.onLoad({ filter: /.*/, namespace: 'of-node' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)});`,
    }));
  },
};

const withoutUnused = {
  name: 'without-unused',
  setup(build) {
    for (const filter of LEFT_OUT) {
      build.onResolve({ filter }, ({ path, importer }) => {
        const relative = path.startsWith('.');
        if (relative && !/node_modules\/(systeminformation|zod)\//.test(importer)) return undefined;
        return { path, namespace: 'left-out' };
      });
    }
    build.onLoad({ filter: /.*/, namespace: 'left-out' }, ({ path }) => ({
      contents: path.startsWith('../locales') ? 'export {};' : stubOf(path),
    }));
    // The same code as Node's own streams, three times, for Nodes older than ours.
    build.onResolve({ filter: /^readable-stream$/ }, () => ({ path: 'node:stream', external: true }));
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
    // Short names save a quarter of the file, but then each function needs a call that gives it its name back: 2 MB more in
    // memory, and stacks that nobody can read.
    minifyWhitespace: true,
    minifySyntax: true,
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
    plugins: [withoutUnused, nodeModulesByRequire],
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
