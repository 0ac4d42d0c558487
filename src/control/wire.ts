/** What both ends of the control socket share: its place, its limits, and how errors become HTTP statuses. */
import type { ErrorCode } from '../errors.ts';

export const DEFAULT_SOCKET = '/run/pi-swarm/agent.sock';

/** What an agent answers until it has looked around once: that passes by itself. */
export const JUST_STARTED = 'the agent has only just started';

/** Members of this group may use the socket without sudo. It lets them run containers, so it is as good as root. */
export const SOCKET_GROUP = 'pi-swarm';

export const CONTROL_LIMITS = {
  /** A deploy with 100 environment variables is 10 KB; more than this is a mistake. */
  requestBytes: 256 * 1024,
  /** A snapshot of 1000 Pis is about 500 KB. */
  responseBytes: 8 * 1024 * 1024,
  /** Command line calls are short; more at once means that something loops. */
  connections: 64,
  /** The whole request must have arrived by then. */
  requestMs: 10_000,
  /** The longest that a command may take; `deploy whoami` puts an image on every Pi first. */
  commandMs: 150_000,
} as const;

/** RFC 9110 §15: the nearest status for each of our codes. The body says the rest. */
export const HTTP_STATUS: Record<ErrorCode, number> = {
  failure: 500,
  usage: 400,
  notFound: 404,
  unavailable: 503,
  refused: 409,
  timeout: 504,
  environment: 500,
  unhealthy: 500,
};
