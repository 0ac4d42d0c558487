import { describe, expect, it } from 'vitest';
import { PeerDialer } from '../../src/io/peer-dialer.ts';
import { Refusals } from '../../src/io/refusals.ts';

/** `answer`: how a connection to a forged address ends. */
function make(answer: () => Promise<void>) {
  let nowMs = 1_000_000;
  const dialled: string[] = [];
  const dialer = new PeerDialer({
    now: () => nowMs,
    random: () => 0.5,
    ready: () => true,
    connect: async ({ host, port }) => {
      dialled.push(`${host}:${port}`);
      await answer();
    },
    isRefusal: () => true,
  });
  const pass = async (ms: number): Promise<void> => {
    nowMs += ms;
    await new Promise(setImmediate);
    dialer.tick();
  };
  return { dialer, dialled, pass };
}
const forged = (number: number) => ({ host: '10.0.0.66', port: 1024 + number });

describe('following hints', () => {
  it('greets a shelf of Pis at once', () => {
    const { dialer, dialled } = make(async () => {});
    for (let number = 0; number < 20; number++) dialer.hint(forged(number));
    expect(dialled).toHaveLength(20);
  });

  it('makes few handshakes a second, however many addresses are forged and however quickly they refuse', async () => {
    const { dialer, dialled, pass } = make(() => Promise.reject(new Error('another secret')));
    for (let tenth = 0; tenth < 100; tenth++) {
      for (let number = 0; number < 120; number++) dialer.hint(forged(tenth * 120 + number));
      await pass(100);
    }
    expect(dialled.length).toBeGreaterThan(100);
    expect(dialled.length).toBeLessThan(500);
  });

  it('gives every address its turn when there are more than can be dialled at once', async () => {
    const { dialer, dialled, pass } = make(async () => {});
    for (let number = 0; number < 300; number++) dialer.hint(forged(number));
    for (let tenth = 0; tenth < 120; tenth++) await pass(100);
    expect(new Set(dialled).size).toBe(300);
  });
});

describe('the log of refusals', () => {
  const knock = (times: number, from: (number: number) => string) => {
    const lines: string[] = [];
    const log = { warn: (_fields: unknown, text?: string) => void lines.push(text ?? '') };
    const refusals = new Refusals({ now: () => 1, wall: () => 1 }, log as never);
    for (let number = 0; number < times; number++) refusals.note('foreign', from(number), 'it has another secret');
    return { lines, count: refusals.summary().count };
  };

  it('lets others go first when an address has taken a connection and said nothing', async () => {
    const given: (() => void)[] = [];
    const { dialer, dialled, pass } = make(
      () => new Promise((_, reject) => given.push(() => reject(new Error('no connection')))),
    );
    for (let number = 0; number < 40; number++) dialer.hint(forged(number));
    expect(dialled).toHaveLength(32);
    for (const giveUp of given.splice(0)) giveUp();
    // All of them may be tried again by then, and whoever forges hints asks for it.
    for (let number = 0; number < 40; number++) dialer.hint(forged(number));
    await pass(60_000);
    expect(new Set(dialled).size).toBe(40);
  });

  it('has one line for a machine that answers on many ports', () => {
    const { lines, count } = knock(1000, number => `10.0.0.66:${number}`);
    expect(lines).toHaveLength(1);
    expect(count).toBe(1000);
  });

  it('has few lines for a machine that has many addresses', () => {
    expect(knock(1000, number => `10.0.${number >> 8}.${number & 255}`).lines.length).toBeLessThanOrEqual(32);
  });
});
