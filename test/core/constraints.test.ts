/** Placement constraints and platforms by swarmkit's rules. */
import { describe, expect, it } from 'vitest';
import { holds, parseConstraint, platformFits } from '../../src/core/constraints.ts';
import { node } from './build.ts';

const pi = node('pi3', { role: 'manager', architecture: 'aarch64', labels: { Disk: 'SSD', 'a.b': '' } });

describe('a constraint', () => {
  it.each<[string, boolean | undefined]>([
    ['node.id==node-pi3', true],
    ['node.id != node-pi3', false],
    ['node.hostname == PI3', true],
    ['NODE.HOSTNAME==pi2', false],
    ['node.role==manager', true],
    ['node.role!=worker', true],
    ['node.platform.os==linux', true],
    ['node.platform.arch==aarch64', true],
    ['node.platform.arch!=x86_64', true],
    ['node.labels.Disk==ssd', true],
    ['node.labels.disk==ssd', false],
    ['node.labels.Disk!=hdd', true],
    ['node.labels.none==x', false],
    ['node.labels.none!=x', true],
    ['node.labels.a.b==', true],
    ['node.labels.constructor==x', false],
    ['node.labels.__proto__!=x', true],
    ['engine.labels.x==1', undefined],
    ['node.ip==10.0.0.3', undefined],
    ['node.nothing==x', false],
    ['node.nothing!=x', false],
  ])('%s', (text, expected) => {
    const constraint = parseConstraint(text);
    expect(constraint && holds(constraint, pi)).toBe(expected);
  });

  it.each(['', 'node.id', 'node.id=x', '==x', '9==x'])('«%s» is none', text => {
    expect(parseConstraint(text)).toBeUndefined();
  });
});

it.each<[{ os: string; architecture: string }[] | undefined, boolean]>([
  [undefined, true],
  [[], true],
  [[{ os: 'linux', architecture: 'arm64' }], true],
  [[{ os: 'linux', architecture: 'aarch64' }], true],
  [[{ os: 'linux', architecture: '' }], true],
  [[{ os: '', architecture: 'arm64' }], true],
  [[{ os: 'windows', architecture: 'arm64' }], false],
  [[{ os: 'linux', architecture: 'amd64' }], false],
  [
    [
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'arm64' },
    ],
    true,
  ],
])('platforms %j', (platforms, expected) => {
  expect(platformFits(platforms, pi)).toBe(expected);
});
