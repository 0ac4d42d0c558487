/** What people see while it works: one line on a terminal, few lines elsewhere. */
import { expect, test } from 'vitest';
import { Progress, type ProgressOutput } from '../../src/flash/progress.ts';

function watched(isTTY: boolean, total: number | undefined, title = 'Writing') {
  let text = '';
  let now = 0;
  const out: ProgressOutput = {
    isTTY,
    columns: 60,
    write: more => {
      text += more;
    },
  };
  const progress = new Progress(title, total, out, () => now);
  const at = (ms: number, bytes: number): void => {
    now = ms;
    progress.at(bytes);
  };
  return { progress, at, text: () => text };
}

test('a terminal gets one line with share, rate and time left', () => {
  const { progress, at, text } = watched(true, 1200e6);
  at(0, 0);
  at(1000, 20e6);
  at(1100, 22e6);
  at(2000, 40e6);
  expect(text().split('\r\u001b[K')).toEqual([
    'Writing    1 %  20 MB of 1.20 GB  20 MB/s  59 s left',
    'Writing    3 %  40 MB of 1.20 GB  20 MB/s  58 s left',
  ]);
  progress.done(1200e6, 'Written');
  expect(text().endsWith('\r\u001b[KWritten: 1.20 GB in 2 s, 600 MB/s\n')).toBe(true);
});

test('the rate is that of the last seconds', () => {
  const { at, text } = watched(true, 1000e6);
  for (let second = 0; second <= 10; second++) at(second * 1000, second * 50e6);
  for (let second = 11; second <= 30; second++) at(second * 1000, 500e6 + (second - 10) * 1e6);
  expect(text().split('\r\u001b[K').at(-1)).toBe('Writing   52 %  520 MB of 1.00 GB  1 MB/s  8 min 0 s left');
});

test('elsewhere each tenth has a line, and what is quick has none', () => {
  const slow = watched(false, 100e6);
  for (let step = 0; step <= 100; step++) slow.at(step * 1000, step * 1e6);
  expect(slow.text().match(/\n/g)).toHaveLength(10);
  expect(slow.text()).not.toContain('\r');
  const quick = watched(false, 100e6);
  for (let step = 0; step <= 100; step++) quick.at(step, step * 1e6);
  expect(quick.text()).toBe('');
});

test('where the whole is not known it says what is done', () => {
  const { at, text } = watched(true, undefined, 'Looking');
  at(0, 0);
  at(1000, 30e6);
  expect(text()).toBe('Looking  30 MB  30 MB/s');
});
