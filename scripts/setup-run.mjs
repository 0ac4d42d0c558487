/** Runs one installer with a sign of life, keeps its output for the case that it fails, and never waits for ever. */
import { spawn } from 'node:child_process';

/** The machine lacks something that set-up cannot put there; `cure` is what the person can do. */
export class SetupError extends Error {
  constructor(message, cure) {
    super(message);
    this.cure = cure;
  }
}

const RETRIES = 20;
const RETRY_AFTER_MS = 10_000;

/**
 * @param {string} title what is being done
 * @param {string} file the program
 * @param {string[]} args
 * @param {{ cwd?: string, env?: object, limitMs: number, retryWhen?: RegExp, cure: string }} options
 *   retryWhen: output that means "somebody else is at it just now": tried again, 20 times at most.
 * @throws {SetupError} with the last lines that the program wrote
 */
export async function run(title, file, args, options) {
  const started = Date.now();
  const life = signOfLife(title);
  let ended = await once(file, args, options);
  for (let retry = 0; retry < RETRIES && ended.failed && options.retryWhen?.test(ended.output); retry++) {
    await new Promise(resolve => setTimeout(resolve, RETRY_AFTER_MS));
    ended = await once(file, args, options);
  }
  life.end(`${ended.failed ? 'failed' : 'done'} after ${((Date.now() - started) / 1000).toFixed(0)} s`);
  if (ended.failed === undefined) return;
  const said = excerpt(ended.output).map(line => `  | ${line}`);
  throw new SetupError([`${title}: ${ended.failed}.`, ...said].join('\n'), options.cure);
}

/** npm says what is wrong first, apt says it last. */
function excerpt(output) {
  const lines = output.split('\n').filter(line => line.trim() !== '' && !line.startsWith('npm warn'));
  return lines.length <= 14 ? lines : [...lines.slice(0, 7), '[…]', ...lines.slice(-7)];
}

/** @returns {Promise<{ failed?: string, output: string }>} never rejects */
function once(file, args, { cwd, env, limitMs }) {
  return new Promise(resolve => {
    const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = chunk => {
      output = (output + chunk).slice(-20_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const limit = setTimeout(() => child.kill('SIGKILL'), limitMs);
    const end = failed => {
      clearTimeout(limit);
      resolve(failed === undefined ? { output } : { failed, output });
    };
    child.on('error', error => end(error.message));
    child.on('close', (code, signal) => {
      if (signal !== null) end(`ended by ${signal}, or not done within ${limitMs / 60_000} minutes`);
      else end(code === 0 ? undefined : `it ended with exit code ${code}`);
    });
  });
}

function signOfLife(title) {
  if (!process.stdout.isTTY) {
    console.log(`${title} ...`);
    const timer = setInterval(() => console.log('  still at it ...'), 30_000);
    return {
      end(how) {
        clearInterval(timer);
        console.log(`  ${how}`);
      },
    };
  }
  const started = Date.now();
  const draw = how => process.stdout.write(`\r\x1b[K${title} ... ${how}`);
  draw('');
  const timer = setInterval(() => draw(`${Math.round((Date.now() - started) / 1000)} s`), 1000);
  return {
    end(how) {
      clearInterval(timer);
      draw(`${how}\n`);
    },
  };
}
