/** Raft's majority of `count` voters. */
export const majority = (count: number): number => Math.floor(count / 2) + 1;
