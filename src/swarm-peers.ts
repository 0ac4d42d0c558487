/** Which peers lead or manage a swarm, by their newest word. */
import type { ActiveSwarm, NodeId, PiStatus } from './core/world.ts';
import type { Peers } from './ports.ts';

export interface Member {
  id: NodeId;
  status: PiStatus;
  swarm: ActiveSwarm;
}

/** Peers in that swarm that are not dead. */
export function membersOf(peers: Pick<Peers, 'list'> | undefined, swarmId: string): Member[] {
  return (peers?.list() ?? []).flatMap(({ id, liveness, status }) => {
    const { swarm } = status;
    return liveness !== 'dead' && swarm.state === 'active' && swarm.swarmId === swarmId ? [{ id, status, swarm }] : [];
  });
}

export const leaderOf = (peers: Peers | undefined, swarmId: string): Member | undefined =>
  membersOf(peers, swarmId).find(({ swarm }) => swarm.leader);

/** Managers with a majority, the leader first. */
export const managersOf = (peers: Peers | undefined, swarmId: string): NodeId[] =>
  membersOf(peers, swarmId)
    .filter(({ swarm }) => swarm.quorum)
    .sort((a, b) => Number(b.swarm.leader) - Number(a.swarm.leader))
    .map(({ id }) => id);
