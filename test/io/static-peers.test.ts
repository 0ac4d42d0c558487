import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { combineDiscovery, parseStaticPeer, StaticPeers } from '../../src/io/static-peers.ts';
import type { Discovery } from '../../src/ports.ts';

const clock = { random: () => 0.5 };

describe('the static list of peers', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('reads host and host:port', () => {
    expect(parseStaticPeer('10.0.0.2', 3378)).toEqual({ host: '10.0.0.2', port: 3378 });
    expect(parseStaticPeer('pi2.local:4000', 3378)).toEqual({ host: 'pi2.local', port: 4000 });
  });

  it('hints at once, again and again, and never after stop', async () => {
    const peers = new StaticPeers({ peers: ['a', 'b:1'], defaultPort: 3378, clock });
    const seen: string[] = [];
    peers.onHint(hint => seen.push(`${hint.host}:${hint.port}`));
    await peers.start();
    await vi.advanceTimersByTimeAsync(10);
    expect(seen).toEqual(['a:3378', 'b:1']);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(seen.length).toBeGreaterThan(10);
    await peers.stop();
    const before = seen.length;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(seen.length).toBe(before);
  });

  it('works beside a source that cannot start', async () => {
    const broken: Discovery = {
      start: () => Promise.reject(new Error('no multicast')),
      onHint: () => {},
      onGoodbye: () => {},
      stop: async () => {},
    };
    const both = combineDiscovery([broken, new StaticPeers({ peers: ['a'], defaultPort: 3378, clock })]);
    const seen: string[] = [];
    both.onHint(hint => seen.push(hint.host));
    await both.start();
    await vi.advanceTimersByTimeAsync(10);
    expect(seen).toEqual(['a']);
    await both.stop();
  });
});
