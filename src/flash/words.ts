/** What flash says to people: which drives there are, what will be lost, what to do next. */
import type { Cluster } from './clusters.ts';
import { nextHostname } from './clusters.ts';
import { type Drive, sizeText } from './drives.ts';
import type { Image, ImageAbout } from './image.ts';
import type { ShownSettings } from './settings.ts';
import type { Target } from './target.ts';

/** One drive with what is on it. */
export function driveLines({ path, model, sizeBytes, readOnly, parts }: Drive): string[] {
  const about = [path, model, sizeText(sizeBytes), readOnly ? 'read-only' : ''].filter(word => word !== '');
  return [
    about.join('  '),
    ...parts.map(part => {
      const mounted = part.mountPoints.length > 0 ? `mounted on ${part.mountPoints.join(', ')}` : '';
      const words = [part.path, part.label || '(no name)', part.fileSystem, sizeText(part.sizeBytes), mounted];
      return `    ${words.filter(word => word !== '').join('  ')}`;
    }),
    ...(parts.length === 0 ? ['    (no partitions)'] : []),
  ];
}

/** For choosing: numbered. */
export const choiceLines = (drives: readonly Drive[]): string[] =>
  drives.flatMap((drive, index) =>
    driveLines(drive).map((line, place) => (place === 0 ? `${String(index + 1).padStart(2)}  ${line}` : `    ${line}`)),
  );

/** What the target loses; empty when there is nothing. */
export function lossLines(target: Target): string[] {
  if (target.kind === 'drive') return [...driveLines(target.drive), `Everything on ${target.path} will be lost.`];
  if ((target.sizeBytes ?? 0) === 0) return [];
  return [`${target.path} exists (${sizeText(target.sizeBytes ?? 0)}) and will be overwritten.`];
}

export const imageLine = ({ about, sizeBytes }: Image): string =>
  `Image: ${titleOf(about)}, for ${about.boards.join(', ')}; ${sizeText(sizeBytes)} on the card`;

export const titleOf = ({ name, version, architecture }: ImageAbout): string => `${name} ${version} (${architecture})`;

/** A cluster that was made now, or a hostname that another card of it has. */
export function clusterNotes(cluster: Cluster, hostname: string | undefined): string[] {
  const notes: string[] = [];
  if (cluster.isNew) {
    notes.push(
      `New cluster ${cluster.name}: its secret is in ${cluster.path}.`,
      'Keep that file: every further card needs it, and whoever has it owns the cluster.',
    );
  }
  const before = cluster.cards.find(card => card.hostname === hostname);
  if (hostname !== undefined && before !== undefined) {
    notes.push(
      `! A card for ${hostname} was flashed before (${before.at.slice(0, 10)}). If that one is in use, the second ${hostname} gives itself another name.`,
      `  The next free one: --hostname ${nextHostname(hostname, cluster.cards)}`,
    );
  }
  return notes;
}

/** The settings of a card. Never the secret or a password. */
export function settingLines(shown: ShownSettings): string[] {
  return [
    `hostname  ${shown.hostname ?? 'none: it chooses pi- and four letters or digits'}`,
    `Wi-Fi     ${shown.networks.join(', ') || 'none: by cable'}`,
    `log in    ${loginOf(shown)}`,
    `cluster   ${shown.hasSecret ? 'a secret waits for the next boot' : 'no secret on the boot partition (the first boot moves it away)'}`,
  ];
}

function loginOf({ users, sshKeys }: ShownSettings): string {
  const who = users.join(', ') || 'pi';
  return sshKeys > 0
    ? `${who}, with ${sshKeys === 1 ? 'one SSH key' : `${sshKeys} SSH keys`}`
    : `nobody: there is no SSH key`;
}

/** After flashing. */
export function nextLines(target: Target, image: Image, shown: ShownSettings): string[] {
  const name = shown.hostname;
  const who = shown.users[0] ?? 'pi';
  const lines = [
    target.kind === 'drive'
      ? `Done: take ${target.path} out, put it into the Pi (${image.about.boards.join(', ')}), and power it on.`
      : `Done: ${target.path} is a card in a file.`,
  ];
  if (!shown.hasSecret) {
    lines.push(
      '! It has no cluster secret, so it will join no other Pi. Flash it with --cluster NAME,',
      '  or on the Pi: sudo pi-swarm join TOKEN',
    );
  }
  if (shown.sshKeys === 0) {
    lines.push('! There is no SSH key on it, so nobody can log in: pi-swarm flash --edit --ssh-key FILE.pub DEVICE');
  } else if (name !== undefined) {
    lines.push(`It calls itself ${name}. A minute or two later: ssh ${who}@${name}.local pi-swarm status`);
  } else {
    lines.push(
      'It chooses a name, pi- and four letters or digits. A minute or two later `pi-swarm nodes` on any other Pi lists it;',
      `log in with ssh ${who}@NAME.local`,
    );
  }
  if (target.kind === 'drive') lines.push('The next card: the same command with the next --hostname.');
  return lines;
}
