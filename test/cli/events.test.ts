/** `pi-swarm events`, on the real bundle and a real control socket. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { agoMsOf, renderEvents } from '../../src/cli/events.ts';
import { paintFor } from '../../src/cli/output.ts';
import type { EventList, EventQuestion } from '../../src/commands/types.ts';
import { type Chronicle, EMPTY_CHRONICLE, select, write } from '../../src/core/chronicle.ts';
import { type ClusterEvent, EVENT_KINDS, type News } from '../../src/core/event-types.ts';
import { EXIT } from '../../src/errors.ts';
import { FakeManager } from './fakes.ts';
import { snapshotOf } from './fixtures.ts';
import { Program } from './program.ts';

const NOW_MS = Date.parse('2026-05-01T16:50:00Z');

/** What happened, as the agent keeps it. */
class Told {
  chronicle: Chronicle = EMPTY_CHRONICLE;
  questions: EventQuestion[] = [];

  say(text: string, more: Partial<News> = {}): void {
    const news: News = { kind: 'joined', text, atMs: NOW_MS, ...more };
    this.chronicle = write(this.chronicle, 'a', { swarmId: 's', leader: '', pis: [], ghosts: [] }, [news], NOW_MS);
  }

  readonly answer = ({ agoMs, limit, after }: EventQuestion): EventList => {
    this.questions.push({ agoMs, limit, after });
    const query = {
      limit: limit ?? 200,
      after: after ?? 0,
      ...(agoMs === undefined ? {} : { sinceMs: NOW_MS - agoMs }),
    };
    return { revision: this.chronicle.revision, events: select(this.chronicle, query) };
  };
}

let program: Program;
let told: Told;

beforeAll(async () => {
  program = await Program.build();
});
beforeEach(async () => {
  await program.fresh();
  told = new Told();
});
afterEach(() => program.stop());
afterAll(() => program.remove());

const serve = () => program.serve(new FakeManager(), () => snapshotOf({ pis: 3 }), { events: told.answer });

describe('events', () => {
  test('one line each, oldest first', async () => {
    await serve();
    told.say('pi3 joined');
    told.say('pi4 lost power or its network · 2 tasks', { kind: 'lost', atMs: NOW_MS - 60_000 });
    const { code, out, err } = await program.run(['events'], { env: { TZ: 'UTC' } });
    expect([code, err]).toEqual([EXIT.ok, '']);
    expect(out).toBe('2026-05-01 16:49:00  pi4 lost power or its network · 2 tasks\n2026-05-01 16:50:00  pi3 joined\n');
  });

  test('nothing happened: says so', async () => {
    await serve();
    expect((await program.run(['events'])).out).toBe(
      'Nothing has happened to the cluster since its agents were started.\n',
    );
    expect((await program.run(['events', '--since', '10m'])).out).toMatch(/in the last 10m\.\n$/);
    expect(JSON.parse((await program.run(['events', '--json'])).out)).toEqual([]);
  });

  test.each([
    [false, 'pi2 has not heard the history yet: no leader answers.\n`pi-swarm status` shows which Pis are missing.\n'],
    [true, 'pi2 has not heard the history yet.\nAsk again in a few seconds.\n'],
  ])('nothing heard yet: does not say that nothing happened; a leader is there: %s', async (leader, text) => {
    const events = () => ({ revision: 0, events: [], unheard: { pi: 'pi2', leader } });
    await program.serve(new FakeManager(), () => snapshotOf({ pis: 3 }), { events });
    expect((await program.run(['events'])).out).toBe(text);
    expect((await program.run(['events', '--since', '10m'])).out).toBe(text);
    expect(JSON.parse((await program.run(['events', '--json'])).out)).toEqual([]);
  });

  test('--since and --limit choose, --json prints what MQTT carries', async () => {
    await serve();
    for (const minutes of [30, 20, 5])
      told.say(`${minutes} minutes ago`, { atMs: NOW_MS - minutes * 60_000, tasks: 1 });
    const since = await program.run(['events', '--since', '25m', '--json']);
    expect(JSON.parse(since.out)).toEqual(told.chronicle.events.slice(1));
    const limited = await program.run(['events', '--limit', '1']);
    expect(limited.out).toMatch(/5 minutes ago\n$/);
    expect(limited.out.split('\n')).toHaveLength(2);
  });

  test.each([
    [['--since', 'soon'], /--since soon is not a time\nWrite how long ago: 90s, 10m, 2h, 3d/],
    [['--limit', '0'], /from 1 to 200/],
    [['--limit', 'many'], /from 1 to 200/],
  ])('%j is a mistake of usage', async (words, message) => {
    const { code, out, err } = await program.run(['events', ...words]);
    expect(err).toMatch(message);
    expect([code, out]).toEqual([EXIT.usage, '']);
  });

  test('--follow prints what happens, a completed line again, and ends with Ctrl-C; it waits for an agent that restarts', async () => {
    await serve();
    told.say('pi1 joined');
    const env = { ...process.env, NO_COLOR: '1', PI_SWARM_CONFIG: program.config };
    const child = spawn(process.execPath, [program.path, 'events', '--follow'], { env });
    let out = '';
    let err = '';
    child.stdout.on('data', chunk => {
      out += chunk;
    });
    child.stderr.on('data', chunk => {
      err += chunk;
    });
    const lines = () => out.split('\n').flatMap(line => line.split('  ').slice(1));
    const shown = (count: number) => expect.poll(lines, { timeout: 15_000 }).toHaveLength(count);
    try {
      await shown(1);
      told.say('pi2 is lost', { key: 'k', open: true });
      await shown(2);
      told.say('pi2 is lost, its work runs elsewhere', { key: 'k' });
      await shown(3);
      await program.stop();
      await expect.poll(() => err, { timeout: 15_000 }).toMatch(/does not answer; waiting for it/);
      await serve();
      told.say('pi2 is back');
      await shown(4);
      expect(lines()).toEqual(['pi1 joined', 'pi2 is lost', 'pi2 is lost, its work runs elsewhere', 'pi2 is back']);
      child.kill('SIGINT');
      const [code] = await once(child, 'exit');
      expect(code).toBe(EXIT.ok);
    } finally {
      child.kill('SIGKILL');
    }
  }, 60_000);
});

test('times of today are short; a date stands before all of them where one is older', () => {
  const event = (at: Date): ClusterEvent => ({ id: 'a', revision: 1, at: at.toISOString(), kind: 'joined', text: 'x' });
  const plain = paintFor({ isTTY: false });
  const today = new Date(2026, 4, 1, 16, 41, 7);
  const before = new Date(2026, 3, 30, 9, 1, 2);
  expect(renderEvents([event(today)], plain, today)).toEqual(['16:41:07  x']);
  expect(renderEvents([event(before), event(today)], plain, today)).toEqual([
    '2026-04-30 09:01:02  x',
    '2026-05-01 16:41:07  x',
  ]);
});

test.each([
  ['90', 90_000],
  ['90s', 90_000],
  ['10m', 600_000],
  ['2h', 7_200_000],
  ['3d', 259_200_000],
])('--since %s', (text, ms) => {
  expect(agoMsOf(text)).toBe(ms);
});

test('docs/mqtt.md explains every kind of event', () => {
  const text = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'mqtt.md'), 'utf8');
  const rows = [...text.matchAll(/^\| ((?:`[a-z-]+`(?:, )?)+) \|/gm)].flatMap(
    ([, words]) => words?.match(/[a-z-]+/g) ?? [],
  );
  expect(EVENT_KINDS.filter(kind => !rows.includes(kind))).toEqual([]);
});
