import { describe, expect, it } from 'vitest';
import { isPlausibleAddress, type MdnsRecord, readPacket, SERVICE_NAME, txtOf } from '../../src/io/mdns-record.ts';

const ID = 'a1'.repeat(8);
const TAG = 'b2'.repeat(8);
const INSTANCE = `${ID}.${SERVICE_NAME}`;
const pairs = { v: '1', tag: TAG, id: ID, port: '3378', name: 'pi1' };
const txt = (more: Record<string, string> = {}, name = INSTANCE, ttl = 120): MdnsRecord => ({
  name,
  type: 'TXT',
  ttl,
  data: Object.entries({ ...pairs, ...more }).map(([key, value]) => Buffer.from(`${key}=${value}`)),
});
const read = (...answers: MdnsRecord[]) => readPacket({ answers, additionals: [] }, '10.0.0.9');

describe('a packet from the network', () => {
  it('tells of a Pi: tag, id, port, and the sender’s address', () => {
    expect(read(txt())).toEqual({
      heard: [{ tag: TAG, id: ID, host: '10.0.0.9', port: 3378, goodbye: false }],
      invalid: 0,
    });
  });

  it('is what we announce ourselves', () => {
    expect(txtOf({ tag: TAG, id: ID, name: 'pi1', port: 3378 })).toEqual(pairs);
  });

  it('gives the address of the record that its service record points to, before the sender’s', () => {
    const srv = { name: INSTANCE, type: 'SRV', data: { target: 'x.local', port: 3378 } };
    const a = (name: string, data: string) => ({ name, type: 'A', data });
    expect(read(txt(), srv, a('other.local', '10.0.0.1'), a('X.local', '10.0.0.2')).heard[0]?.host).toBe('10.0.0.2');
  });

  it('is a goodbye when its time to live is zero', () => {
    expect(read(txt({}, INSTANCE, 0)).heard[0]?.goodbye).toBe(true);
  });

  it.each([
    ['an instance that is not the id', txt({}, `${'c3'.repeat(8)}.${SERVICE_NAME}`)],
    ['another version', txt({ v: '2' })],
    ['an id that is none', txt({ id: 'pi1' }, `pi1.${SERVICE_NAME}`)],
    ['a tag that is none', txt({ tag: '../../etc' })],
    ['port 0', txt({ port: '0' })],
    ['port 65536', txt({ port: '65536' })],
    ['a port that is none', txt({ port: '3378x' })],
    ['no data', { name: INSTANCE, type: 'TXT', ttl: 1 }],
    ['data of a wrong kind', { name: INSTANCE, type: 'TXT', ttl: 1, data: 'v=1' }],
  ])('is counted and ignored with %s', (_what, record) => {
    expect(read(record)).toEqual({ heard: [], invalid: 1 });
  });

  it.each(['127.0.0.1', '0.0.0.0', '224.0.0.251', '255.255.255.255', 'localhost', '::1', '10.0.0.1:80'])(
    'may not lead to %s',
    address => {
      expect(isPlausibleAddress(address)).toBe(false);
      const srv = { name: INSTANCE, type: 'SRV', data: { target: 'x.local' } };
      expect(read(txt(), srv, { name: 'x.local', type: 'A', data: address })).toEqual({ heard: [], invalid: 1 });
    },
  );

  it('is ignored, not counted, when it is about other services', () => {
    expect(read(txt({}, `${ID}._http._tcp.local`))).toEqual({ heard: [], invalid: 0 });
  });

  it('is read only in part when it is crowded', () => {
    const crowd = Array.from({ length: 200 }, () => txt());
    expect(read(...crowd).heard.length).toBeLessThanOrEqual(4);
    expect(read(...crowd.map(record => ({ ...record, type: 'A' })), txt()).heard).toEqual([]);
  });
});
