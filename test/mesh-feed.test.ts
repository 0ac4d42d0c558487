import { describe, expect, it } from 'vitest';
import { turn } from '../src/core/turn.ts';
import { MeshFeed } from '../src/mesh-feed.ts';
import { leading, manager } from './core/build.ts';

/** pi1 leads: it makes the table itself. */
const nodes = [manager('pi1')];
const { world } = turn(leading(nodes));
const view = { nodes, services: [], tasks: [] };

const appliedWhen = (inForce: boolean | undefined): { applied: string | undefined; version: string } => {
  const feed = new MeshFeed({
    sink: { inForce: () => inForce, update: () => {} },
    peers: () => undefined,
    trouble: () => {},
  });
  expect(feed.applied()).toBeUndefined();
  feed.onTurn(world, view);
  return { applied: feed.applied(), version: feed.versionOf(view) };
};

describe('what a Pi says of its published ports', () => {
  it('is their version, once they follow it', () => {
    const { applied, version } = appliedWhen(true);
    expect(applied).toBe(version);
  });

  // Saying nothing would mean that nobody has to wait: old tasks were stopped while new connections still went to them.
  it('is no version while the rules are being written', () => {
    const { applied, version } = appliedWhen(false);
    expect(applied).toBeDefined();
    expect(applied).not.toBe(version);
  });

  it('is nothing where there can be no rules', () => expect(appliedWhen(undefined).applied).toBeUndefined());
});
