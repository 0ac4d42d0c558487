/** What went out over MQTT, made readable. */
import { paint, type Show } from '../show.ts';
import type { Broker } from './laptop.ts';

const WITHIN_MS = 15_000;
const PAYLOAD_COLUMNS = 84;

export async function showMqtt(show: Show, broker: Broker, pis: readonly string[]): Promise<void> {
  const own = () => [...broker.retained].filter(([topic]) => topic.startsWith('pi-swarm/')).sort();
  await show.stage('What went out over MQTT', async progress => {
    const end = performance.now() + WITHIN_MS;
    while (own().length < pis.length && performance.now() < end) {
      progress(`${broker.count()} messages`);
      await new Promise(resolve => setTimeout(resolve, 200));
    }
    const discovery = [...broker.retained.keys()].filter(topic => topic.startsWith('homeassistant/')).length;
    return { note: `${broker.count()} messages; ${discovery} devices for Home Assistant`, value: undefined };
  });
  for (const [topic, payload] of own()) {
    show.detail(paint('cyan', topic));
    for (const line of wrapPayload(payload)) show.detail(`  ${paint('dim', line)}`);
  }
}

/** JSON with spaces after colons and commas, broken between its values; at most four lines. */
function wrapPayload(payload: string): string[] {
  let pieces = [payload];
  try {
    pieces = JSON.stringify(JSON.parse(payload), null, 1)
      .replace(/\n\s*/g, ' ')
      .split(/(?<=,) /);
  } catch {
    // `online` and `offline` are not JSON.
  }
  const lines: string[] = [];
  for (const piece of pieces) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + piece.length < PAYLOAD_COLUMNS)
      lines[lines.length - 1] = `${last} ${piece}`;
    else lines.push(piece);
  }
  return lines.length <= 4 ? lines : [...lines.slice(0, 4), '…'];
}
