/**
 * The errors that pi-swarm shows to people. Each says what happened (`message`) and what to do (`cure`).
 * Anything else that is thrown is a bug and is printed with its stack.
 */

/** Exit codes of the command line; documented in docs/cli.md. */
export const EXIT = {
  ok: 0,
  /** A bug or an unforeseen failure: please report it. */
  failure: 1,
  /** Wrong words on the command line, or a mistake in a file. */
  usage: 2,
  /** What was asked for does not exist. */
  notFound: 3,
  /** The agent, the engine or a manager could not be reached. */
  unavailable: 4,
  /** It was understood and refused. */
  refused: 5,
  /** It did not finish within its limit. */
  timeout: 6,
  /** The machine lacks something (root, Linux, dockerd, a kernel feature). */
  environment: 7,
  /** `status` and `doctor` found something wrong with the cluster. */
  unhealthy: 8,
} as const;

export type ErrorCode = Exclude<keyof typeof EXIT, 'ok'>;

export class PiSwarmError extends Error {
  readonly code: ErrorCode;
  /** What the person can do about it; one or more lines. */
  readonly cure: string | undefined;

  constructor(code: ErrorCode, message: string, cure?: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.cure = cure;
  }

  /** The shape in which errors cross a socket: see `fromWire`. */
  toWire(): WireError {
    return { code: this.code, message: this.message, ...(this.cure === undefined ? {} : { cure: this.cure }) };
  }
}

export interface WireError {
  code: ErrorCode;
  message: string;
  cure?: string;
}

/** Wrong words on the command line; usage is printed with it. */
export class UsageError extends PiSwarmError {
  constructor(message: string, cure?: string) {
    super('usage', message, cure);
  }
}

/** A mistake in a configuration file; the message begins with `file:line:column`. */
export class ConfigError extends PiSwarmError {
  constructor(message: string, cure?: string) {
    super('usage', message, cure);
  }
}

/** The cluster secret is misspelt, missing or wrong. Never holds the secret itself. */
export class SecretError extends PiSwarmError {
  constructor(message: string, cure?: string) {
    super('usage', message, cure);
  }
}

/** Why a certificate was not believed; the words are counted and logged. */
export type TrustReason = 'foreign' | 'expired' | 'notYetValid' | 'id-mismatch' | 'client-cert' | 'malformed';

/** A peer, certificate or record that is not what it claims to be. */
export class TrustError extends PiSwarmError {
  readonly reason: TrustReason | undefined;
  constructor(message: string, cure?: string, options?: { cause?: unknown; reason?: TrustReason }) {
    super('refused', message, cure, options);
    this.reason = options?.reason;
  }
}

/** The Docker Engine is absent, slow, restarting or answered with an error. `status` is the HTTP status, where there was one. */
export class EngineError extends PiSwarmError {
  readonly status: number | undefined;
  constructor(message: string, cure?: string, options?: { cause?: unknown; status?: number; code?: ErrorCode }) {
    super(options?.code ?? 'unavailable', message, cure, options);
    this.status = options?.status;
  }
}

/** Another Pi's agent could not be reached or did not answer in time. */
export class PeerError extends PiSwarmError {
  constructor(message: string, cure?: string, options?: { cause?: unknown }) {
    super('unavailable', message, cure, options);
  }
}

export class NotFoundError extends PiSwarmError {
  constructor(message: string, cure?: string) {
    super('notFound', message, cure);
  }
}

/** Understood, and refused with the reason. */
export class RefusedError extends PiSwarmError {
  constructor(message: string, cure?: string) {
    super('refused', message, cure);
  }
}

export class TimeoutError extends PiSwarmError {
  constructor(message: string, cure?: string) {
    super('timeout', message, cure);
  }
}

/** The machine lacks something: root, Linux, dockerd, a kernel feature. */
export class EnvironmentError extends PiSwarmError {
  constructor(message: string, cure?: string, options?: { cause?: unknown }) {
    super('environment', message, cure, options);
  }
}

export const isPiSwarmError = (error: unknown): error is PiSwarmError => error instanceof PiSwarmError;

/** The text of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Rebuilds an error that came over a socket; anything that is not one becomes a plain failure. */
export function fromWire(value: unknown): PiSwarmError {
  const wire = (typeof value === 'object' && value !== null ? value : {}) as Partial<WireError>;
  // `in` would also find what every object has, such as `constructor`; and no error is `ok`.
  const { code, message, cure } = wire;
  const known = typeof code === 'string' && Object.hasOwn(EXIT, code) && (code as string) !== 'ok';
  const text = typeof message === 'string' ? message : 'no reason was given';
  return new PiSwarmError(known ? code : 'failure', text, typeof cure === 'string' ? cure : undefined);
}
