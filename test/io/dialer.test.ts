import { describe, expect, it } from 'vitest';
import { PeerDialer } from '../../src/io/peer-dialer.ts';
import { Refusals } from '../../src/io/refusals.ts';

/** `answer`: how a connection to a forged address ends. */
function make(answer: () => Promise<void>, refused = true) {
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
    isRefusal: () => refused,
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

  it('gives a Pi its turn beside a host that takes connections on many ports, says nothing, and is hinted at without end', async () => {
    const given: (() => void)[] = [];
    const silent = () =>
      new Promise<void>((_, reject) => given.push(() => reject(new Error('no connection within 10000 ms'))));
    const { dialer, dialled, pass } = make(silent, false);
    const PORTS = 36;
    const hintAtAll = () => {
      for (let number = 0; number < PORTS; number++) dialer.hint(forged(number));
    };
    hintAtAll();
    expect(dialled).toHaveLength(32);
    // One after the other they are given up, and the next is dialled, as in ten seconds each.
    for (let times = 0; times < 200; times++) {
      if (times === 50) dialer.hint({ host: '10.0.0.7', port: 3378 });
      given.shift()?.();
      await pass(320);
      hintAtAll();
    }
    expect(dialled.length).toBeGreaterThan(150);
    expect(dialled).toContain('10.0.0.7:3378');
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
