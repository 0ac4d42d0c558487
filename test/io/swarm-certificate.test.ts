import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SystemClock } from '../../src/io/clock.ts';
import { certificateRole, untilNoManager } from '../../src/io/swarm-certificate.ts';

describe("the engine's certificate for its swarm", () => {
  let root = '';
  let file = '';

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'pi-swarm-certificate-'));
    mkdirSync(join(root, 'swarm/certificates'), { recursive: true });
    file = join(root, 'swarm/certificates/swarm-node.crt');
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  /** With the subject that swarmkit gives: O=swarm, OU=role, CN=node. */
  const write = (role: string): void => {
    const subject = `/O=b6xy/OU=${role}/CN=abc`;
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', '/dev/null'];
    execFileSync('openssl', ['req', '-x509', ...key, '-subj', subject, '-out', `${file}.new`], { stdio: 'ignore' });
    renameSync(`${file}.new`, file);
  };

  it.each(['manager', 'worker'] as const)('says as what the engine starts: %s', async role => {
    write(`swarm-${role}`);
    expect(await certificateRole(root)).toBe(role);
  });

  it('says nothing where there is none, or one that nobody can read', async () => {
    expect(await certificateRole(root)).toBeUndefined();
    writeFileSync(file, 'no certificate');
    expect(await certificateRole(root)).toBeUndefined();
    write('swarm-ca');
    expect(await certificateRole(root)).toBeUndefined();
  });

  it('is waited for until it is no longer that of a manager', async () => {
    const clock = new SystemClock({ stateDir: root });
    write('swarm-manager');
    let done = false;
    const waiting = untilNoManager(root, clock, new AbortController().signal).then(() => {
      done = true;
    });
    await clock.sleep(300);
    expect(done).toBe(false);
    write('swarm-worker');
    await waiting;
    clock.stop();
  });

  it('is not waited for by a Pi that is told to end now', async () => {
    const clock = new SystemClock({ stateDir: root });
    write('swarm-manager');
    const stop = new AbortController();
    const waiting = untilNoManager(root, clock, stop.signal);
    stop.abort();
    await waiting;
    clock.stop();
  });
});
