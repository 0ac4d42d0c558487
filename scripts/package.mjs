/** `node scripts/package.mjs`: dist/pi-swarm_VERSION_all.deb, after looking for what that needs. */
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { relative } from 'node:path';
import { explainAndExit, root, setUp } from './setup.mjs';
import { SetupError } from './setup-run.mjs';

await setUp({ lab: false, build: false, pack: true }).catch(explainAndExit);

/** https://reproducible-builds.org/specs/source-date-epoch/, else when the newest change was made. @throws {SetupError} */
function sourceDateEpoch() {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined && /^\d{1,12}$/.test(given)) return Number(given);
  const cure = 'Say when the source was last changed: SOURCE_DATE_EPOCH=$(date +%s) npm run package';
  if (given !== undefined) throw new SetupError(`SOURCE_DATE_EPOCH is "${given}", not seconds since 1970.`, cure);
  try {
    return Number(execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8', stdio: 'pipe' }));
  } catch {
    throw new SetupError('The date of the package is that of the last commit, and there is no git history here.', cure);
  }
}

async function main() {
  const epochSeconds = sourceDateEpoch();
  process.env.SOURCE_DATE_EPOCH = `${epochSeconds}`;
  // Only now: esbuild is one of the packages that set-up puts there.
  const { bundle } = await import('./build.mjs');
  const bundled = `${root}/dist/package.mjs`;
  await bundle(bundled, 'scripts/package/deb.ts');
  const { makeDeb } = await import(bundled);
  const file = await makeDeb({ root, outDir: `${root}/dist`, epochSeconds, bundle });
  console.log(`${relative(process.cwd(), file)}  ${Math.round(statSync(file).size / 1024)} kB`);
  console.log(`On a Pi: sudo apt install ./${file.split('/').at(-1)}`);
}

await main().catch(explainAndExit);
