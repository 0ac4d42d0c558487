import { defineConfig } from 'vitest/config';

/** Pis that leave, die, come back and fall ill, under load where it matters: too long for every day. */
const AWAY = [
  'events',
  'flapping',
  'health',
  'interrupted',
  'leftover',
  'package',
  'planned',
  'rebalance',
  'rebalance-faults',
  'systemd',
];
const away = AWAY.map(name => `test/lab/${name}.test.ts`);

/**
 * `unit` runs its files in parallel; `lab`, `away`, `long` and `image` make virtual Pis with real engines, so one file at a time: two
 * cores carry one cluster well, and a time limit means something.
 */
export default defineConfig({
  test: {
    // A test that hangs says so itself, long before the runner's own limit.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
    retry: 0,
    globalSetup: 'test/guard/set-up.ts',
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/lab/**', 'test/long/**', 'test/image/**'],
        },
      },
      {
        extends: true,
        test: {
          name: 'lab',
          include: ['test/lab/**/*.test.ts'],
          exclude: away,
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
      {
        extends: true,
        test: { name: 'away', include: away, fileParallelism: false, testTimeout: 400_000, hookTimeout: 180_000 },
      },
      {
        extends: true,
        // Whole virtual machines in software emulation: what takes a second on a Pi takes a minute here.
        test: {
          name: 'image',
          include: ['test/image/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 2_400_000,
          hookTimeout: 2_400_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'long',
          include: ['test/long/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 900_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
