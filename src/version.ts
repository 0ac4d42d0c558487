/** What esbuild writes into the bundle (scripts/build.mjs); absent when the sources run as they are, as in tests. */
declare const PI_SWARM_VERSION: string;
declare const PI_SWARM_BUILT_MS: number;

export const VERSION: string = typeof PI_SWARM_VERSION === 'string' ? PI_SWARM_VERSION : '0.0.0-dev';

/** Milliseconds since 1970. No running copy can be older than its build, so no clock that says so is right. */
export const BUILT_MS: number = typeof PI_SWARM_BUILT_MS === 'number' ? PI_SWARM_BUILT_MS : 0;
