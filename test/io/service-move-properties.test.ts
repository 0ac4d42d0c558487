import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WirePlacement, WireServiceSpec } from '../../src/io/engine-map.ts';
import { blocked, ended, scaled, started, wishedPlacement, wishedReplicas } from '../../src/io/service-move.ts';
import { must, throughTheEngine, withPlacement } from './service-specs.ts';

const id = fc.stringMatching(/^[a-z0-9]{1,6}$/);
const constraint = fc.oneof(
  id.map(node => `node.id!=${node}`),
  fc.constantFrom('node.role==worker', 'node.labels.disk==ssd', 'node.hostname!=pi1'),
);
const placement: fc.Arbitrary<WirePlacement> = fc.record(
  {
    Constraints: fc.option(fc.array(constraint)),
    MaxReplicas: fc.nat(3),
    Platforms: fc.option(fc.array(fc.record({ OS: fc.constant('linux'), Architecture: id }))),
    Preferences: fc.array(fc.record({ Spread: fc.record({ SpreadDescriptor: id }) })),
  },
  { requiredKeys: [] },
);
const update = fc.record(
  {
    Parallelism: fc.nat(3),
    Delay: fc.nat(),
    FailureAction: fc.constantFrom('pause', 'continue', 'rollback'),
    Monitor: fc.nat(),
    MaxFailureRatio: fc.constantFrom(0, 0.5),
    Order: fc.constantFrom('stop-first', 'start-first'),
  },
  // The engine always gives it.
  { requiredKeys: ['MaxFailureRatio'] },
);
const usersSpec: fc.Arbitrary<WireServiceSpec> = fc
  .record(
    {
      Labels: fc.dictionary(id, fc.string()),
      placement,
      UpdateConfig: update,
      replicas: fc.nat(20),
      RollbackConfig: update,
    },
    { requiredKeys: ['Labels', 'replicas', 'placement'] },
  )
  .map(({ placement: Placement, replicas, ...rest }) => ({
    ...rest,
    TaskTemplate: { ContainerSpec: { Image: 'web' }, Placement },
    Mode: { Replicated: { Replicas: replicas } },
  }));
const aMove = fc.record({
  from: id,
  count: fc.integer({ min: 1, max: 5 }),
  why: fc.constantFrom('leave', 'rebalance', 'health', 'lost'),
});

const replicasOf = (spec: WireServiceSpec): number | undefined => spec.Mode?.Replicated?.Replicas;

describe('whatever the user wished', () => {
  it('comes back byte for byte when a move ends', () => {
    fc.assert(
      fc.property(usersSpec, aMove, fc.array(id), (spec, move, empty) => {
        const surge = must(started(spec, move));
        const block = must(blocked(throughTheEngine(surge), empty));
        for (const middle of [surge, block, throughTheEngine(block)]) {
          expect(wishedReplicas(middle)).toBe(replicasOf(spec));
          expect(wishedPlacement(middle)).toEqual(spec.TaskTemplate?.Placement);
        }
        const after = must(ended(throughTheEngine(block)));
        expect(after).toEqual(spec);
        expect(JSON.stringify(after.TaskTemplate)).toBe(JSON.stringify(spec.TaskTemplate));
        expect(JSON.stringify(after.UpdateConfig)).toBe(JSON.stringify(spec.UpdateConfig));
        expect(ended(surge)).toEqual(spec);
      }),
    );
  });

  it('and wishes in the middle of it, is what it gets', () => {
    fc.assert(
      fc.property(usersSpec, aMove, fc.nat(9), placement, fc.boolean(), (spec, move, wish, placed, early) => {
        const surge = must(started(spec, move));
        const middle = early ? surge : must(blocked(surge, ['x']));
        const rescaled = scaled(middle, wish) ?? middle;
        expect(wishedReplicas(rescaled)).toBe(wish);
        expect(replicasOf(ended(rescaled) ?? rescaled)).toBe(wish);
        // Ours and theirs together, as `docker service update --constraint-add` writes them.
        const now = middle.TaskTemplate?.Placement?.Constraints ?? [];
        const theirs = (placed.Constraints ?? []).filter(one => !now.includes(one));
        const changed = withPlacement(middle, { ...middle.TaskTemplate?.Placement, Constraints: [...now, ...theirs] });
        const users = spec.TaskTemplate?.Placement?.Constraints ?? [];
        expect(must(ended(changed)).TaskTemplate?.Placement?.Constraints ?? []).toEqual([...users, ...theirs]);
      }),
    );
  });
});
