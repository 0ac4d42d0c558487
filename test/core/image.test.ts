import { describe, expect, it } from 'vitest';
import { isImageName } from '../../src/core/image.ts';

describe('the name of an image', () => {
  it.each([
    'nginx',
    'nginx:1.27',
    'nginx:1.27-alpine_x',
    'library/nginx',
    'registry.example.org/team/web',
    'registry.example.org:5000/team/sub/web:v1',
    'localhost/web',
    '127.0.0.1:1/pi-swarm/whoami:1',
    '[fd00::1]:5000/web',
    'my__web/a-b.c_d',
    `web@sha256:${'a'.repeat(64)}`,
    `r.io/web:1@sha256:${'0'.repeat(64)}`,
  ])('may be %s', name => expect(isImageName(name)).toBe(true));

  it.each([
    '',
    '../../etc',
    '..',
    'a/../b',
    './web',
    'a//b',
    '/web',
    'web/',
    '../info',
    'x?y=z&fromImage=evil',
    'x#y',
    'a b',
    'web\n',
    'web%2e%2e',
    'http://host/x',
    '-web',
    'web:',
    'web@sha256:xyz',
    'a'.repeat(600),
  ])('may not be %j', name => expect(isImageName(name)).toBe(false));

  it('is judged quickly, however long a word is', () => {
    const beganMs = performance.now();
    for (const part of ['a', 'a-', 'a.', 'a_', 'a/', '1:', '-a']) {
      isImageName(`${part.repeat(250)}!`);
    }
    expect(performance.now() - beganMs).toBeLessThan(1000);
  });
});
