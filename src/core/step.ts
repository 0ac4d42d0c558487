/** Steps are data: what to do, never how. `src/executors.ts` maps each action to a few lines that do it. */
import type { Intent, NodeId, ServiceMove } from './world.ts';

export interface NodeRef {
  /** Swarm node id. */
  node: string;
  /** For people. */
  name: string;
}

export interface ServiceRef {
  service: string;
  /** For people. */
  serviceName: string;
}

export type Step =
  /** F2: `swarm init` on this Pi. */
  | { action: 'init' }
  /** F1: join the swarm of that peer as a worker. */
  | { action: 'join'; via: NodeId; name: string; swarmId: string }
  /** This engine forgets its swarm, to go to another or to come back anew. Its tasks stop. */
  | { action: 'abandon'; because: string }
  /** L1: the last act of leaving. `force` where the swarm can no longer be asked. */
  | { action: 'leave'; force: boolean }
  /** Keep in the state directory which swarm this Pi belongs to. */
  | { action: 'remember'; swarmId: string | undefined; swarmNodeId: string | undefined }
  /** F3: keep in the state directory that this Pi's swarm gives way to that one; undefined: no longer. */
  | { action: 'yield'; into: string | undefined }
  /** Keep in the state directory what this Pi means to do. */
  | { action: 'intend'; intent: Intent }
  /** Leader: the swarm's settings. */
  | { action: 'tune'; dispatcherHeartbeatMs: number; nodeCertExpiryMs: number; labels: Record<string, string> }
  /** Leader: who is who; `null` removes a label. */
  | ({ action: 'label'; labels: Record<string, string | null> } & NodeRef)
  | ({ action: 'drain'; labels: Record<string, string | null> } & NodeRef)
  /** Leader: no new tasks there; those that run stay. */
  | ({ action: 'pause'; labels: Record<string, string | null> } & NodeRef)
  /** Leader: start as many tasks of a service elsewhere as shall leave that Pi (`core/moving`). */
  | ({ action: 'move'; count: number; why: ServiceMove['why'] } & ServiceRef & NodeRef)
  /** Leader: the tasks that leave get successors that cannot start, also not on the nodes `empty` of this service; or, instead of them, those on the nodes `back`. */
  | ({ action: 'block-move'; empty: string[]; back?: string[] } & ServiceRef)
  /** Leader: the service is as its user wished again; what is in excess stops, blocked tasks first. */
  | ({ action: 'end-move' } & ServiceRef)
  | ({ action: 'activate'; labels: Record<string, null> } & NodeRef)
  | ({ action: 'promote' } & NodeRef)
  | ({ action: 'demote' } & NodeRef)
  | ({ action: 'remove'; force: boolean } & NodeRef)
  /** Another Pi has this one's name: take that one. The agent is started anew. */
  | { action: 'rename'; from: string; to: string }
  /** Make an image that every Pi should have (whoami). */
  | { action: 'make-image'; image: string };

/** What one turn of the loop decided: the rule of design §5, why in a sentence, and the steps in order. */
export interface Decision {
  /** `F1`, `M2` …, or `idle`. */
  rule: string;
  why: string;
  steps: Step[];
  /** L1: a Pi that shuts down may go now. */
  mayStop?: true;
}

export const wait = (rule: string, why: string): Decision => ({ rule, why, steps: [] });

/**
 * Node or service that this step changes, where it stands for itself: when it fails, steps that change others are carried
 * out all the same. Undefined where what follows builds on it.
 */
export function targetOf(step: Step): string | undefined {
  switch (step.action) {
    case 'move':
    case 'block-move':
    case 'end-move':
      return step.service;
    case 'label':
    case 'pause':
    case 'drain':
    case 'activate':
      return step.node;
    default:
      return undefined;
  }
}

/** One step as a sentence: for logs and tests. */
export function sentence(step: Step): string {
  switch (step.action) {
    case 'init':
      return 'init a new swarm';
    case 'join':
      return `join the swarm of ${step.name}`;
    case 'abandon':
      return `abandon the swarm: ${step.because}`;
    case 'leave':
      return step.force ? 'leave the swarm by force' : 'leave the swarm';
    case 'remember':
      return step.swarmId === undefined ? 'forget the swarm' : `remember swarm ${step.swarmId}`;
    case 'yield':
      return step.into === undefined ? 'keep the swarm after all' : `give way to swarm ${step.into}`;
    case 'intend':
      return step.intent === 'left' ? 'remember that it has left' : `intend to ${step.intent}`;
    case 'tune':
      return `tune the swarm: dispatcher heartbeat ${step.dispatcherHeartbeatMs} ms`;
    case 'label':
      return `label ${step.name}`;
    case 'rename':
      return `rename ${step.from} to ${step.to}`;
    case 'make-image':
      return `make image ${step.image}`;
    case 'move':
      return `move ${step.count} of ${step.serviceName} away from ${step.name}`;
    case 'block-move':
      return step.back === undefined
        ? `mark the tasks of ${step.serviceName} that go`
        : `take back the move of ${step.serviceName}`;
    case 'end-move':
      return `end the move of ${step.serviceName}`;
    case 'pause':
    case 'drain':
    case 'activate':
    case 'promote':
    case 'demote':
    case 'remove':
      return `${step.action} ${step.name}`;
  }
}

/** A whole decision as sentences: `promote pi3`, or `wait: quorum not healthy`. */
export const sentences = (decision: Decision): string[] =>
  decision.mayStop
    ? [`may stop: ${decision.why}`]
    : decision.steps.length === 0
      ? [`wait: ${decision.why}`]
      : decision.steps.map(sentence);
