/** One bounded call to the Docker Engine, with errors that a person can read. dockerode's modem does the HTTP. */
import { Agent } from 'node:http';
import Docker from 'dockerode';
import type { EngineState } from '../core/world.ts';
import { EngineError, type ErrorCode, messageOf } from '../errors.ts';

export const DEFAULT_SOCKET = '/var/run/docker.sock';
export const DEFAULT_TIMEOUT_MS = 10_000;
/** More calls than this at once means that something above lost its head. */
const CALLS_MAX = 64;

export interface EngineRequest {
  method: 'GET' | 'POST' | 'DELETE';
  /** Without version: the engine then speaks the newest version it knows. */
  path: string;
  query?: Record<string, string | number | boolean>;
  body?: object;
  /** Words for the error message, as in «could not WHAT». */
  what: string;
  timeoutMs?: number;
  /** A call to the swarm's managers: when it is late that says nothing about this engine. */
  swarm?: boolean;
}

/** Docker environment variables must not send the agent to another engine, so all of them are overridden. */
export function openClient(socketPath: string): { docker: Docker; close(): void } {
  // No keep-alive: a kept connection to an engine that restarted fails the next call, and a Unix socket opens at once.
  const agent = new Agent({ keepAlive: false });
  const fromEnvironment = {
    host: undefined,
    port: undefined,
    ca: undefined,
    cert: undefined,
    key: undefined,
    timeout: undefined,
  };
  const options = { ...fromEnvironment, socketPath, protocol: 'http' as const, agent };
  return { docker: new Docker(options), close: () => agent.destroy() };
}

export class EngineCalls {
  readonly #socketPath: string;
  readonly #timeoutMs: number;
  readonly #client: { docker: Docker; close(): void };
  readonly #inFlight = new Set<AbortController>();
  #stopped = false;
  #state: EngineState = 'absent';
  #problem: string | undefined;

  constructor(socketPath: string, timeoutMs = DEFAULT_TIMEOUT_MS) {
    this.#socketPath = socketPath;
    this.#timeoutMs = timeoutMs;
    this.#client = openClient(socketPath);
    this.#problem = `the Docker Engine on this Pi was not asked yet (${socketPath})`;
  }

  state(): EngineState {
    return this.#state;
  }

  problem(): string | undefined {
    return this.#state === 'ready' ? undefined : this.#problem;
  }

  /** The events stream knows of the engine's coming and going before any call does. */
  reachable(): void {
    this.#state = 'ready';
  }

  unreachable(cause: unknown): EngineError {
    const error = absentError(this.#socketPath, cause);
    this.#state = 'absent';
    this.#problem = error.message;
    return error;
  }

  /** @throws EngineError */
  request<T>(request: EngineRequest): Promise<T> {
    return this.run<T>(request, (docker, signal) => dial(docker, request, signal));
  }

  /** Runs any dockerode call within the limit. @throws EngineError */
  async run<T>(
    request: Pick<EngineRequest, 'what' | 'timeoutMs' | 'swarm'>,
    call: (docker: Docker, signal: AbortSignal) => Promise<unknown>,
  ): Promise<T> {
    if (this.#stopped) throw new EngineError(`could not ${request.what}: the agent is stopping`);
    if (this.#inFlight.size >= CALLS_MAX)
      throw new EngineError(`could not ${request.what}: too many calls are waiting for the engine`);
    const timeoutMs = request.timeoutMs ?? this.#timeoutMs;
    const abort = new AbortController();
    let late = false;
    const limit = setTimeout(() => {
      late = true;
      abort.abort();
    }, timeoutMs);
    this.#inFlight.add(abort);
    try {
      // The race keeps the limit also where the modem, after half an answer, never calls back.
      const answer = await Promise.race([call(this.#client.docker, abort.signal), aborted(abort.signal)]);
      this.#state = 'ready';
      return answer as T;
    } catch (cause) {
      throw this.#explain(cause, request, late ? timeoutMs : undefined);
    } finally {
      clearTimeout(limit);
      this.#inFlight.delete(abort);
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const abort of this.#inFlight) abort.abort();
    this.#client.close();
  }

  #explain(cause: unknown, request: Pick<EngineRequest, 'what' | 'swarm'>, lateMs: number | undefined): EngineError {
    if (cause instanceof EngineError) return cause;
    if (this.#stopped) return new EngineError(`could not ${request.what}: the agent is stopping`);
    const status = (cause as { statusCode?: number }).statusCode;
    if (status !== undefined) {
      this.#state = 'ready';
      return answeredError(request.what, status, engineText(cause), cause);
    }
    if (lateMs !== undefined) return this.#lateError(request, lateMs, cause);
    return this.unreachable(cause);
  }

  #lateError(request: Pick<EngineRequest, 'what' | 'swarm'>, lateMs: number, cause: unknown): EngineError {
    const seconds = Math.round(lateMs / 100) / 10;
    if (request.swarm) {
      return new EngineError(
        `could not ${request.what} within ${seconds} s: no swarm manager answered`,
        'When a manager was lost, the others need up to 20 s to elect a new leader: try again then. If it stays so, more than half of the managers are gone: pi-swarm nodes',
        { cause, code: 'timeout' },
      );
    }
    const message = `the Docker Engine on this Pi did not answer within ${seconds} s (${request.what}); it may be starting, or the SD card is slow`;
    this.#state = 'slow';
    this.#problem = message;
    return new EngineError(message, 'systemctl status docker; journalctl -u docker -n 50', { cause, code: 'timeout' });
  }
}

/** Characters of RFC 3986 section 3.3; neither empty segments nor `.` and `..`. */
const PATH = /^(?:\/(?!\.{1,2}(?:\/|$))[\w.~!$&'()*+,;=:@%[\]-]+)+$/;

function dial(docker: Docker, request: EngineRequest, signal: AbortSignal): Promise<unknown> {
  const { method, path, query, body } = request;
  // The engine answers others with a redirect to the tidy path, which the modem follows to any host, and crashes there.
  if (!PATH.test(path))
    throw new EngineError(`could not ${request.what}: there is no such path`, undefined, { code: 'refused' });
  const statusCodes = { 200: true, 201: true, 202: true, 204: true, 304: true } as unknown as Record<string, boolean>;
  // `?` makes the modem add the query; `_query` and `_body` keep it from sending one as the other.
  const options = {
    path: `${path}?`,
    method,
    statusCodes,
    abortSignal: signal,
    options: { _query: query ?? {}, _body: body ?? {} },
  };
  return new Promise((resolve, reject) => {
    docker.modem.dial(options, (error: unknown, data: unknown) => (error ? reject(error) : resolve(data)));
  });
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/** What the engine said, without dockerode's decoration and without join tokens. */
export function engineText(cause: unknown): string {
  const json = (cause as { json?: { message?: unknown } }).json;
  const text = typeof json?.message === 'string' ? json.message : messageOf(cause);
  return text
    .replace(/^rpc error: code = \w+ desc = /, '')
    .replace(/SWMTKN-[\w-]+/g, 'SWMTKN-…')
    .trim();
}

export function absentError(socketPath: string, cause: unknown): EngineError {
  const code = (cause as { code?: string }).code;
  if (code === 'EACCES' || code === 'EPERM') {
    return new EngineError(
      `the Docker Engine's socket ${socketPath} may not be opened by this user`,
      'Run it as root (sudo), or add yourself to the group "docker" and log in again.',
      { cause },
    );
  }
  const reason =
    code === 'ENOENT' ? 'there is no such socket' : code === 'ECONNREFUSED' ? 'nothing listens' : messageOf(cause);
  return new EngineError(
    `the Docker Engine on this Pi does not answer (${socketPath}: ${reason}): is it installed and running?`,
    'systemctl status docker; if it is not installed: apt-get install docker.io',
    { cause },
  );
}

function answeredError(what: string, status: number, text: string, cause: unknown): EngineError {
  if (/Timeout was reached before node/i.test(text)) {
    return new EngineError(
      `could not ${what} in time; the engine goes on trying in the background`,
      'Check that the other Pi answers on port 2377 (ping it, look at firewalls).',
      { cause, status, code: 'timeout' },
    );
  }
  if (/does not have a leader|context deadline exceeded/i.test(text)) {
    return new EngineError(
      `could not ${what}: the swarm has no leader, because more than half of its managers are gone`,
      'Power the missing managers on. If they are lost for good, "pi-swarm status" shows the line that recovers the swarm.',
      { cause, status },
    );
  }
  const code: ErrorCode = status === 404 ? 'notFound' : status >= 500 ? 'unavailable' : 'refused';
  return new EngineError(`could not ${what}: ${text}`, undefined, { cause, status, code });
}
