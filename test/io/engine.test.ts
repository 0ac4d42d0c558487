import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EngineError } from '../../src/errors.ts';
import { DockerEngine } from '../../src/io/engine.ts';
import { ensureWhoami, WHOAMI_IMAGE } from '../../src/io/whoami.ts';
import { describeWithDockerd, type RealEngine, startDockerd, until } from '../contract/engine-dockerd.ts';

const failureOf = (call: Promise<unknown>): Promise<EngineError> =>
  call.then(
    () => Promise.reject(new Error('it should have thrown')),
    (error: EngineError) => error,
  );

describe('an engine that is not as it should be', () => {
  let dir: string;
  let socketPath: string;
  let server: Server | undefined;
  let engine: DockerEngine;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'pisw-sock-'));
    socketPath = join(dir, 'docker.sock');
    engine = new DockerEngine({ socketPath, timeoutMs: 300 });
  });
  afterEach(async () => {
    await engine.stop();
    server?.closeAllConnections();
    await new Promise(resolve => (server === undefined ? resolve(undefined) : server.close(resolve)));
    server = undefined;
    rmSync(dir, { recursive: true, force: true });
  });

  const serve = (handler: Parameters<typeof createServer>[1]): Promise<void> =>
    new Promise(resolve => {
      server = createServer(handler as never).listen(socketPath, () => resolve());
    });

  it('is absent when there is no socket, and says what to look at', async () => {
    const error = await failureOf(engine.info());
    expect(error).toMatchObject({ name: 'EngineError', code: 'unavailable' });
    expect(error.message).toContain(`${socketPath}: there is no such socket): is it installed and running?`);
    expect(error.cure).toContain('systemctl status docker');
    expect(engine.state()).toBe('absent');
    expect(engine.problem()).toBe(error.message);
  });

  it('is slow when it takes calls and answers none within the limit', async () => {
    await serve(() => {});
    const error = await failureOf(engine.info());
    expect(error).toMatchObject({ code: 'timeout' });
    expect(engine.state()).toBe('slow');
  });

  it('keeps the limit when an answer stops in the middle', async () => {
    await serve((_request, response) => {
      response.writeHead(200, { 'Content-Length': 1000 });
      response.write('{"half"');
    });
    expect((await failureOf(engine.info())).code).toBe('timeout');
  });

  it('does not call the engine slow when only the managers are late', async () => {
    await serve((request, response) => {
      if (request.url?.startsWith('/nodes')) return;
      response.end('{"ApiVersion":"1.41"}');
    });
    await engine.info();
    expect((await failureOf(engine.nodes())).code).toBe('timeout');
    expect(engine.state()).toBe('ready');
  });

  it('names a swarm without leader, and hides join tokens', async () => {
    const texts = [
      'rpc error: code = Unknown desc = The swarm does not have a leader.',
      'bad token SWMTKN-1-abc-def here',
    ];
    await serve((_request, response) => {
      response.writeHead(500).end(JSON.stringify({ message: texts.shift() }));
    });
    expect((await failureOf(engine.nodes())).message).toContain('the swarm has no leader');
    expect((await failureOf(engine.nodes())).message).toBe('could not list the nodes: bad token SWMTKN-… here');
  });

  it('tries a change again that met another one, and gives up after some', async () => {
    let writes = 0;
    await serve((request, response) => {
      if (request.method === 'GET')
        return void response.end('{"ID":"n","Version":{"Index":1},"Spec":{"Role":"worker"}}');
      writes++;
      response.writeHead(500).end('{"message":"rpc error: code = Unknown desc = update out of sequence"}');
    });
    const error = await failureOf(engine.nodeUpdate('n', { role: 'manager' }));
    expect(error.message).toContain('update out of sequence');
    expect(writes).toBe(6);
  });

  it('asks the engine it was told to, whatever DOCKER_HOST says', async () => {
    process.env['DOCKER_HOST'] = 'tcp://127.0.0.1:1';
    try {
      await serve((_request, response) => void response.end('{"ApiVersion":"1.41","ID":"here"}'));
      const own = new DockerEngine({ socketPath, timeoutMs: 2_000 });
      expect((await own.info()).engineId).toBe('here');
      await own.stop();
    } finally {
      delete process.env['DOCKER_HOST'];
    }
  });

  it.each(['null', '7', '"text"', '[]', '{"Action":7}', '{"half'])('lives on when its events are %s', async line => {
    await serve((request, response) => {
      if (request.url?.includes('/events')) response.write(`${line}\n{"Type":"node","Action":"update"}\n`);
      else response.end('{"ApiVersion":"1.41"}');
    });
    const changes: string[] = [];
    engine.onChange(what => changes.push(what));
    await until(() => changes.includes('swarm'), 5_000, `the event after ${line}`);
  });

  it.each(['../../etc', '..', 'a//b', 'x?y=z', 'x#y', 'a b'])('is not asked for paths made of %j', async image => {
    const asked: (string | undefined)[] = [];
    await serve((request, response) => {
      asked.push(request.url);
      // As the engine does: https://pkg.go.dev/net/http#ServeMux
      response.writeHead(301, { location: '//no-such-host.invalid/json' }).end();
    });
    expect(await failureOf(engine.hasImage(image))).toMatchObject({ name: 'EngineError', code: 'refused' });
    expect(asked).toEqual([]);
  });

  it('reports a load that failed inside of an answer of status 200', async () => {
    await serve((request, response) => {
      request
        .resume()
        .on('end', () => response.end('{"stream":"x"}\n{"errorDetail":{},"error":"no space left on device"}\n'));
    });
    expect((await failureOf(engine.loadImage(new Uint8Array(10)))).message).toBe(
      'could not load an image: no space left on device',
    );
  });
});

describeWithDockerd('the events of a real engine', () => {
  let dockerd: RealEngine;
  let engine: DockerEngine;
  const seen: string[] = [];
  const news = async (what: string): Promise<void> => {
    await until(() => seen.includes(what), 30_000, `news of the ${what}`);
    seen.length = 0;
  };

  beforeAll(async () => {
    dockerd = await startDockerd();
    engine = new DockerEngine({ socketPath: dockerd.socketPath, timeoutMs: 2_000 });
    await ensureWhoami(engine, (await engine.info()).architecture);
    engine.onChange(what => seen.push(what));
    await news('engine');
  }, 120_000);
  afterAll(async () => {
    await engine?.stop();
    await dockerd?.stop();
  }, 60_000);

  it('tell of containers', async () => {
    dockerd.exec('docker', '-H', `unix://${dockerd.socketPath}`, 'run', '-d', WHOAMI_IMAGE);
    await news('container');
  }, 60_000);

  it('tell when the engine dies and when it is back, and calls work again', async () => {
    const restarted = dockerd.restart();
    await news('engine');
    await restarted;
    await until(() => engine.state() === 'ready', 30_000, 'the engine to be ready');
    await news('engine');
    expect((await engine.info()).swarm.localState).toBe('inactive');
  }, 90_000);

  it('find an engine that hangs to be slow, and ready again when it goes on', async () => {
    dockerd.freeze(true);
    expect((await failureOf(engine.info())).code).toBe('timeout');
    expect(engine.state()).toBe('slow');
    dockerd.freeze(false);
    await until(
      () =>
        engine.info().then(
          () => true,
          () => false,
        ),
      30_000,
      'an answer',
    );
    expect(engine.state()).toBe('ready');
  }, 90_000);
});
