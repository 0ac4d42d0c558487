/** Names what one run of the tests has made. */

/** Environment variable: whatever the tests start inherits it. */
export const MARK = 'PI_SWARM_TESTS';

/** Environment variable: where all temporary files go; who sets it waits until that directory is gone. */
export const DIRECTORY = 'PI_SWARM_TESTS_DIRECTORY';

/** The beginning of the names of namespaces that are not the lab's. */
export const namePrefix = (mark = process.env[MARK]): string => `${mark ?? 'pisw-by-hand'}-`;
