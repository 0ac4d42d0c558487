/**
 * `node scripts/run.mjs demo|bench …`: set-up, then scripts/NAME.ts, bundled, in this very process: one process gets
 * Ctrl-C, and it is the one that cleans up.
 */
import { explainAndExit, root, setUp } from './setup.mjs';

const [name, ...args] = process.argv.slice(2);
const needsMachine = !args.includes('--help') && !args.includes('-h');
await setUp({ lab: needsMachine }).catch(explainAndExit);

// Only now: esbuild is one of the packages that set-up puts there.
const { bundle } = await import('./build.mjs');
const bundled = `${root}/dist/${name}.mjs`;
await bundle(bundled, `scripts/${name}.ts`);
process.argv = [process.argv[0], bundled, ...args];
await import(bundled);
