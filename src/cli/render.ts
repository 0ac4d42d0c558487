/** How a snapshot looks on a terminal: plain functions from data to lines. */
import type { Notice, PiSnapshot, Snapshot } from '../core/snapshot.ts';
import type { PublishedPort, SwarmService } from '../core/world.ts';
import { cut, type Paint, type Style, table, widthOf, wrap } from './output.ts';

export interface View {
  paint: Paint;
  /** Columns of the terminal. */
  width: number;
}

const SERVICES_MAX = 3;
/** A screen of old: 24 lines for up to five Pis, one more for each further Pi. */
const LINES_MAX = 24;
const PIS_WITHIN = 5;

const STATE_STYLE: Record<Snapshot['cluster']['state'], Style> = {
  unclaimed: 'yellow',
  alone: 'green',
  forming: 'yellow',
  ok: 'green',
  degraded: 'yellow',
  down: 'red',
};

/** One screen: the headline, the Pis, the services, and what is wrong with its cure. */
export function renderStatus(snapshot: Snapshot, view: View): string[] {
  const { cluster } = snapshot;
  const lines = [
    headline(snapshot, view),
    view.paint('dim', cut(`${snapshot.self.name}: ${snapshot.doing}`, view.width)),
  ];
  if (cluster.pis.length > 0) lines.push('', ...renderPis(cluster.pis, view));
  lines.push('');
  const services = cluster.services ?? [];
  if (services.length > 0) lines.push(...fit(table(services.slice(0, SERVICES_MAX).map(serviceCells)), view));
  if (services.length > SERVICES_MAX) lines.push(`… and ${services.length - SERVICES_MAX} more: pi-swarm services`);
  lines.push(cut(`${meshText(snapshot)} · ${mqttText(snapshot)}`, view.width), '');
  const room = LINES_MAX + Math.max(0, cluster.pis.length - PIS_WITHIN) - lines.length;
  return [...lines, ...renderNotices([...snapshot.notices, ...unsettled(snapshot)], view, room)];
}

/**
 * Why the cluster is degraded while no notice says so: it mostly passes by itself within seconds, or becomes a notice.
 * Only for people, who would otherwise read that nothing is wrong.
 */
function unsettled({ cluster, notices }: Snapshot): Notice[] {
  if (cluster.state !== 'degraded' || notices.some(notice => notice.severity !== 'info')) return [];
  const silent = cluster.pis.filter(pi => pi.liveness === 'dead' && pi.leaving !== 'left').map(pi => pi.name);
  if (silent.length > 0) {
    const cure = 'The swarm notices it by itself, within half a minute at most; its work starts elsewhere.';
    return [{ severity: 'warning', kind: 'silent', text: `Nothing is heard of ${silent.join(', ')}.`, cure }];
  }
  const short = (cluster.services ?? []).filter(service => service.running < service.desired);
  return short.slice(0, SERVICES_MAX).map(({ name, running, desired }) => ({
    severity: 'warning',
    kind: 'short',
    text: `${name}: ${running} of ${desired} run.`,
    cure: `If it stays so, ask a manager why: docker service ps --no-trunc ${name}`,
  }));
}

function headline({ cluster, self }: Snapshot, { paint, width }: View): string {
  const state = paint(STATE_STYLE[cluster.state], cluster.state);
  if (cluster.state === 'unclaimed') return `pi-swarm on ${self.name} · ${state} · it belongs to no cluster yet`;
  const parts = [
    `pi-swarm cluster ${paint('bold', cluster.tag.slice(0, 8))}`,
    state,
    `${count(cluster.pis.length, 'Pi')}, ${managersText(cluster)}`,
  ];
  let line = parts.join(' · ');
  for (const service of cluster.services ?? []) {
    const more = `${line} · ${service.name} ${service.running}/${service.desired}`;
    if (widthOf(more) > width) break;
    line = more;
  }
  return line;
}

/** `3 managers`, or `2 of 3 managers` while one of them does not answer. */
function managersText({ managers, pis }: Snapshot['cluster']): string {
  const isManager = ({ role }: PiSnapshot): boolean => role === 'manager' || role === 'leader';
  const isAway = (pi: PiSnapshot): boolean =>
    pi.unreachable === true || pi.liveness === 'dead' || pi.swarmState === 'down';
  const away = pis.filter(pi => isManager(pi) && isAway(pi)).length;
  return away === 0 ? count(managers, 'manager') : `${managers - away} of ${count(managers, 'manager')}`;
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;

const PI_HEADER = ['PI', 'ADDRESS', 'ROLE', 'STATE', 'TASKS', 'CPU', 'MEM', 'TEMP', 'NOTE'];

/** A table of Pis; the one we are on carries a `*`. */
export function renderPis(pis: readonly PiSnapshot[], view: View): string[] {
  const { paint } = view;
  const rows = pis.map(pi => [
    cut(pi.name, pi.self ? 12 : 14) + (pi.self ? ' *' : ''),
    pi.address || '–',
    pi.role === 'none' ? '–' : pi.role,
    paintState(pi, paint),
    pi.tasks === undefined ? '–' : String(pi.tasks),
    percent(pi.vitals?.cpuPercent),
    percent(pi.vitals?.memoryPercent),
    pi.vitals?.temperatureCelsius === undefined ? '–' : `${Math.round(pi.vitals.temperatureCelsius)}°C`,
    piNote(pi),
  ]);
  return fit(table([PI_HEADER.map(title => paint('dim', title)), ...rows]), view);
}

const percent = (value: number | undefined): string => (value === undefined ? '–' : `${Math.round(value)}%`);

/** One word for how a Pi is: what we hear ourselves before what the swarm says. */
export function piState(pi: PiSnapshot): string {
  if (pi.leaving === 'left') return 'left';
  if (pi.liveness === 'dead' || pi.liveness === 'suspect') return pi.liveness;
  if (pi.swarmState === 'ready' && pi.availability === 'drain') return 'drained';
  if (pi.swarmState === 'ready' && pi.availability === 'pause') return pi.leaving === undefined ? 'paused' : 'draining';
  return pi.swarmState === 'none' ? 'no swarm' : pi.swarmState;
}

function paintState(pi: PiSnapshot, paint: Paint): string {
  const state = piState(pi);
  if (state === 'ready') return paint('green', state);
  return paint(state === 'dead' || state === 'down' ? 'red' : 'yellow', state);
}

function piNote(pi: PiSnapshot): string {
  if (pi.leaving === 'left') return 'back: pi-swarm join';
  const notes: string[] = [];
  if (pi.liveness !== 'alive' && (pi.lastSeenSeconds ?? 0) > 0) notes.push(`${age(pi.lastSeenSeconds ?? 0)} ago`);
  if (pi.unreachable && pi.liveness !== 'dead') notes.push('not reachable');
  if (pi.vitals?.underVoltage || pi.unwell === 'under-voltage') notes.push('low voltage');
  else if (pi.unwell !== undefined) notes.push(pi.unwell.replace('-', ' '));
  else if (pi.vitals?.throttled) notes.push('throttled');
  if ((pi.vitals?.diskPercent ?? 0) >= 90 && pi.unwell !== 'disk-full') notes.push('disk full');
  return notes.join(', ');
}

/** `40 s`, `5 min`, `3 h`, `2 d` */
export function age(seconds: number): string {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

const serviceCells = (service: SwarmService): string[] => [
  cut(service.name, 24),
  `${service.running}/${service.desired}`,
  cut(portsText(service.ports), 26),
  service.image,
];

/** `80→8000`, `53→53/udp`, `host:8080→80` */
export function portsText(ports: readonly PublishedPort[]): string {
  const text = (port: PublishedPort) =>
    `${port.mode === 'host' ? 'host:' : ''}${port.published}→${port.target}${port.protocol === 'udp' ? '/udp' : ''}`;
  return ports.length === 0 ? '–' : ports.map(text).join(' ');
}

function meshText({ mesh }: Snapshot): string {
  const name = { kernel: 'Docker’s own', nftables: 'pi-swarm’s (nftables)', none: 'none' }[mesh.mode];
  return `routing mesh: ${name}, ${count(mesh.ports, 'port')}${mesh.problem === undefined ? '' : ` (${mesh.problem})`}`;
}

const mqttText = ({ mqtt }: Snapshot): string =>
  `MQTT: ${mqtt.state}${mqtt.problem === undefined ? '' : ` (${mqtt.problem})`}`;

const SEVERITIES = ['error', 'warning', 'info'] as const;
const MARK: Record<Notice['severity'], [Style, string]> = {
  error: ['red', '✗'],
  warning: ['yellow', '!'],
  info: ['cyan', 'i'],
};

/** The worst first, each with its cure, in at most `room` lines. */
function renderNotices(notices: readonly Notice[], view: View, room: number): string[] {
  if (notices.length === 0) return [view.paint('green', 'Nothing is wrong.')];
  const sorted = SEVERITIES.flatMap(severity => notices.filter(notice => notice.severity === severity));
  const wrong = sorted[0]?.severity !== 'info';
  const lines = [view.paint('bold', wrong ? 'What is wrong, and what to do:' : 'Good to know:')];
  for (const [index, notice] of sorted.entries()) {
    const more = renderNotice(notice, view);
    const last = index === sorted.length - 1;
    if (lines.length + more.length + (last ? 0 : 1) > room && index > 0) {
      lines.push(`… and ${sorted.length - index} more: pi-swarm status --json`);
      break;
    }
    lines.push(...more);
  }
  return lines;
}

function renderNotice(notice: Notice, { paint, width }: View): string[] {
  const [style, mark] = MARK[notice.severity];
  const text = shorten(wrap(notice.text, width - 2), 2).map(
    (line, index) => `${index === 0 ? paint(style, mark) : ' '} ${line}`,
  );
  if (notice.cure === undefined) return text;
  return [
    ...text,
    ...shorten(wrap(notice.cure, width - 4), 2).map((line, index) => `  ${index === 0 ? '→' : ' '} ${line}`),
  ];
}

function shorten(lines: string[], most: number): string[] {
  return lines.length <= most ? lines : [...lines.slice(0, most - 1), `${lines[most - 1]} …`];
}

/** Cuts lines that are too wide at their end; colours are in columns that always fit. */
function fit(lines: string[], { width }: View): string[] {
  return lines.map(line => (widthOf(line) <= width ? line : cutPainted(line, width)));
}

function cutPainted(line: string, width: number): string {
  const surplus = widthOf(line) - width + 1;
  return `${[...line].slice(0, -surplus).join('')}…`;
}
