import { defineConfig } from 'vitest/config';

/**
 * `unit` runs its files in parallel; `lab` and `long` make virtual Pis with real engines, so one file at a time: two
 * cores carry one cluster well, and a time limit means something.
 */
export default defineConfig({
  test: {
    // A test that hangs says so itself, long before the runner's own limit.
    testTimeout: 20_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    retry: 0,
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['test/**/*.test.ts'], exclude: ['test/lab/**', 'test/long/**'] },
      },
      {
        extends: true,
        test: {
          name: 'lab',
          include: ['test/lab/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
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
