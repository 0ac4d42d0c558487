/** What a person should know, each with the cure. Pure. The kinds are listed in docs/troubleshooting.md. */
import { ailmentOf } from './ailments.ts';
import { mergeVerdict, rivalOf } from './formation.ts';
import { activePeers, type World } from './observe.ts';
import { CAME_AND_WENT, extraPatience } from './patience.ts';
import type { Notice } from './snapshot.ts';
import { stuckLimitMs } from './stuck.ts';

/** A swarm without a leader for less than this is only electing one (10–19 s, swarmkit's election ticks). */
const ELECTION_MS = 30_000;
const DISK_FULL_PERCENT = 90;

export interface NoticeContext {
  /** Peers that were refused: wrong secret, foreign certificate. */
  refusals: { count: number; last?: { reason: string; problem?: string; from: string } };
  /** Other clusters seen on this LAN. */
  clockBehind: boolean;
  /** What the ports noticed themselves, e.g. a damaged state file. */
  notices: Notice[];
}

export function noticesOf(world: World, context: NoticeContext): Notice[] {
  return [
    ...unclaimed(world),
    ...engine(world),
    ...swarm(world),
    ...nodes(world),
    ...patience(world),
    ...machine(world),
    ...trust(context),
    ...context.notices,
  ];
}

function unclaimed(world: World): Notice[] {
  if (world.tag !== undefined) return [];
  const cure =
    'On a Pi of the cluster run `pi-swarm invite`, then here `sudo pi-swarm join TOKEN`. For a new cluster: `sudo pi-swarm secret new --write`.';
  return [
    { severity: 'warning', kind: 'unclaimed', text: 'This Pi has no cluster secret, so it joins nothing.', cure },
  ];
}

function engine(world: World): Notice[] {
  if (world.engine === 'ready') return [];
  if (world.swarmSilent) {
    const text = 'The Docker Engine answers, but not for its swarm: it knows of no other manager.';
    const seconds = Math.round(stuckLimitMs(world) / 1000);
    const cure = `Wait: it comes back by itself in about ${seconds} s if the other managers are up. If they are not, power them on.`;
    return [{ severity: 'warning', kind: 'swarm-silent', text, cure }];
  }
  const text = world.engineProblem ?? `The Docker Engine is ${world.engine}.`;
  const cure = '`systemctl status docker` and `journalctl -u docker` say why; `pi-swarm doctor` checks the rest.';
  return [{ severity: 'error', kind: `engine-${world.engine}`, text, cure }];
}

function swarm(world: World): Notice[] {
  const { swarm } = world;
  switch (swarm.state) {
    case 'foreign':
      return [
        {
          severity: 'error',
          kind: 'foreign-swarm',
          text: 'The Docker Engine of this Pi is in a swarm that pi-swarm did not make. It is left alone.',
          cure: 'To give this Pi to the cluster: `docker swarm leave` (with --force on a manager). Its services end then.',
        },
      ];
    case 'locked':
      return [
        {
          severity: 'error',
          kind: 'locked',
          text: 'The swarm on this Pi is locked (autolock).',
          cure: '`docker swarm unlock`, then `docker swarm update --autolock=false`: a locked swarm cannot heal by itself.',
        },
      ];
    case 'pending':
    case 'error':
      return [
        {
          severity: 'warning',
          kind: `swarm-${swarm.state}`,
          text: `The engine cannot take part in its swarm: ${swarm.reason}.`,
        },
      ];
    case 'none':
      return world.memory.intent === 'left'
        ? [
            {
              severity: 'info',
              kind: 'left',
              text: 'This Pi has left the cluster.',
              cure: '`sudo pi-swarm join` brings it back.',
            },
          ]
        : [];
    case 'active':
      return [...quorum(world), ...rivals(world)];
  }
}

function quorum(world: World): Notice[] {
  const { orphanMs } = world.since;
  if (orphanMs === undefined) return [];
  const seconds = Math.round((world.nowMs - orphanMs) / 1000);
  if (world.nowMs - orphanMs < ELECTION_MS) {
    const text = `No manager has a majority for ${seconds} s; the others may be electing a new leader.`;
    return [{ severity: 'warning', kind: 'no-leader', text }];
  }
  return [
    {
      severity: 'error',
      kind: 'quorum-lost',
      text: `The swarm has no leader for ${seconds} s: too many managers are gone. Running tasks go on, nothing can be changed.`,
      cure: 'Power on the missing Pis and check their network; `pi-swarm nodes` names them.',
    },
  ];
}

function rivals(world: World): Notice[] {
  const verdict = mergeVerdict(world);
  if (verdict.verdict === 'yields') {
    return [
      { severity: 'info', kind: 'merging', text: `Two swarms met; this one joins the other: ${verdict.because}.` },
    ];
  }
  const rival = rivalOf(world);
  if (rival === undefined) return [];
  const there = activePeers(world).filter(peer => peer.swarm.swarmId === rival);
  const names = there.map(peer => peer.status.name).join(', ');
  return [
    {
      severity: 'error',
      kind: 'two-swarms',
      text: `Two swarms of this cluster have services of their own; the other one runs on ${names}. Nothing is changed.`,
      cure: 'Remove the services of the swarm that should give way (`pi-swarm rm NAME` on one of its Pis); it then joins the other.',
    },
  ];
}

function nodes(world: World): Notice[] {
  const result: Notice[] = [];
  for (const node of world.nodes ?? []) {
    if (node.state === 'ready') continue;
    const since = world.trouble[node.nodeId]?.downSinceMs;
    const seconds = since === undefined ? 0 : Math.round((world.nowMs - since) / 1000);
    result.push({
      severity: 'warning',
      kind: 'pi-down',
      text: `${node.hostname} is ${node.state}, for ${seconds} s at least.`,
      cure: `Check its power and network. Its work runs elsewhere; it takes its place again when it is back.`,
    });
  }
  return result;
}

/** H1: the cause is a Pi that needs a person, though the cluster lives with it. */
function patience(world: World): Notice[] {
  const extra = extraPatience(world);
  if (extra === undefined) return [];
  const { heartbeatMs, name = 'a Pi' } = extra;
  const text =
    `The cluster waits longer before it gives a silent Pi up (${heartbeatMs / 1000} s heartbeats), ` +
    `because ${name} ${CAME_AND_WENT}.`;
  const whose = name === 'a Pi' ? 'that Pi' : name;
  const cure = `Check the power supply, the cable and the Wi-Fi of ${whose}. After each day without that, the cluster waits less again.`;
  return [{ severity: 'info', kind: 'patience', text, cure }];
}

function machine(world: World): Notice[] {
  const { vitals, address, name } = world.self;
  const result: Notice[] = [];
  const { renamedFrom } = world.memory;
  if (renamedFrom !== undefined && renamedFrom !== name) {
    const text = `This Pi is called ${name}, because another Pi of the cluster is called ${renamedFrom}.`;
    const cure = 'To give it another name: sudo hostnamectl set-hostname NAME, then reboot.';
    result.push({ severity: 'info', kind: 'renamed', text, cure });
  }
  // What has lasted is told of all Pis at once (`core/unwell`).
  const lasts = ailmentOf(world.care, 'nodeId' in world.swarm ? world.swarm.nodeId : '');
  if (address === undefined) {
    const cure = 'Check the cable or the Wi-Fi settings; `ip addr` shows the addresses.';
    result.push({ severity: 'error', kind: 'no-network', text: 'This Pi has no network address.', cure });
  }
  if (vitals?.underVoltage && lasts !== 'under-voltage') {
    const cure = 'Use the power supply made for this board, and a short cable.';
    result.push({ severity: 'warning', kind: 'under-voltage', text: 'This Pi gets too little voltage.', cure });
  }
  if ((vitals?.temperatureCelsius ?? 0) >= world.wish.health.temperatureCelsius && lasts !== 'hot') {
    const text = `This Pi is ${Math.round(vitals?.temperatureCelsius ?? 0)} °C hot and slows down.`;
    result.push({ severity: 'warning', kind: 'hot', text, cure: 'Give it air or a heat sink.' });
  }
  if ((vitals?.diskPercent ?? 0) >= DISK_FULL_PERCENT && lasts !== 'disk-full') {
    const text = `The disk is ${Math.round(vitals?.diskPercent ?? 0)} % full.`;
    result.push({
      severity: 'warning',
      kind: 'disk-full',
      text,
      cure: '`docker system prune` frees what no container uses.',
    });
  }
  return result;
}

function trust({ refusals, clockBehind }: NoticeContext): Notice[] {
  const result: Notice[] = [];
  if (refusals.count > 0 && refusals.last) {
    const many =
      refusals.count === 1 ? '1 connection was refused' : `${refusals.count} connections were refused; the last one`;
    // Who hangs up in the middle of the handshake takes its address with it.
    const from = refusals.last.from === 'unknown' ? '' : ` from ${refusals.last.from}`;
    result.push({
      severity: 'info',
      kind: 'refused-peer',
      text: `${many}${from}: ${refusals.last.problem ?? refusals.last.reason}.`,
      cure: 'Are all your Pis listed here? Then nothing needs to be done. One that is missing has another cluster secret: `sudo pi-swarm join TOKEN` there (TOKEN from `pi-swarm invite` here).',
    });
  }
  if (clockBehind) {
    const cure = 'It goes by its peers until it hears a time server; nothing needs to be done.';
    result.push({
      severity: 'info',
      kind: 'clock',
      text: 'The clock of this Pi is behind (it has none of its own).',
      cure,
    });
  }
  return result;
}
