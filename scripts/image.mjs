/** `node scripts/image.mjs --arch armhf|arm64 …`: what that needs, the agent's package, then the card image. */
import { explainAndExit, root, setUp } from './setup.mjs';

const args = process.argv.slice(2);
const onlyHelp = args.includes('--help') || args.includes('-h');
await setUp({ lab: false, build: false, pack: !onlyHelp, image: !onlyHelp }).catch(explainAndExit);

// Only now: esbuild is one of the packages that set-up puts there.
const { bundle } = await import('./build.mjs');
const bundled = `${root}/dist/image.mjs`;
await bundle(bundled, 'image/main.ts');
process.argv = [process.argv[0], bundled, ...args];
await import(bundled);
