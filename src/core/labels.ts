/** Labels of nodes and of the swarm that every rule reads: the swarm itself remembers them, whoever leads it. */

/** Swarm label that marks a swarm as this cluster's. */
export const TAG_LABEL = 'pi-swarm.tag';
/** Node labels. */
export const ID_LABEL = 'pi-swarm.id';
export const HARDWARE_LABEL = 'pi-swarm.hardware';
/**
 * Set with a drain that pi-swarm did, so that a person's own is left alone. Value: `leave`, `shutdown`, or `drain` for `pi-swarm drain`,
 * which a return does not lift.
 */
export const LEAVING_LABEL = 'pi-swarm.leaving';
/** How a Pi that shuts down comes back: `marked` by `pi-swarm drain`, or in the `drain` or `pause` that a person wished. Absent: in use. */
export const RETURN_LABEL = 'pi-swarm.return';
