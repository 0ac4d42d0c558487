/** `pi-swarm flash` */
import { Command } from 'commander';
import { NotFoundError, PiSwarmError, RefusedError, UsageError } from '../errors.ts';
import { editCard, flashCard } from '../flash/card.ts';
import { type Cluster, openCluster, type Person, personOf } from '../flash/clusters.ts';
import { cardsAmong, findDrives, unmountDrive } from '../flash/drives.ts';
import { imageFile } from '../flash/fetch-image.ts';
import { checkBoard, type Image, inspectImage } from '../flash/image.ts';
import { Progress } from '../flash/progress.ts';
import type { CardSettings } from '../flash/settings.ts';
import { checkTarget, type Target, targetAt } from '../flash/target.ts';
import { type SettingWords, settingsFrom } from '../flash/wishes.ts';
import { choiceLines, clusterNotes, imageLine, lossLines, nextLines, settingLines, titleOf } from '../flash/words.ts';
import { askHidden, askLine, canAsk } from './flash-ask.ts';
import { withExamples } from './help.ts';
import { note, say } from './output.ts';

interface FlashWords extends SettingWords {
  cluster?: string;
  board?: string;
  sha256?: string;
  unmount?: boolean;
  verify: boolean;
  yes?: boolean;
  edit?: boolean;
}

/** What one run of the command shares. */
interface Run {
  words: FlashWords;
  person: Person;
  signal: AbortSignal;
  interrupt(): void;
}

const several = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value];

export function flashCommand(): Command {
  const command = new Command('flash')
    .description(
      'Writes the image and your settings to an SD card, reads it back, and says what to do next. Without DEVICE it lists the cards and asks. DEVICE may also be a file.\nWith --edit it changes the settings of a card that was flashed before; without any other option it shows them.',
    )
    .argument('[image]', 'a file (.img, .zst, .xz, .gz, .zip) or a URL; none with --edit')
    .argument('[device]', 'the card, such as /dev/sdX, or a file')
    .option('--hostname <name>', 'name of the Pi (default: it chooses one)')
    .option('--wifi <network>', '"SSID:password", or SSID: then it asks for the password')
    .option('--wifi-password-file <file>', 'the password of the Wi-Fi; --wifi is then the SSID')
    .option('--wifi-country <code>', 'where the Pi is, for Wi-Fi: DE, US …')
    .option('--cluster <name>', 'your name for the cluster; its secret is kept here')
    .option('--ssh-key <file>', 'public key to log in with; repeat it (default: yours)', several)
    .option('--user <name>', 'who logs in (default: pi)')
    .option('--userdata <file>', 'user-data of cloud-init; checked first')
    .option('--config <file>', 'settings of pi-swarm (pi-swarm.yaml); checked first')
    .option('--file <file>', 'SOURCE:DESTINATION on the boot partition; repeat it', several)
    .option('--board <board>', 'refuse an image that does not start on it: pi2, pi4 …')
    .option('--sha256 <checksum>', 'checksum, file or URL (default: the .sha256 beside it)')
    .option('--unmount', 'unmount the card first')
    .option('--no-verify', 'do not read the card back')
    .option('-y, --yes', 'do not ask')
    .option('--edit', 'change the settings of a flashed card')
    .action(async (image: string | undefined, device: string | undefined, _options, self: Command) => {
      const words = {
        ...self.opts<FlashWords>(),
        config: self.opts<FlashWords>().config ?? self.optsWithGlobals().config,
      };
      await interruptible(async (signal, interrupt) => {
        const run: Run = { words, person: await personOf(), signal, interrupt };
        if (words.edit) await edit(run, image, device);
        else await flash(run, image, device);
      });
    });
  return withExamples(command, [
    'sudo pi-swarm flash --hostname pi1 --wifi Shelf --cluster shelf pi-swarm-armhf.img.zst',
    'sudo pi-swarm flash --hostname pi2 --cluster shelf pi-swarm-arm64.img.zst /dev/sdX',
    'pi-swarm flash --cluster shelf pi-swarm-arm64.img.zst card.img     into a file',
    'sudo pi-swarm flash --edit --hostname pi3 /dev/sdX',
    'sudo pi-swarm flash --edit /dev/sdX                                what is set?',
  ]);
}

/** Ctrl-C and SIGTERM end the work after the block that is being written. */
async function interruptible(work: (signal: AbortSignal, interrupt: () => void) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const onSignal = (signal: NodeJS.Signals) => {
    process.exitCode = signal === 'SIGINT' ? 130 : 143;
    controller.abort(new Error('interrupted'));
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    await work(controller.signal, () => onSignal('SIGINT'));
    process.exitCode = undefined; // An interrupt that came too late changes nothing.
  } catch (error) {
    if (!controller.signal.aborted || error instanceof PiSwarmError) throw error;
    note('Stopped.');
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

async function flash(run: Run, given: string | undefined, device: string | undefined): Promise<void> {
  const { words, person, signal } = run;
  if (given === undefined) {
    throw new UsageError('which image? None is given', 'pi-swarm flash IMAGE [DEVICE], such as pi-swarm-arm64.img.zst');
  }
  // What is quickly told comes first: the words, then the card, then the image, which takes a while.
  const settings = await wishedSettings(run, true);
  const early = device === undefined ? undefined : await targetAt(device);
  if (early !== undefined) await checkTarget(early, { imagePath: undefined, unmounts: words.unmount === true });
  const path = await imageFile(given, { sha256: words.sha256, person, signal, note });
  const image = await inspected(path, signal);
  note(imageLine(image));
  if (words.board !== undefined) checkBoard(image, words.board);
  const target = early ?? (await chosenTarget(run));
  await checkTarget(target, { neededBytes: image.sizeBytes, imagePath: path, unmounts: words.unmount === true });
  const cluster = words.cluster === undefined ? undefined : await openCluster(words.cluster, person);
  for (const line of cluster === undefined ? [] : clusterNotes(cluster, settings.hostname)) note(line);
  await confirm(run, target, image);
  await write(run, { image, target, settings: { ...settings, secret: cluster?.secret }, cluster });
}

async function write(
  { words, signal }: Run,
  {
    image,
    target,
    settings,
    cluster,
  }: { image: Image; target: Target; settings: CardSettings; cluster: Cluster | undefined },
): Promise<void> {
  if (target.kind === 'drive' && target.drive.mountPoints.length > 0) await unmountDrive(target.drive);
  const progress = (title: string, total: number) => new Progress(title, total);
  try {
    const shown = await flashCard({ image, target, settings, signal, verify: words.verify, progress });
    if (settings.hostname !== undefined) await cluster?.remember(settings.hostname, new Date());
    for (const line of nextLines(target, image, shown)) say(line);
  } catch (error) {
    if (signal.aborted) note(`${target.path} is not complete and will not start. Flash it again.`);
    throw error;
  }
}

async function inspected(path: string, signal: AbortSignal): Promise<Image> {
  const progress = new Progress('Looking through the image', undefined);
  return inspectImage(path, { signal, onBytes: bytes => progress.at(bytes) }).finally(() => progress.clear());
}

async function wishedSettings({ words, person, signal, interrupt }: Run, fresh: boolean): Promise<CardSettings> {
  return settingsFrom(words, fresh, { person, note, askPassword: question => askHidden(question, signal, interrupt) });
}

/** The only card, or the one that is chosen. @throws NotFoundError, UsageError */
async function chosenTarget({ signal, interrupt }: Run): Promise<Target> {
  const cards = cardsAmong(await findDrives());
  if (cards.length === 0) {
    throw new NotFoundError(
      'no SD card or USB stick was found',
      'Insert one, or name the device or a file: pi-swarm flash IMAGE DEVICE',
    );
  }
  for (const line of choiceLines(cards)) note(line);
  if (!canAsk())
    throw new UsageError('which of these? There is no terminal to ask', 'Name it: pi-swarm flash IMAGE DEVICE');
  const range = cards.length === 1 ? '1' : `1 to ${cards.length}`;
  const answer = await askLine(`Which one (${range}; Enter: none)? `, signal, interrupt);
  const drive = /^\d+$/.test(answer) ? cards[Number(answer) - 1] : cards.find(({ path }) => path === answer);
  if (drive === undefined) throw new RefusedError('no card was chosen', 'Nothing was written.');
  return { kind: 'drive', path: drive.path, drive };
}

/** Shows what is lost, and asks. A disk that is built in has to be named: `--yes` is meant for cards. */
async function confirm({ words, signal, interrupt }: Run, target: Target, image: Image): Promise<void> {
  const losses = lossLines(target);
  if (losses.length === 0) return;
  for (const line of losses) note(line);
  const fixed = target.kind === 'drive' && !target.drive.removable && !target.drive.virtual;
  if (words.yes && !fixed) return;
  if (!canAsk()) {
    throw new RefusedError(
      fixed
        ? `${target.path} is built in, no card: --yes is not enough for it`
        : 'nothing was written: there is no terminal to ask whether that is meant',
      fixed ? 'Run it in a terminal, and answer the question.' : 'If it is: the same command with --yes.',
    );
  }
  const question = fixed
    ? `! ${target.path} is built in, no card. To write ${titleOf(image.about)} to it all the same, type ${target.path}: `
    : `Write ${titleOf(image.about)} to ${target.path}? [y/N] `;
  const answer = await askLine(question, signal, interrupt);
  if (fixed ? answer === target.path : /^y(es)?$/i.test(answer)) return;
  throw new RefusedError('nothing was written: that was not a yes', 'Run it again when you are sure.');
}

async function edit(run: Run, device: string | undefined, more: string | undefined): Promise<void> {
  const { words, person } = run;
  if (more !== undefined)
    throw new UsageError('--edit changes settings and takes no image', 'pi-swarm flash --edit [OPTIONS] DEVICE');
  for (const [name, given] of [
    ['--board', words.board],
    ['--sha256', words.sha256],
  ]) {
    if (given !== undefined) throw new UsageError(`${name} is about an image, and --edit takes none`, 'Leave it out.');
  }
  const settings = await wishedSettings(run, false);
  const target = device === undefined ? await chosenTarget(run) : await targetAt(device);
  if (target.kind === 'file' && target.sizeBytes === undefined)
    throw new NotFoundError(`there is no ${target.path}`, 'Check the path.');
  await checkTarget(target, { unmounts: words.unmount === true });
  const cluster = words.cluster === undefined ? undefined : await openCluster(words.cluster, person);
  for (const line of cluster === undefined ? [] : clusterNotes(cluster, settings.hostname)) note(line);
  if (target.kind === 'drive' && target.drive.mountPoints.length > 0) await unmountDrive(target.drive);
  const wanted: CardSettings = { ...settings, secret: cluster?.secret };
  const nothing = Object.values(wanted).every(
    value => value === undefined || (Array.isArray(value) && value.length === 0),
  );
  const { about, changed, shown } = await editCard(target, nothing ? undefined : wanted);
  if (settings.hostname !== undefined) await cluster?.remember(settings.hostname, new Date());
  say(`${target.path}: ${titleOf(about)}`);
  for (const line of settingLines(shown)) say(`  ${line}`);
  if (!nothing) say(`Changed: ${changed.join(', ')}. The Pi reads them at its next boot.`);
}
