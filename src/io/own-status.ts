/** What this Pi says of itself, and under which name, so that nobody is told twice. */
import type { PiStatus } from '../core/world.ts';
import type { Beat } from './peer-protocol.ts';
import { essenceOf, type PeerEntry } from './peer-table.ts';

/** `same`: nothing new. `news`: may wait for the next heartbeat. `essential`: others wait for it. */
export type Novelty = 'same' | 'news' | 'essential';

export class OwnStatus {
  #status: PiStatus | undefined;
  #said = '';
  #changes = 0;

  get status(): PiStatus | undefined {
    return this.#status;
  }

  /** Changes with each status that differs in more than the time of day. */
  get etag(): string {
    return this.#status ? `${this.#status.boot}.${this.#changes}` : '';
  }

  set(status: PiStatus): Novelty {
    const before = this.#status;
    this.#status = status;
    // The time of day is in each heartbeat anyway.
    const says = JSON.stringify({ ...status, wallMs: 0 });
    if (says === this.#said) return 'same';
    this.#said = says;
    this.#changes += 1;
    return before && essenceOf(before) === essenceOf(status) ? 'news' : 'essential';
  }

  /** One direction of a heartbeat: the status itself only for those who have not seen it. */
  beatFor(peer: Pick<PeerEntry, 'etag' | 'acknowledged'> | undefined, wallMs: number): Beat {
    const known = this.#status === undefined || peer?.acknowledged === this.etag;
    return { etag: this.etag, seen: peer?.etag ?? '', wallMs, ...(known ? {} : { status: this.#status }) };
  }
}
