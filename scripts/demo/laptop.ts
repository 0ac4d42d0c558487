/** What stands beside the Pis on their LAN: a laptop with curl, and on it an MQTT broker that tells what goes over it. */
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { EnvironmentError, messageOf } from '../../src/errors.ts';
import { killInside } from '../../src/lab/enter.ts';
import type { Lab } from '../../src/lab/lab.ts';
import type { BrokerLine } from '../broker.ts';

export const BROKER_PORT = 1883;
const BROKER_WITHIN_MS = 10_000;
/** Long enough for a slow machine, short enough to see that a port answers nowhere. */
const CURL_SECONDS = 2;

export interface Message {
  /** performance.now() when it went over the broker. */
  atMs: number;
  topic: string;
  payload: string;
}

export interface Broker {
  /** The last retained payload of each topic; empty payloads remove theirs. */
  retained: ReadonlyMap<string, string>;
  /** All that went over it; a demo is short. */
  messages: readonly Message[];
  /** Lets go of it, so that this process can end. */
  close(): void;
}

/** Ends with the lab; and before that with this process, unless it `stays`. @throws EnvironmentError */
export async function startBroker(lab: Lab, stays: boolean): Promise<Broker> {
  const script = process.argv[1] ?? '';
  const child: ChildProcess = lab.spawn('laptop', [process.execPath, script, '--broker', stays ? 'stays' : 'ends'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  if (child.stdout === null || child.stderr === null) throw new EnvironmentError('The MQTT broker has no pipes.');
  const retained = new Map<string, string>();
  const messages: Message[] = [];
  let said = '';
  child.stderr.on('data', chunk => {
    said = `${said}${chunk}`.slice(-2000);
  });
  const lines = createInterface({ input: child.stdout });
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string) => reject(new EnvironmentError(`The MQTT broker did not start: ${why}`));
    const limit = setTimeout(() => fail(`nothing within ${BROKER_WITHIN_MS / 1000} s. ${said}`), BROKER_WITHIN_MS);
    child.on('error', error => fail(messageOf(error)));
    child.on('exit', code => fail(`it ended with ${code}. ${said}`));
    lines.on('line', text => {
      const line = JSON.parse(text) as BrokerLine;
      if (line.listening !== undefined) {
        clearTimeout(limit);
        resolve();
      }
      if (line.topic === undefined) return;
      const { topic, payload = '', retain } = line;
      messages.push({ atMs: performance.now(), topic, payload });
      if (retain && payload === '') retained.delete(topic);
      else if (retain) retained.set(topic, payload);
    });
  });
  const close = () => {
    for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe?.destroy();
    child.unref();
  };
  return { retained, messages, close };
}

/** Who answers at a Pi's port 80: the container id that whoami prints, or undefined when nobody does. */
export async function whoAnswers(lab: Lab, pi: string): Promise<string | undefined> {
  const url = `http://${lab.address(pi)}/`;
  const { code, stdout } = await lab.exec('laptop', ['curl', '-sS', '-m', `${CURL_SECONDS}`, url]);
  const id = /I'm ([0-9a-f]+)/.exec(stdout)?.[1];
  return code === 0 ? id : undefined;
}

/** `count` answers of one Pi, one after the other. */
export async function answersOf(lab: Lab, pi: string, count: number): Promise<(string | undefined)[]> {
  const answers: (string | undefined)[] = [];
  for (let asked = 0; asked < count; asked++) answers.push(await whoAnswers(lab, pi));
  return answers;
}

/** Asks a Pi again and again, ten times a second, until `stop`, which says how often somebody answered. */
export function keepAsking(lab: Lab, pi: string): { stop(): { asked: number; answered: number } } {
  const loop = 'while :; do curl -s -m 2 -o /dev/null -w "%{http_code}\\n" "$1"; sleep 0.1; done';
  const argv = ['sh', '-c', loop, 'sh', `http://${lab.address(pi)}/`];
  const child = lab.spawn('laptop', argv, { stdio: ['ignore', 'pipe', 'ignore'] });
  let codes = '';
  child.stdout?.on('data', chunk => {
    codes += chunk;
  });
  return {
    stop() {
      killInside(child, 'SIGKILL');
      const lines = codes.trim().split('\n');
      return { asked: lines.length, answered: lines.filter(code => code === '200').length };
    },
  };
}
