/** Whether an engine of the lab answers, and why not. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { get } from 'node:http';
import { EngineError, TimeoutError } from '../errors.ts';
import { until } from './process.ts';

const PING_TIMEOUT_MS = 2_000;

/** `GET /_ping` */
export function engineAnswers(socketPath: string): Promise<boolean> {
  return new Promise(resolve => {
    const request = get({ socketPath, path: '/_ping', timeout: PING_TIMEOUT_MS, agent: false }, response => {
      response.resume();
      response.on('close', () => resolve(response.statusCode === 200));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}

export interface EngineWait {
  name: string;
  socketPath: string;
  logFile: string;
  isOn: () => boolean;
  timeoutMs: number;
  signal?: AbortSignal;
}

/** @throws EngineError with the end of dockerd's log */
export async function waitForEngine({ name, socketPath, logFile, isOn, timeoutMs, signal }: EngineWait): Promise<void> {
  const explain = (what: string) => new EngineError(`${what}\n${tailOf(logFile, 15)}`, `The whole log is ${logFile}`);
  const check = async () => {
    if (!isOn()) throw explain(`${name} went off before its engine answered. The end of its log:`);
    return engineAnswers(socketPath);
  };
  try {
    await until('', check, { timeoutMs, everyMs: 50, signal });
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error;
    throw explain(`The engine of ${name} did not answer within ${timeoutMs / 1000} s. The end of its log:`);
  }
}

const TAIL_BYTES = 64 * 1024;

/** The last lines of a file; empty when there is none. */
export function tailOf(file: string, lines: number): string {
  try {
    const handle = openSync(file, 'r');
    const { size } = fstatSync(handle);
    const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
    readSync(handle, buffer, 0, buffer.length, size - buffer.length);
    closeSync(handle);
    return buffer.toString('utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '';
  }
}
