/** How a lab is, for `lab status` and tests. */
import { agentSwitch, ENGINE_SOCKET } from './disk.ts';
import { engineAnswers } from './engine.ts';
import { type Cable, cables } from './lan.ts';
import { labSubnet, laptopAddress, piAddress } from './names.ts';
import { agentRuns, insidePi } from './pi.ts';
import type { LabPlace } from './place.ts';
import { isAlive } from './process.ts';
import type { PiRecord } from './record.ts';

export interface PiState {
  name: string;
  address: string;
  power: 'on' | 'off';
  engine: 'up' | 'down';
  /** `off`: it does not start with the Pi. `stopped`: it would, but does not run now. */
  agent: 'running' | 'stopped' | 'off';
  cable: 'plugged' | 'unplugged' | 'none';
  /** LAN segment (`lan`, or `segment1` … after `split`). */
  segment?: string;
  memoryBytes?: number;
}

export interface LabState {
  name: string;
  directory: string;
  subnet: string;
  /** The laptop's address. */
  laptop: string;
  lan: 'up' | 'down';
  pis: PiState[];
}

export async function labState(place: LabPlace): Promise<LabState> {
  const { name, directory } = place;
  const record = place.read();
  const up = isAlive(record.lan);
  const plugs = up ? await cables(place.lan(record)) : new Map<string, Cable>();
  const pis = Object.entries(record.pis).map(([pi, of]) => piState(place, pi, of, plugs.get(pi)));
  const network = { subnet: labSubnet(name), laptop: laptopAddress(name), lan: up ? 'up' : 'down' } as const;
  return { name, directory, ...network, pis: await Promise.all(pis) };
}

async function piState(place: LabPlace, name: string, { index, init }: PiRecord, cable?: Cable): Promise<PiState> {
  const address = piAddress(place.name, index);
  const idle = agentSwitch(place.piDirectory(name)) ? 'stopped' : 'off';
  if (!isAlive(init)) return { name, address, power: 'off', engine: 'down', agent: idle, cable: 'none' };
  return {
    name,
    address,
    power: 'on',
    engine: (await engineAnswers(insidePi(init, ENGINE_SOCKET))) ? 'up' : 'down',
    agent: agentRuns(init) ? 'running' : idle,
    cable: cable === undefined ? 'none' : cable.plugged ? 'plugged' : 'unplugged',
    segment: cable?.segment,
    memoryBytes: place.cgroup.memoryBytes(name),
  };
}
