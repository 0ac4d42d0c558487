/**
 * `node scripts/test.mjs [check|unit|lab|away|long|image …]`, default `check unit lab`: set-up, then each part, then one last line
 * `N passed, N failed, N skipped`, counted from what the runner wrote as JSON, not from what it printed.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { explainAndExit, root, setUp } from './setup.mjs';

const MINUTE_MS = 60_000;
const SWEEP_MS = 60_000;
const results = `${root}/dist/test-results`;
const bin = name => `${root}/node_modules/.bin/${name}`;

/** A part that hangs is ended at its limit, and counts as failed. */
const PARTS = {
  check: { limitMs: 5 * MINUTE_MS, run: check },
  unit: { limitMs: 15 * MINUTE_MS, run: () => vitest('unit') },
  lab: { limitMs: 25 * MINUTE_MS, run: () => vitest('lab') },
  away: { limitMs: 45 * MINUTE_MS, run: () => vitest('away') },
  long: { limitMs: 90 * MINUTE_MS, run: () => vitest('long') },
  image: { limitMs: 180 * MINUTE_MS, run: image },
};

const asked = withoutMachine(process.argv.slice(2));
const parts = asked.length > 0 ? asked : ['check', 'unit', 'lab'];
const unknown = parts.find(part => !(part in PARTS));
if (unknown !== undefined) {
  console.error(`There is no part "${unknown}" of the tests. There are: ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}

const onlyCheck = parts.every(part => part === 'check');
const withImage = parts.includes('image');
await setUp({ lab: !onlyCheck, tests: true, build: !onlyCheck, image: withImage, boot: withImage }).catch(
  explainAndExit,
);
rmSync(results, { recursive: true, force: true });
mkdirSync(results, { recursive: true });

const total = { passed: 0, failed: 0, skipped: 0 };
let interrupted = false;
for (const part of parts) {
  if (interrupted) break;
  const started = Date.now();
  const { passed, failed, skipped } = await PARTS[part].run();
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  console.log(`${part}: ${failed === 0 ? 'ok' : 'failed'} after ${Math.round((Date.now() - started) / 1000)} s\n`);
}

const ranNone = !onlyCheck && total.passed + total.failed === 0;
if (ranNone) console.error('Not a single test ran: that is a failure, too.');
process.exitCode = total.failed > 0 || ranNone ? 1 : 0;
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);

/** Formatter, linter and compiler: they say nothing when all is well; one that complains counts as one failure. */
async function check() {
  // Biome has no build for 32-bit ARM: there a Pi runs all the rest.
  const noBiome = process.arch === 'arm';
  const style = noBiome ? 0 : await inherit(bin('biome'), ['check', '--error-on-warnings', '.'], PARTS.check.limitMs);
  const types = await inherit(bin('tsc'), ['--noEmit'], PARTS.check.limitMs);
  return { passed: 0, failed: (style === 0 ? 0 : 1) + (types === 0 ? 0 : 1), skipped: noBiome ? 1 : 0 };
}

/** Builds the image of the architecture that the machine has, then boots it. */
async function image() {
  const machine = process.env.PI_SWARM_IMAGE_MACHINE;
  const arch = machine === 'raspi3b' ? 'arm64' : 'armhf';
  const script = `${root}/scripts/image.mjs`;
  const built = await inherit(process.execPath, [script, '--arch', arch], PARTS.image.limitMs);
  return built === 0 ? vitest('image') : { passed: 0, failed: 1, skipped: 0 };
}

/** `--machine raspi2b`: takes it out of the words, and hands it to the tests. */
function withoutMachine(words) {
  const at = words.indexOf('--machine');
  if (at < 0) return words;
  process.env.PI_SWARM_IMAGE_MACHINE = words[at + 1] ?? '';
  return words.toSpliced(at, 2);
}

/** @returns {Promise<{ passed: number, failed: number, skipped: number }>} */
async function vitest(project) {
  const file = `${results}/${project}.json`;
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  // Each test of the image goes on where the one before it ended.
  const bail = project === 'image' ? ['--bail=1'] : [];
  const directory = join(tmpdir(), `pisw-${randomBytes(4).toString('hex')}`);
  // Vitest's own temporary files go there, too: it leaves them behind when it is interrupted.
  mkdirSync(directory, { mode: 0o755 });
  const code = await inherit(
    bin('vitest'),
    ['run', '--project', project, '--passWithNoTests', ...bail, ...reporters],
    PARTS[project].limitMs,
    { PI_SWARM_TESTS_DIRECTORY: directory, TMPDIR: directory },
  );
  // Where the runner was interrupted, another process still removes what it left (test/guard).
  for (let tries = 0; tries < SWEEP_MS / 100 && existsSync(`${directory}/sweep.mjs`); tries++) await sleep(100);
  // Ended before that process was there.
  if (!existsSync(`${directory}/sweep.mjs`)) rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  const counted = count(file);
  // An error outside of any test, or a runner that was ended: a failure that no test's result shows.
  if (code !== 0 && counted.failed === 0) counted.failed = 1;
  return counted;
}

/** Vitest's JSON is Jest's: numPassedTests, numFailedTests, numPendingTests (skipped), numTodoTests; testResults a file. */
function count(file) {
  try {
    const report = JSON.parse(readFileSync(file, 'utf8'));
    // A file that cannot even be loaded has no tests in it that could fail.
    const broken = report.testResults.filter(
      ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
    );
    return {
      passed: report.numPassedTests,
      failed: report.numFailedTests + broken.length,
      skipped: report.numPendingTests + report.numTodoTests,
    };
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

/** In a process group of its own, so that at the limit the runner and its workers end together. @returns exit code */
function inherit(file, args, limitMs, env = {}) {
  return new Promise(resolve => {
    const child = spawn(file, args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
      env: { ...process.env, ...env },
    });
    const toGroup = signal => {
      try {
        process.kill(-child.pid, signal);
      } catch {
        // It has ended in this very moment.
      }
    };
    const interrupt = () => {
      interrupted = true;
      toGroup('SIGINT');
    };
    process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
    const limit = setTimeout(() => {
      console.error(`\n${args.join(' ')}: not done within ${limitMs / MINUTE_MS} minutes; ended.`);
      toGroup('SIGTERM');
      setTimeout(() => toGroup('SIGKILL'), 20_000).unref();
    }, limitMs);
    const end = code => {
      clearTimeout(limit);
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
      resolve(code);
    };
    child.on('error', error => {
      console.error(`${file} does not start: ${error.message}`);
      end(1);
    });
    child.on('close', (code, signal) => end(signal === null ? code : 1));
  });
}
