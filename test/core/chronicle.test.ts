import { describe, expect, it } from 'vitest';
import {
  adopt,
  answerTo,
  type Chronicle,
  EMPTY_CHRONICLE,
  EVENTS_MAX,
  readVersion,
  select,
  versionOf,
  write,
} from '../../src/core/chronicle.ts';
import type { News, Told } from '../../src/core/event-types.ts';

const told = (more: Partial<Told> = {}): Told => ({ swarmId: 's', leader: 'n1', pis: [], ghosts: [], ...more });
const news = (text: string, more: Partial<News> = {}): News => ({ kind: 'joined', text, atMs: 1_000, ...more });
const written = (before: Chronicle, origin: string, ...texts: string[]): Chronicle =>
  write(
    before,
    origin,
    told(),
    texts.map(text => news(text)),
    5_000,
  );
const texts = (chronicle: Chronicle): string[] => chronicle.events.map(({ text }) => text);
const fetched = (own: Chronicle, from: Chronicle, manager = true): Chronicle =>
  adopt(own, structuredClone(answerTo(from, { version: versionOf(own), manager })));

describe('writing', () => {
  it('changes nothing when there is no news', () => {
    const one = written(EMPTY_CHRONICLE, 'a', 'one');
    expect(write(one, 'a', told(), [], 6_000)).toBe(one);
  });

  it('changes the version also when only what is remembered changed: a new leader needs it', () => {
    const one = written(EMPTY_CHRONICLE, 'a', 'one');
    expect(versionOf(write(one, 'a', told({ heartbeatMs: 2_000 }), [], 6_000))).toBe('a.2');
  });

  it('completes an open event in place, with the same id and time, once', () => {
    let it = write(EMPTY_CHRONICLE, 'a', told(), [news('lost', { key: 'k', open: true }), news('other')], 5_000);
    const [first] = it.events;
    it = write(it, 'a', told(), [news('lost, whole', { key: 'k', atMs: 4_000 })], 5_000);
    expect(it.events[0]).toEqual({ ...first, revision: 3, text: 'lost, whole' });
    expect(it.open).toEqual({});
    it = write(it, 'a', told(), [news('lost again', { key: 'k' })], 5_000);
    expect(texts(it)).toEqual(['lost, whole', 'other', 'lost again']);
  });

  it('keeps a bounded number of events, and forgets what was open with them', () => {
    let it = write(EMPTY_CHRONICLE, 'a', told(), [news('first', { key: 'k', open: true })], 5_000);
    for (let index = 0; index < EVENTS_MAX; index += 1) it = written(it, 'a', `${index}`);
    expect(it.events).toHaveLength(EVENTS_MAX);
    expect(it.open).toEqual({});
    it = write(it, 'a', told(), [news('whole', { key: 'k' })], 5_000);
    expect(texts(it).at(-1)).toBe('whole');
  });

  it('writes no line that others would refuse for its length', () => {
    expect(written(EMPTY_CHRONICLE, 'a', 'x'.repeat(9_000)).events[0]?.text).toHaveLength(400);
  });

  it('tells of nothing that lies ahead, whatever the clocks say', () => {
    const it = write(EMPTY_CHRONICLE, 'a', told(), [news('x', { atMs: 9e20 }), news('y', { atMs: -5 })], 5_000);
    expect(it.events.map(({ at }) => at)).toEqual(['1970-01-01T00:00:05.000Z', '1970-01-01T00:00:00.000Z']);
  });
});

describe('fetching', () => {
  it('brings what is new, and what was completed', () => {
    const one = write(EMPTY_CHRONICLE, 'a', told(), [news('lost', { key: 'k', open: true })], 5_000);
    const follower = fetched(EMPTY_CHRONICLE, one);
    const two = write(one, 'a', told(), [news('lost, whole', { key: 'k' }), news('back')], 5_000);
    const answer = answerTo(two, { version: versionOf(follower), manager: true });
    expect(answer.whole).toBe(false);
    const { from: _, ...same } = two;
    expect(adopt(follower, answer)).toEqual(same);
    expect(answerTo(written(two, 'a', 'more'), { version: versionOf(two), manager: true }).events).toHaveLength(1);
  });

  it('goes on after a change of writer without fetching everything again', () => {
    const one = written(EMPTY_CHRONICLE, 'a', 'one', 'two');
    const follower = fetched(EMPTY_CHRONICLE, one);
    const next = written(fetched(EMPTY_CHRONICLE, one), 'b', 'three');
    const answer = answerTo(next, { version: versionOf(follower), manager: true });
    expect(answer).toMatchObject({ whole: false, origin: 'b', revision: 3 });
    expect(texts(adopt(follower, answer))).toEqual(['one', 'two', 'three']);
  });

  it('takes the writer’s word where two have written at once', () => {
    const one = written(EMPTY_CHRONICLE, 'a', 'one');
    const cutOff = written(one, 'a', 'everybody is gone', 'really');
    const next = written(fetched(EMPTY_CHRONICLE, one), 'b', 'a is gone');
    expect(texts(fetched(cutOff, next))).toEqual(['one', 'a is gone']);
  });

  it('brings everything to one whose version is of somebody else', () => {
    const one = written(EMPTY_CHRONICLE, 'a', 'one');
    expect(texts(fetched(written(EMPTY_CHRONICLE, 'z', 'x', 'y', 'z'), one))).toEqual(['one']);
  });

  it('spares the many workers of a large cluster what only a leader needs', () => {
    const pi = (name: string) =>
      ({ nodeId: name, id: '', name, hardware: '', role: 'worker', state: 'here', use: 'active' }) as const;
    const large = told({ pis: Array.from({ length: 100 }, (_, index) => pi(`pi${index}`)) });
    const it = write(EMPTY_CHRONICLE, 'a', large, [news('one')], 5_000);
    expect(answerTo(it, { version: '', manager: false })).not.toHaveProperty('told');
    expect(answerTo(it, { version: '', manager: true })).toHaveProperty('told');
  });
});

it('selects by time, number and revision, in the order in which things happened', () => {
  const at = (second: number) => ({ atMs: second * 1000 });
  const it = write(
    EMPTY_CHRONICLE,
    'a',
    told(),
    [news('second', at(2)), news('first', at(1)), news('third', at(3))],
    9_000,
  );
  const shown = (query: Parameters<typeof select>[1]) => select(it, query).map(({ text }) => text);
  expect(shown({})).toEqual(['first', 'second', 'third']);
  expect(shown({ limit: 2 })).toEqual(['second', 'third']);
  expect(shown({ sinceMs: 2_500 })).toEqual(['third']);
  expect(shown({ after: 1 })).toEqual(['first', 'third']);
});

it.each(['', 'a', 'a.', '.x', 'a.1000000000', 'A.1', 'a.1.2', 'ä.1'])('%j is no version', text => {
  expect(readVersion(text).revision).toBe(0);
});
