import { describe, expect, it } from 'vitest';
import { addAddress, PeerTable } from '../../src/io/peer-table.ts';
import { statusOf } from './peers-helper.ts';

const hear = (table: PeerTable, id: string, nowMs: number, etag = 'e1') =>
  table.heard(id, nowMs, nowMs, { etag, status: statusOf(id, 1) });

describe('the table of peers', () => {
  it('makes nothing of a heartbeat without a status from somebody unknown', () => {
    const table = new PeerTable(1000);
    expect(table.heard('a', 0, 0)).toEqual([undefined, false]);
    expect(table.list(0)).toEqual([]);
  });

  it('tells of essential news only', () => {
    const table = new PeerTable(1000);
    expect(hear(table, 'a', 0)[1]).toBe(true);
    expect(hear(table, 'a', 1000, 'e2')[1]).toBe(false);
    const vitals = { etag: 'e3', status: statusOf('a', 1, { vitals: { cpuPercent: 90 }, tasks: 3 }) };
    expect(table.heard('a', 2000, 0, vitals)[1]).toBe(false);
    expect(table.heard('a', 3000, 0, { etag: 'e4', status: statusOf('a', 1, { intent: 'leave' }) })[1]).toBe(true);
  });

  it('blames nobody for a silence in which this process stood still', () => {
    const table = new PeerTable(1000);
    hear(table, 'a', 0);
    for (let now = 0; now <= 1000; now += 250) table.look(now);
    table.look(9000);
    expect(table.list(9000)[0]?.liveness).toBe('suspect');
    for (let now = 9250; now < 10_500; now += 250) table.look(now);
    expect(table.list(10_400)[0]?.liveness).toBe('suspect');
    expect(table.list(10_500)[0]?.liveness).toBe('dead');
  });

  it('takes up no more than 1024 peers', () => {
    const table = new PeerTable(1000);
    for (let i = 0; i < 1100; i++) hear(table, `p${i}`, 0);
    expect(table.list(0)).toHaveLength(1024);
  });

  it('forgets who was not heard for long', () => {
    const table = new PeerTable(1000);
    hear(table, 'a', 0);
    hear(table, 'b', 5000);
    expect(table.forget(10_000, 10_000).map(entry => entry.id)).toEqual(['a']);
    expect(table.list(10_000).map(peer => peer.id)).toEqual(['b']);
  });

  it('keeps four addresses of a peer, the best first', () => {
    const table = new PeerTable(1000);
    const [entry] = hear(table, 'a', 0);
    if (!entry) throw new Error('no entry');
    for (const port of [1, 2, 3, 4, 5]) addAddress(entry, { host: 'h', port }, false);
    expect(entry.addresses.map(({ port }) => port)).toEqual([1, 2, 3, 5]);
    addAddress(entry, { host: 'h', port: 3 }, true);
    addAddress(entry, { host: 'h', port: 2 }, false);
    expect(entry.addresses.map(({ port }) => port)).toEqual([3, 1, 2, 5]);
  });
});
