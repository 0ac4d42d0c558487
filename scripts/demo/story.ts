/** The demo's story, stage by stage. Each waits for facts that Docker or curl tell, with a limit. */
import { fetchSnapshot } from '../../src/control/client.ts';
import type { Snapshot } from '../../src/core/snapshot.ts';
import { TimeoutError } from '../../src/errors.ts';
import { formatSecret, generateSecret } from '../../src/io/secret.ts';
import type { Lab } from '../../src/lab/lab.ts';
import { until } from '../../src/lab/process.ts';
import { type Progress, paint, type Show, seconds } from '../show.ts';
import { allReady, countManagers, isLeader, isReady, managersFor, nodesOf, placesOf } from '../swarm-view.ts';
import { answersOf, BROKER_PORT, type Broker, keepAsking, startBroker } from './laptop.ts';
import { showMqtt } from './mqtt.ts';

const REPLICAS = 5;
const LIMIT_MS = 90_000;
const LOOK_EVERY_MS = 100;

const managersText = (count: number): string => `${count} manager${count === 1 ? '' : 's'}`;

export interface Telling {
  pis: number;
  /** The lab and its MQTT broker stay. */
  keep: boolean;
}

export class Story {
  private constructor(
    private readonly lab: Lab,
    private readonly show: Show,
    private readonly signal: AbortSignal,
    private readonly pis: string[],
  ) {}

  /** Tells it from the first Pi's power to the last curl. What it made is in `lab`; taking it down is the caller's part. */
  static async tell(lab: Lab, show: Show, signal: AbortSignal, { pis: count, keep }: Telling): Promise<void> {
    const pis = Array.from({ length: count }, (_, index) => `pi${index + 1}`);
    const story = new Story(lab, show, signal, pis);
    await story.powerOn();
    const broker = await story.laptop(keep);
    await story.findEachOther();
    await story.oneSwarm();
    await story.deploy();
    await story.curl(pis, 'curl from the laptop to every Pi');
    const lost = await story.losePi();
    await story.comeBack(lost);
    await story.status(broker, lost);
    broker.close();
  }

  private async powerOn(): Promise<void> {
    await this.show.stage(
      `Power on ${this.pis.join(', ')}`,
      async progress => {
        const options = { pis: this.pis.length, secret: formatSecret(generateSecret()), agents: false };
        const mqtt = `mqtt://laptop:${BROKER_PORT}`;
        await this.lab.up({ ...options, mqtt, signal: this.signal, onProgress: progress });
        return { note: 'each with a Docker Engine of its own', value: undefined };
      },
      'power on: all engines answer',
    );
  }

  private laptop(keep: boolean): Promise<Broker> {
    return this.show.stage('A laptop on the same LAN', async () => {
      const value = await startBroker(this.lab, keep);
      return { note: `${this.lab.address('laptop')}, with curl and an MQTT broker`, value };
    });
  }

  private async findEachOther(): Promise<void> {
    await this.show.stage(
      'The agents start and find each other',
      async progress => {
        await Promise.all(this.pis.map(pi => this.lab.startAgent(pi)));
        await this.wait(progress, 'the Pis to find each other', async () => {
          const seen = await Promise.all(this.pis.map(async pi => (await this.snapshot(pi))?.cluster.pis.length ?? 0));
          return {
            done: seen.every(known => known === this.pis.length),
            text: `Pis known to each: ${seen.join(', ')}`,
          };
        });
        return { note: 'over mDNS, then mutual TLS', value: undefined };
      },
      'agents started: each knows the others',
    );
  }

  private async oneSwarm(): Promise<void> {
    const managers = managersFor(this.pis.length);
    await this.show.stage(
      'They form one swarm',
      async progress => {
        await this.wait(progress, 'one swarm', async () => {
          const nodes = await nodesOf(this.lab, this.pis);
          const done = allReady(nodes, this.pis.length) && countManagers(nodes) === managers;
          const text = `${nodes.filter(isReady).length} of ${this.pis.length} Ready, ${managersText(countManagers(nodes))}`;
          return { done, text };
        });
        return { note: `${managersText(managers)}; nobody typed docker swarm init`, value: undefined };
      },
      'one swarm: all Ready, all managers in place',
    );
    const columns = ['Hostname', 'Status', 'Availability', 'ManagerStatus', 'EngineVersion'];
    const format = `table ${columns.map(column => `{{.${column}}}`).join('\t')}`;
    const leader = (await this.leader()) ?? 'pi1';
    const nodes = await this.run(leader, ['docker', 'node', 'ls', '--format', format]);
    this.show.command(`root@${leader}:~# docker node ls`, nodes);
  }

  private async deploy(): Promise<void> {
    await this.show.stage(
      'Deploy whoami from pi1',
      async () => {
        const output = await this.run('pi1', ['pi-swarm', 'deploy', 'whoami', '--publish', '80:8000']);
        return { note: 'an image made on the spot: no registry, no internet', value: output };
      },
      'deploy whoami: it runs',
    );
    const last = this.pis.at(-1) ?? 'pi1';
    await this.show.stage(
      `Scale it to ${REPLICAS} from ${last}`,
      async progress => {
        await this.run(last, ['pi-swarm', 'scale', `whoami=${REPLICAS}`]);
        await this.allRun(progress, this.pis);
        return { note: await this.spread(this.pis), value: undefined };
      },
      `scale to ${REPLICAS}: all run`,
    );
  }

  /** Every Pi answers with all the containers in turn, whichever runs them. */
  private async curl(pis: string[], title: string): Promise<void> {
    const answers = await this.show.stage(title, async progress => {
      const value = new Map<string, (string | undefined)[]>();
      await this.wait(progress, `${REPLICAS} different answers from every Pi`, async () => {
        for (const pi of pis) value.set(pi, await answersOf(this.lab, pi, REPLICAS));
        const different = pis.map(pi => new Set(value.get(pi)?.filter(id => id !== undefined)).size);
        return { done: different.every(count => count === REPLICAS), text: `answers: ${different.join(', ')}` };
      });
      return { note: `${REPLICAS} containers answer in turn, at any address`, value };
    });
    for (const [pi, ids] of answers) {
      const short = ids.map(id => paint('cyan', (id ?? '–').slice(0, 8))).join('  ');
      this.show.detail(`${pi} ${this.lab.address(pi).padEnd(15)} ${paint('dim', "I'm")} ${short}`);
    }
  }

  /** @returns the Pi that is off now */
  private async losePi(): Promise<string> {
    const leader = await this.leader();
    const places = await placesOf(this.lab, this.pis, 'whoami');
    const tasksOn = (pi: string) => places.filter(place => place === pi).length;
    // Not the first either: status is asked there.
    const candidates = this.pis.slice(1).filter(pi => pi !== leader);
    const lost = candidates.reduce((most, pi) => (tasksOn(pi) > tasksOn(most) ? pi : most));
    const rest = this.pis.filter(pi => pi !== lost);
    const asking = keepAsking(this.lab, rest[0] ?? 'pi1');
    await this.show.stage(
      `Pull the plug of ${lost}`,
      async progress => {
        await this.lab.powerCut(lost);
        await this.allRun(progress, rest);
        return {
          note: `what it ran (${tasksOn(lost)} of ${REPLICAS}) runs elsewhere: ${await this.spread(rest)}`,
          value: undefined,
        };
      },
      `power cut of ${lost}: ${REPLICAS} of ${REPLICAS} run on the others`,
    );
    const { asked, answered } = asking.stop();
    const result = asked === answered ? 'every one answered' : `${asked - answered} of them without an answer`;
    this.show.detail(`meanwhile the laptop asked ${rest[0]} ${asked} times: ${result}`);
    await this.curl(rest, 'curl the Pis that are left');
    return lost;
  }

  private async comeBack(pi: string): Promise<void> {
    await this.show.stage(
      `Plug ${pi} in again`,
      async progress => {
        await this.lab.powerOn(pi, { signal: this.signal });
        await this.wait(progress, `${pi} to be back`, async () => {
          const nodes = await nodesOf(this.lab, this.pis);
          const ready = nodes.filter(isReady).length;
          const done = allReady(nodes, this.pis.length) && (await answersOf(this.lab, pi, 1))[0] !== undefined;
          return { done, text: `${ready} of ${this.pis.length} Ready` };
        });
        return { note: 'Ready again, and its address answers', value: undefined };
      },
      `return of ${pi}: Ready and answering`,
    );
  }

  private async status(broker: Broker, lost: string): Promise<void> {
    await showMqtt(this.show, broker, this.pis, lost);
    const { stdout } = await this.lab.exec('pi1', ['pi-swarm', 'status']);
    this.show.command('root@pi1:~# pi-swarm status', stdout);
  }

  // ------------------------------------------------------------------------------------------------- helpers

  private run(pi: string, argv: string[]): Promise<string> {
    this.signal.throwIfAborted();
    return this.lab.run(pi, argv);
  }

  private snapshot(pi: string): Promise<Snapshot | undefined> {
    return fetchSnapshot(this.lab.inside(pi, '/run/pi-swarm/agent.sock'), { timeoutMs: 3000 }).catch(() => undefined);
  }

  private async leader(): Promise<string | undefined> {
    return (await nodesOf(this.lab, this.pis)).find(isLeader)?.Description.Hostname;
  }

  /** All replicas run, on the Pis given. */
  private allRun(progress: Progress, on: string[]): Promise<void> {
    const began = performance.now();
    return this.wait(progress, `${REPLICAS} replicas to run on ${on.join(', ')}`, async () => {
      const places = (await placesOf(this.lab, on, 'whoami')).filter(pi => on.includes(pi));
      const text = `${places.length} of ${REPLICAS} run on ${on.join(', ')} after ${seconds(performance.now() - began)}`;
      return { done: places.length === REPLICAS, text };
    });
  }

  /** `pi1 2, pi2 3` */
  private async spread(on: string[]): Promise<string> {
    const places = await placesOf(this.lab, on, 'whoami');
    return on.map(pi => `${pi} ${places.filter(place => place === pi).length}`).join(', ');
  }

  private async wait(
    progress: Progress,
    what: string,
    look: () => Promise<{ done: boolean; text: string }>,
  ): Promise<void> {
    let last = '';
    const fact = async () => {
      const { done, text } = await look();
      last = text;
      progress(text);
      return done;
    };
    const tooLate = () => `Waited ${LIMIT_MS / 1000} s for ${what}. Last seen: ${last}.`;
    await until(tooLate, fact, { timeoutMs: LIMIT_MS, everyMs: LOOK_EVERY_MS, signal: this.signal }).catch(error => {
      throw error instanceof TimeoutError ? new TimeoutError(error.message, this.whereToLook()) : error;
    });
  }

  private whereToLook(): string {
    return `What the agents did is in their logs. Keep the lab for a look: npm run demo -- --keep`;
  }
}
