/** What the rules about moving tasks read from a service. */
import { describe, expect, it } from 'vitest';
import { toServices, type WireService } from '../../src/io/engine-map.ts';
import { blocked, started } from '../../src/io/service-move.ts';
import { must } from './service-specs.ts';

const spec = { Mode: { Replicated: { Replicas: 2 } } };
const surging = must(started(spec, { from: 'a', count: 1, why: 'leave' }));
const seen = (Spec: WireService['Spec'], State: string) =>
  toServices([{ ID: 'web', Version: { Index: 1 }, Spec, UpdateStatus: { State } }], [], new Set())[0];

describe('a service that is updated', () => {
  it('says so, also when its update is paused half-way', () => {
    expect(seen(spec, 'updating')).toMatchObject({ updating: true });
    expect(seen(spec, 'updating')).not.toHaveProperty('updateHalted');
    for (const state of ['paused', 'rollback_paused']) {
      expect(seen(spec, state)).toMatchObject({ updating: true, updateHalted: true });
    }
    expect(seen(spec, 'completed')).not.toHaveProperty('updating');
  });

  it('says so in the middle of a move, but not of the marks that we write', () => {
    expect(seen(surging, 'updating')).toMatchObject({ updating: true });
    expect(seen(must(blocked(surging, [])), 'updating')).not.toHaveProperty('updating');
  });
});

it('a service has placement preferences also while its tasks move', () => {
  const racks = [{ Spread: { SpreadDescriptor: 'node.labels.rack' } }];
  const spread = (Preferences: object[] | null) => ({ ...spec, TaskTemplate: { Placement: { Preferences } } });
  const moving = must(started(spread(racks), { from: 'a', count: 1, why: 'leave' }));
  for (const it_ of [spread(racks), moving, must(blocked(moving, []))]) {
    expect(seen(it_, '')).toMatchObject({ preferences: true });
  }
  for (const none of [null, []]) expect(seen(spread(none), '')).not.toHaveProperty('preferences');
});
