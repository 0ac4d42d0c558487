/** What the tests of moves need: specs as the engine gives them. */
import type { WirePlacement, WireServiceSpec } from '../../src/io/engine-map.ts';

/** A change that has to be one. */
export function must(spec: WireServiceSpec | undefined): WireServiceSpec {
  if (spec === undefined) throw new Error('nothing changed');
  return spec;
}

export const withPlacement = (spec: WireServiceSpec, Placement: WirePlacement) => ({
  ...spec,
  TaskTemplate: { ...spec.TaskTemplate, Placement },
});

/** As the engine gives a spec back: with its defaults, and in its own order. */
export function throughTheEngine(spec: WireServiceSpec): WireServiceSpec {
  const { Mode, UpdateConfig, ...rest } = JSON.parse(JSON.stringify(spec)) as WireServiceSpec;
  const update: { MaxFailureRatio?: number } | undefined = UpdateConfig;
  const given = update && { UpdateConfig: { ...update, MaxFailureRatio: update.MaxFailureRatio ?? 0 } };
  return { ...rest, ...given, ...(Mode && { Mode }) };
}
