/** Whatever happens in whatever order: each thing is told once, and in an order that makes sense. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EVENTS_MAX } from '../../src/core/chronicle.ts';
import { active, node } from './build.ts';
import { Story } from './story.ts';

/** Workers: without two of its three managers the leader would tell nothing. */
const NAMES = ['pi4', 'pi5', 'pi6'];

type Act = (story: Story, name: string) => void;

const has = (story: Story, name: string): boolean => story.nodes.some(({ hostname }) => hostname === name);

const ACTS: Record<string, Act> = {
  lose: (story, name) => story.lose(name, 4_000),
  'come back': (story, name) => {
    if (has(story, name)) story.comeBack(name, { boot: `b${story.nowMs}` });
  },
  'come back half': (story, name) => story.agent(name, {}, { liveness: 'alive' }),
  'engine away': (story, name) => story.change(name, { state: 'down' }),
  'engine there': (story, name) => story.change(name, { state: 'ready' }),
  'want to leave': (story, name) => story.agent(name, { intent: 'leave' }),
  'want to shut down': (story, name) => story.agent(name, { intent: 'shutdown' }),
  stay: (story, name) => story.agent(name, { intent: 'stay' }),
  'be gone': (story, name) => story.agent(name, { intent: 'left', swarm: { state: 'none' } }),
  drain: (story, name) => story.change(name, { availability: 'drain' }),
  use: (story, name) => story.change(name, { availability: 'active', labels: {} }),
  ail: (story, name) => story.change(name, { labels: { 'pi-swarm.unwell': 'hot' } }),
  remove: (story, name) => {
    story.nodes = story.nodes.filter(({ hostname }) => hostname !== name);
  },
  'join anew': (story, name) => {
    const nodeId = `${name}-${story.nowMs}`;
    story.nodes = [...story.nodes, node(name, { nodeId, createdAtMs: story.wallMs })];
    story.agent(name, { intent: 'stay', boot: nodeId, swarm: active(name, { nodeId }) }, { liveness: 'alive' });
  },
  'work there': (story, name) => story.run('whoami', 'pi1', name, name),
  'work elsewhere': story => story.run('whoami', 'pi1', 'pi1', 'pi1'),
};

const anyAct = fc.record({
  act: fc.constantFrom(...Object.keys(ACTS)),
  name: fc.constantFrom(...NAMES),
  passMs: fc.constantFrom(0, 250, 3_000, 20_000, 100_000),
});

const GONE = new Set(['lost', 'shut-down']);

describe('whatever happens', () => {
  it('is told once, numbered, bounded, and nobody comes back who was not gone', () => {
    fc.assert(
      fc.property(fc.array(anyAct, { minLength: 20, maxLength: 50 }), acts => {
        const story = new Story(6);
        const gone = new Map<string, boolean>();
        const told = new Set<string>();
        let revision = 0;
        for (const { act, name, passMs } of acts) {
          ACTS[act]?.(story, name);
          story.pass(passMs);
          for (const event of story.events().sort((a, b) => a.revision - b.revision)) {
            expect(event.revision).toBeGreaterThan(revision);
            revision = event.revision;
            expect(event.text).not.toMatch(/undefined|NaN|Infinity/);
            expect(event.durationMs ?? 0).toBeGreaterThanOrEqual(0);
            const { id, kind, pi = '' } = event;
            if (GONE.has(kind) && !told.has(id)) expect(gone.get(pi) ?? false, `${pi} ${kind}`).toBe(false);
            if (kind === 'back') expect(gone.get(pi), `${pi} ${kind}`).toBe(true);
            if (GONE.has(kind)) gone.set(pi, true);
            else if (['back', 'joined', 'replaced', 'forgotten', 'left'].includes(kind)) gone.set(pi, false);
            told.add(id);
          }
          expect(story.turn(), `twice after: ${act} ${name}`).toEqual([]);
          expect(story.chronicle.events.length).toBeLessThanOrEqual(EVENTS_MAX);
        }
      }),
      { numRuns: 100 },
    );
  });
});
