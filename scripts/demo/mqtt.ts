/** What went out over MQTT, made readable. */
import { paint, type Show, seconds } from '../show.ts';
import type { Broker } from './laptop.ts';

/** A state goes out at most every ten seconds. */
const WITHIN_MS = 15_000;
const PAYLOAD_COLUMNS = 84;
const LINES_MAX = 4;

/** @param lost the Pi whose availability is shown over time: it was off in between */
export async function showMqtt(show: Show, broker: Broker, pis: readonly string[], lost: string): Promise<void> {
  const find = (test: (topic: string, payload: Record<string, unknown>) => boolean) =>
    [...broker.retained].find(([topic, payload]) => test(topic, jsonOf(payload)));
  const cluster = () => find((topic, { pisReady }) => topic.endsWith('/cluster/state') && pisReady === pis.length);
  await show.stage('What went out over MQTT', async progress => {
    const end = performance.now() + WITHIN_MS;
    while (cluster() === undefined && performance.now() < end) {
      progress(`${broker.messages.length} messages; waiting for the next state of the cluster`);
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    const devices = [...broker.retained.keys()].filter(topic => topic.startsWith('homeassistant/')).length;
    return { note: `${broker.messages.length} messages; ${devices} devices for Home Assistant`, value: undefined };
  });
  for (const name of ['pi1', lost]) {
    const [topic, payload] = find((topic, state) => topic.endsWith('/state') && state['name'] === name) ?? [];
    if (topic === undefined || payload === undefined) continue;
    if (name === lost) availability(show, broker, topic.replace(/state$/, 'availability'));
    else message(show, topic, payload);
  }
  const [topic, payload] = cluster() ?? [];
  if (topic !== undefined && payload !== undefined) message(show, topic, payload);
}

/** `online` … `offline` (the broker spoke its last will) … `online`, each with its time. */
function availability(show: Show, broker: Broker, topic: string): void {
  show.detail(paint('cyan', topic));
  const story = broker.messages
    .filter(message => message.topic === topic)
    .map(({ atMs, payload }) => `${payload} at ${seconds(show.timeOf(atMs))}`);
  show.detail(`  ${paint('dim', story.join(', '))}`);
}

function message(show: Show, topic: string, payload: string): void {
  show.detail(paint('cyan', topic));
  for (const line of wrapPayload(payload)) show.detail(`  ${paint('dim', line)}`);
}

/** An empty object for what is not a JSON object: `online`, `offline`. */
function jsonOf(payload: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(payload);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** JSON with spaces after colons and commas, broken between its values. */
function wrapPayload(payload: string): string[] {
  const spaced = JSON.stringify(jsonOf(payload), null, 1).replace(/\n\s*/g, ' ');
  const lines: string[] = [];
  for (const piece of spaced.split(/(?<=,) /)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + piece.length < PAYLOAD_COLUMNS)
      lines[lines.length - 1] = `${last} ${piece}`;
    else lines.push(piece);
  }
  return lines.length <= LINES_MAX ? lines : [...lines.slice(0, LINES_MAX), '…'];
}
