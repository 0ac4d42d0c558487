/** Downloads from a real web server: whole, broken off, going on, sent elsewhere, wrong. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { download } from '../../src/flash/download.ts';
import { imageFile } from '../../src/flash/fetch-image.ts';
import { Workshop } from './card.ts';

const CONTENT = randomBytes(400_000);
const SUM = createHash('sha256').update(CONTENT).digest('hex');

let shop: Workshop;
let server: Server;
let base: string;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
const asked: string[] = [];
const notes: string[] = [];

beforeAll(async () => {
  shop = new Workshop();
  vi.stubEnv('XDG_CACHE_HOME', '');
  server = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers.range ?? ''}`.trim());
    answer(request, response);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  answer = whole;
});
afterEach(() => {
  asked.length = 0;
  notes.length = 0;
});
afterAll(async () => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  await new Promise(resolve => server.close(resolve));
  shop.remove();
});

const whole = (request: IncomingMessage, response: ServerResponse): void => {
  if (request.url?.endsWith('.sha256')) return void response.end(`${SUM}  x.img\n`);
  const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': CONTENT.length - from });
  response.end(CONTENT.subarray(from));
};

const fetched = (name: string) =>
  download(`${base}/${name}`, shop.path(name), { onNote: text => notes.push(text) }).then(() =>
    readFileSync(shop.path(name)),
  );

describe('a download', () => {
  test('that breaks off goes on where it stopped', async () => {
    answer = (request, response) => {
      if (request.headers.range !== undefined) return whole(request, response);
      response.writeHead(200, { 'content-length': CONTENT.length });
      response.write(CONTENT.subarray(0, 100_000), () => response.destroy());
    };
    expect((await fetched('broken.img')).equals(CONTENT)).toBe(true);
    expect(asked[1]).toMatch(/^\/broken.img bytes=\d+-$/);
    expect(notes[0]).toBe('The download stopped; going on (2 of 4).');
    expect(existsSync(shop.path('broken.img.part'))).toBe(false);
  });

  test('goes on with what an earlier run left, or starts anew where the server cannot', async () => {
    writeFileSync(shop.path('later.img.part'), CONTENT.subarray(0, 250_000));
    expect((await fetched('later.img')).equals(CONTENT)).toBe(true);
    expect(asked).toEqual(['/later.img bytes=250000-']);
    writeFileSync(shop.path('anew.img.part'), randomBytes(500_000));
    answer = (_request, response) => void response.end(CONTENT);
    expect((await fetched('anew.img')).equals(CONTENT)).toBe(true);
    expect(notes.at(-1)).toContain('starting anew');
    // More is there than the server has.
    writeFileSync(shop.path('odd.img.part'), randomBytes(500_000));
    answer = (request, response) =>
      request.headers.range === undefined ? whole(request, response) : void response.writeHead(416).end();
    expect((await fetched('odd.img')).equals(CONTENT)).toBe(true);
  });

  test('that breaks off every time ends, and keeps what it has for the next run', async () => {
    answer = (request, response) => {
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      response.writeHead(from > 0 ? 206 : 200, { 'content-length': CONTENT.length - from });
      response.write(CONTENT.subarray(from, from + 1000), () => response.destroy());
    };
    await expect(fetched('never.img')).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('/never.img cannot be downloaded'),
      cure: expect.stringContaining('goes on where it stopped'),
    });
    expect(asked).toHaveLength(4);
    expect(existsSync(shop.path('never.img'))).toBe(false);
  });

  test('is sent elsewhere a few times, not for ever and not to other protocols', async () => {
    const send = (to: string) => (_request: IncomingMessage, response: ServerResponse) =>
      void response.writeHead(302, { location: to }).end();
    answer = (request, response) =>
      request.url === '/moved.img' ? send('/there')(request, response) : whole(request, response);
    expect((await fetched('moved.img')).equals(CONTENT)).toBe(true);
    answer = send('/round');
    await expect(fetched('round.img')).rejects.toThrow(/sends us on more than 5 times/);
    answer = send('file:///etc/passwd');
    await expect(fetched('file.img')).rejects.toThrow(/sends us on to file:/);
  });

  test('of what is not there, or far too large, is refused', async () => {
    answer = (_request, response) => void response.writeHead(404).end();
    await expect(fetched('gone.img')).rejects.toMatchObject({ code: 'notFound' });
    answer = (_request, response) => void response.writeHead(503).end();
    await expect(fetched('busy.img')).rejects.toThrow('the server answers 503');
    answer = (_request, response) => {
      response.writeHead(200, { 'content-length': 20 * 1024 ** 3 });
      response.write('x');
    };
    await expect(fetched('huge.img')).rejects.toThrow('is larger than any image (16 GiB)');
  });

  test('without anybody who answers says so', async () => {
    await expect(download('http://127.0.0.1:1/x.img', shop.path('x'))).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('an image from the web', () => {
  const image = (url: string, sha256?: string) =>
    imageFile(url, {
      sha256,
      person: { home: shop.path('home'), owner: undefined },
      signal: new AbortController().signal,
      note: text => notes.push(text),
    });

  test('is checked by the .sha256 beside it, and kept for the next card', async () => {
    const path = await image(`${base}/x.img`);
    expect(readFileSync(path).equals(CONTENT)).toBe(true);
    expect(await image(`${base}/x.img`)).toBe(path);
    expect(asked).toEqual(['/x.img.sha256', '/x.img', '/x.img.sha256']);
    expect(notes).toEqual([`Downloaded before: ${path}`]);
  });

  test('with a wrong checksum is thrown away', async () => {
    const wrong = 'a'.repeat(64);
    for (const _ of [1, 2]) await expect(image(`${base}/y.img`, wrong)).rejects.toThrow(/checksum is wrong/);
    expect(asked).toEqual(['/y.img', '/y.img']);
  });

  test('without any checksum is not taken', async () => {
    answer = (request, response) =>
      request.url?.endsWith('.sha256') ? void response.writeHead(404).end() : whole(request, response);
    await expect(image(`${base}/z.img`)).rejects.toMatchObject({
      code: 'notFound',
      message: expect.stringContaining('z.img.sha256'),
    });
    await expect(image('ftp://example.org/z.img')).rejects.toThrow('cannot be downloaded');
  });
});
