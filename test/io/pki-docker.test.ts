import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { type ClientCredentials, issueClientCertificate } from '../../src/io/identity.ts';
import { authenticate, tlsOptions } from '../../src/io/pki.ts';
import { type Cleanups, certify, cluster, listen, NOW, pi1, stranger } from './pki-fixtures.ts';

describe("Docker's client, which is Go", () => {
  const cleanups: Cleanups = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  const run = promisify(execFile);

  async function endpoint(): Promise<{ port: number; seen: string[] }> {
    const seen: string[] = [];
    const options = tlsOptions(cluster, pi1, certify(pi1), { minVersion: 'TLSv1.2' });
    const server = createServer(options, (request, response) => {
      if (!(request.socket instanceof TLSSocket)) throw new Error('not TLS');
      const peer = authenticate(cluster, request.socket, { now: NOW, clients: true });
      seen.push(`${peer.role} ${peer.name} ${request.method} ${request.url}`);
      response.setHeader('Api-Version', '1.41');
      response.setHeader('Content-Type', 'application/json');
      response.end(
        request.url?.endsWith('/version') ? JSON.stringify({ Version: 'pi-swarm-test', ApiVersion: '1.41' }) : 'OK',
      );
    });
    return { port: await listen(server, cleanups), seen };
  }

  async function docker(host: string, credentials: ClientCredentials): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'pi-swarm-docker-'));
    cleanups.push(() => rm(directory, { recursive: true, force: true }));
    await writeFile(join(directory, 'ca.pem'), credentials.ca);
    await writeFile(join(directory, 'cert.pem'), credentials.certificate);
    await writeFile(join(directory, 'key.pem'), credentials.key);
    const { stdout } = await run('docker', ['--tlsverify', '-H', host, 'version', '--format', '{{.Server.Version}}'], {
      env: { ...process.env, DOCKER_CERT_PATH: directory, DOCKER_CONFIG: directory },
      timeout: 30_000,
    });
    return stdout.trim();
  }

  it.each(['localhost', '127.0.0.1'])('accepts our certificates and is accepted, by %s', async host => {
    const { port, seen } = await endpoint();
    expect(await docker(`tcp://${host}:${port}`, issueClientCertificate(cluster, 'laptop'))).toBe('pi-swarm-test');
    expect(seen.at(-1)).toBe('client laptop GET /v1.41/version');
  });

  it("is refused with another cluster's certificate, and refuses another cluster", async () => {
    const { port, seen } = await endpoint();
    const foreign = issueClientCertificate(stranger, 'laptop');
    await expect(docker(`tcp://localhost:${port}`, foreign)).rejects.toThrow(/unknown authority|failed to verify/);
    await expect(docker(`tcp://localhost:${port}`, { ...foreign, ca: cluster.ca.certificate })).rejects.toThrow();
    expect(seen).toEqual([]);
  });
});
