import { describe, expect, it } from 'vitest';
import { ConfigError, EngineError } from '../src/errors.ts';
import { createLogger, type LogOptions, logDecision, logStep } from '../src/log.ts';
import { redact } from '../src/redact.ts';

function logInto(options: LogOptions = {}) {
  const lines: string[] = [];
  const log = createLogger({ pretty: false, ...options, destination: { write: line => void lines.push(line) } });
  const last = () => JSON.parse(lines.at(-1) ?? 'null') as Record<string, unknown>;
  return { log, lines, last };
}

const PEM = '-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n';
const SECRETS = {
  'cluster secret': ['PISW1-0123-4567-89AB-CDEF-GHJK', '4567-89AB'],
  'join token': [
    'SWMTKN-1-3pu6hszjas19xyp7ghgosyx9k8atbfcr8p2is99znpy26u2lkl-7p73s1dx5in4tatdymyhg9hu2',
    '7p73s1dx5in4',
  ],
  'unlock key': ['SWMKEY-1-7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8', '7c37Cc8654o6'],
  'private key': [PEM, 'MIGHAgEAMBMGByqGSM49'],
  'password in a URL': ['mqtt://anna:hunter2@broker.local:1883', 'hunter2'],
} as const;

describe('secrets never reach the log', () => {
  for (const [what, [text, part]] of Object.entries(SECRETS)) {
    it(`${what}: in the message, in fields at any depth, in errors and their causes`, () => {
      const { log, lines, last } = logInto();
      log.info(`got ${text} from a peer`);
      log.info({ deep: { deeper: [{ value: text }] } }, 'nested');
      log.error({ error: new EngineError(`refused ${text}`, `use ${text}`, { cause: new Error(text) }) }, 'failed');
      log.error(new Error(`bug with ${text}`));
      log.child({ context: text }).warn('from a child');
      expect(lines).toHaveLength(5);
      for (const line of lines) expect(line).not.toContain(part);
      expect(last()['msg']).toBe('from a child');
    });
  }

  it('fields that are named like secrets, whatever is in them', () => {
    const { log, last } = logInto();
    log.info({ mqtt: { username: 'anna', password: 'a "quoted" one\\' }, token: 'x', after: 1 }, 'config');
    expect(last()).toMatchObject({ mqtt: { username: 'anna', password: '[secret]' }, token: '[secret]', after: 1 });
  });

  it('what surrounds a secret stays, and stays JSON, also when a key is cut off in the middle', () => {
    const { log, last } = logInto();
    log.info({ key: PEM.slice(0, 40), url: 'mqtt://host:1883', user: 'x@y' }, 'cut off');
    expect(last()).toMatchObject({ key: '[private key]', url: 'mqtt://host:1883', user: 'x@y', msg: 'cut off' });
    expect(redact('join with SWMTKN-1-abc-def at 10.0.0.1:2377')).toBe('join with SWMTKN-[secret] at 10.0.0.1:2377');
  });
});

describe('log lines', () => {
  it('are one JSON object each, with time, level and the name of the Pi', () => {
    const { log, lines, last } = logInto({ name: 'pi1' });
    log.warn({ port: 3378 }, 'two\nlines');
    expect(lines[0]?.trimEnd().split('\n')).toHaveLength(1);
    expect(last()).toMatchObject({ level: 'warn', pi: 'pi1', port: 3378, msg: 'two\nlines' });
    expect(Date.parse(String(last()['time']))).toBeGreaterThan(0);
  });

  it('leave out what is below the level', () => {
    const { log, lines } = logInto({ level: 'warn' });
    log.info('not this');
    log.warn('this');
    expect(lines).toHaveLength(1);
  });

  it('show errors for people without a stack, with the cure and the cause', () => {
    const { log, last } = logInto();
    log.error({ error: new ConfigError('config.yaml:1:1: wrong', 'Correct it.') }, 'cannot start');
    expect(last()['error']).toEqual({ message: 'config.yaml:1:1: wrong', code: 'usage', cure: 'Correct it.' });
    log.error({ error: new TypeError('x is undefined') }, 'bug');
    expect(last()['error']).toMatchObject({ type: 'TypeError', stack: expect.stringContaining('log.test.ts') });
  });

  it('say of a decision what and why, and of a step how long it took', () => {
    const { log, last } = logInto();
    logDecision(log, { rule: 'F2 init', plan: 'init a swarm', why: 'nobody else is in one' });
    expect(last()).toMatchObject({ rule: 'F2 init', msg: 'init a swarm: nobody else is in one', level: 'info' });
    logStep(log, { step: 'join', ms: 812.4, ok: true });
    expect(last()).toMatchObject({ step: 'join', ms: 812, ok: true, level: 'info' });
    logStep(log, { step: 'join', ms: 5000, ok: false, error: new EngineError('no answer in 5 s', 'Start Docker.') });
    expect(last()).toMatchObject({ ok: false, level: 'warn', error: { cure: 'Start Docker.' } });
  });

  it('survive values that JSON does not know', () => {
    const { log, last } = logInto();
    const circle: Record<string, unknown> = { big: 1n };
    circle['self'] = circle;
    log.info({ circle }, 'odd');
    expect(last()['msg']).toBe('odd');
  });
});

describe('readable lines', () => {
  it('hold time, level, message and key=value, and the cure below', () => {
    const { log, lines } = logInto({ pretty: true });
    log.info({ address: '10.0.0.2', why: 'it is new' }, 'peer found');
    expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}peer found {2}address=10\.0\.0\.2 {2}why="it is new"\n$/);
    log.error({ error: new EngineError('no answer', 'Start Docker.') }, 'engine');
    expect(lines[1]).toContain('ERROR engine\n    no answer\n    Start Docker.\n');
  });

  it('hide secrets as the others do', () => {
    const { log, lines } = logInto({ pretty: true });
    log.info({ password: 'hunter2', key: PEM }, 'secrets');
    expect(lines[0]).not.toMatch(/hunter2|MIGH/);
  });
});
