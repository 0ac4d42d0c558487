/**
 * HTTP requests at a steady rate, from where a person's laptop is; `load.ts` starts it and says what it may be told.
 * Plain JavaScript without dependencies: it runs in another network namespace, beside engines that need the processor more.
 */
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';

const TICK_MS = 10;
const COUNTS_EVERY_MS = 100;
/** Failures that are kept one by one; the rest is only counted. */
const FAILURES_MAX = 500;
const WHOAMI = /I'm ([0-9a-f]{12})/;

const { port, ratePerSecond, inFlightMax, timeoutMs, keepAliveClients, ...given } = JSON.parse(process.argv[2] ?? '{}');
let targets = given.targets;

/** A keep-alive client has one connection to each address, as a browser would have. */
const clients = Array.from({ length: keepAliveClients }, () => new Agent({ keepAlive: true, maxSockets: 1 }));

const usedSockets = new WeakSet();

let [sent, ok, failed, heldBack, retried, inFlight, next] = [0, 0, 0, 0, 0, 0, 0];
const failures = [];
const byTarget = {};
const answers = {};
const tookMs = [];

const say = value => process.stdout.write(`${JSON.stringify(value)}\n`);

/** One request. @returns {Promise<string>} the container that answered */
function ask(target, agent) {
  return new Promise((resolve, reject) => {
    // With `agent: false` Node makes a connection for this request alone and says `Connection: close`.
    const call = request({ host: target, port, path: '/', agent: agent ?? false }, response => {
      let text = '';
      response.setEncoding('latin1');
      response.on('data', chunk => {
        text += chunk;
      });
      response.on('error', fail);
      response.on('end', () => {
        clearTimeout(limit);
        const container = WHOAMI.exec(text)?.[1];
        if (response.statusCode === 200 && container !== undefined) resolve(container);
        else reject(new Error(`answered ${response.statusCode} ${JSON.stringify(text.slice(0, 40))}`));
      });
    });
    const limit = setTimeout(() => {
      const connected = call.socket?.connecting === false;
      call.destroy(new Error(connected ? 'no answer in time' : 'no connection in time'));
    }, timeoutMs);
    function fail(error) {
      clearTimeout(limit);
      // RFC 9112 §9.3.1: a server may close an idle connection just when the client uses it again; clients then try anew.
      error.retry = reused && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      reject(error);
    }
    let reused = false;
    call.on('socket', socket => {
      // `call.reusedSocket` is false for a request that waited until its connection was free.
      reused = usedSockets.has(socket);
      usedSockets.add(socket);
    });
    call.on('error', fail);
    call.end();
  });
}

async function send() {
  const target = targets[next % targets.length];
  const agent = clients[Math.floor(next / targets.length) % clients.length];
  next++;
  sent++;
  inFlight++;
  const atMs = Date.now();
  const began = performance.now();
  byTarget[target] ??= { ok: 0, failed: 0 };
  try {
    const container = await ask(target, agent).catch(error => {
      if (!error.retry) throw error;
      retried++;
      return ask(target);
    });
    ok++;
    byTarget[target].ok++;
    answers[container] ??= { requests: 0, firstAtMs: atMs, lastAtMs: atMs };
    answers[container].requests++;
    answers[container].lastAtMs = atMs;
    tookMs.push(performance.now() - began);
  } catch (error) {
    failed++;
    byTarget[target].failed++;
    const ms = Math.round(performance.now() - began);
    if (failures.length < FAILURES_MAX)
      failures.push({ atMs, tookMs: ms, target, reason: error.code ?? error.message });
  }
  inFlight--;
}

let due = 0;
let last = performance.now();
const ticking = setInterval(() => {
  const now = performance.now();
  // A pause of this process is no reason for a storm after it.
  due += (Math.min(now - last, 1000) / 1000) * ratePerSecond;
  last = now;
  for (; due >= 1; due--) {
    if (targets.length === 0) continue;
    if (inFlight < inFlightMax) void send();
    else heldBack++;
  }
}, TICK_MS);
const counting = setInterval(() => say({ counts: { sent, ok, failed, heldBack } }), COUNTS_EVERY_MS);

function percentile(share) {
  return Math.round((tookMs[Math.min(tookMs.length - 1, Math.floor(share * tookMs.length))] ?? 0) * 10) / 10;
}

async function end() {
  clearInterval(ticking);
  // Each request has its own limit, so this ends.
  while (inFlight > 0) await new Promise(resolve => setTimeout(resolve, TICK_MS));
  clearInterval(counting);
  tookMs.sort((a, b) => a - b);
  const latencyMs = { median: percentile(0.5), p99: percentile(0.99), worst: percentile(1) };
  say({ result: { sent, ok, failed, heldBack, retried, failures, targets: byTarget, answers, latencyMs } });
  for (const client of clients) client.destroy();
  process.stdin.destroy();
}

say({ counts: { sent, ok, failed, heldBack } });
for await (const line of createInterface({ input: process.stdin })) {
  const word = JSON.parse(line);
  if (word.targets === undefined) break;
  targets = word.targets;
  say({ targets });
}
// Also when whoever started this is gone: its end of the pipe is closed then.
await end();
