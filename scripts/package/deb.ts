/** Makes pi-swarm_VERSION_all.deb: a folder as it will be on the Pi, packed by dpkg-deb. The same source gives the same bytes. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { constants, gzipSync } from 'node:zlib';
import { makeProgram } from '../../src/cli.ts';
import { bashCompletion } from './completion.ts';
import { commandTexts } from './help-texts.ts';
import { copyrightFile, type Metafile } from './licences.ts';
import { manualPage } from './manual.ts';

export interface DebOptions {
  /** The project's folder. */
  root: string;
  /** Where the .deb goes. */
  outDir: string;
  /** Seconds since 1970: every date in the package, and what the agent takes for the date of its build. */
  epochSeconds: number;
  /** Of scripts/build.mjs; it takes its date from SOURCE_DATE_EPOCH. */
  bundle(outfile: string): Promise<Metafile>;
}

/** Debian's revision of an upstream version. It is not counted: who builds it anew has a new version, or the same package. */
const REVISION = 1;
const DOC = 'usr/share/doc/pi-swarm';
const BUNDLE = 'usr/lib/pi-swarm/pi-swarm.mjs';
const CONFIG = 'etc/pi-swarm/config.yaml';
/** Why what lintian says of this package is as it should be. */
const OVERRIDES = `# It is not uploaded to Debian, so nobody there has asked for it.
pi-swarm: initial-upload-closes-no-bugs *
`;
/** What the messages of the program, and people on a Pi, refer to. */
const DOCS = ['install', 'config', 'cli', 'troubleshooting', 'security', 'mqtt'];
const SCRIPTS = ['postinst', 'prerm', 'postrm'];

/** `0.2.0-rc.1` is older than `0.2.0`: for dpkg that is `0.2.0~rc.1` (deb-version(7)). */
export const debVersion = (version: string): string => `${version.replace('-', '~')}-${REVISION}`;

/** @returns the path of the .deb */
export async function makeDeb({ root, outDir, epochSeconds, bundle }: DebOptions): Promise<string> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const stage = mkdtempSync(join(tmpdir(), 'pi-swarm-deb-'));
  try {
    const put = putter(stage);
    const metafile = await bundle(join(stage, 'bundle.mjs'));
    const code = readFileSync(join(stage, 'bundle.mjs'), 'utf8');
    rmSync(join(stage, 'bundle.mjs'));
    // The package depends on Debian's Node; another one in somebody's PATH is not what it was tried with.
    put(BUNDLE, code.replace(/^#!.*\n/, '#!/usr/bin/node\n'), 0o755);
    mkdirSync(join(stage, 'usr/bin'), { recursive: true });
    symlinkSync('../lib/pi-swarm/pi-swarm.mjs', join(stage, 'usr/bin/pi-swarm'));
    putSystem(put, root);
    await putTexts(put, { root, version, epochSeconds, metafile });
    putControl(put, { root, version, stage });
    const file = join(outDir, `pi-swarm_${debVersion(version)}_all.deb`);
    mkdirSync(outDir, { recursive: true });
    pack(stage, file, epochSeconds);
    return file;
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

type Put = (path: string, content: string | Buffer, mode?: number) => void;

const putter =
  (stage: string): Put =>
  (path, content, mode = 0o644) => {
    mkdirSync(dirname(join(stage, path)), { recursive: true });
    writeFileSync(join(stage, path), content);
    chmodSync(join(stage, path), mode);
  };

function putSystem(put: Put, root: string): void {
  const unit = (name: string) => readFileSync(join(root, 'systemd', name));
  put('usr/lib/systemd/system/pi-swarm.service', unit('pi-swarm.service'));
  put('usr/lib/sysusers.d/pi-swarm.conf', unit('pi-swarm.sysusers.conf'));
  put('usr/lib/tmpfiles.d/pi-swarm.conf', unit('pi-swarm.tmpfiles.conf'));
  put(CONFIG, readFileSync(join(root, 'docs/config.example.yaml')));
}

interface TextParts {
  root: string;
  version: string;
  epochSeconds: number;
  metafile: Metafile;
}

async function putTexts(put: Put, { root, version, epochSeconds, metafile }: TextParts): Promise<void> {
  const texts = commandTexts(await makeProgram(() => true));
  put('usr/share/bash-completion/completions/pi-swarm', bashCompletion(texts));
  put('usr/share/man/man1/pi-swarm.1.gz', compressed(manualPage(texts, { version, epochSeconds })));
  put(`${DOC}/copyright`, copyrightFile(root, metafile));
  put(`${DOC}/changelog.gz`, compressed(readFileSync(join(root, 'CHANGELOG.md'), 'utf8')));
  put(`${DOC}/changelog.Debian.gz`, compressed(debianChangelog(version, epochSeconds)));
  put('usr/share/lintian/overrides/pi-swarm', OVERRIDES);
  for (const name of DOCS) put(`${DOC}/${name}.md`, readFileSync(join(root, 'docs', `${name}.md`)));
}

/** gzip(1)'s header without name and date, at its best level. */
const compressed = (text: string): Buffer => gzipSync(text, { level: constants.Z_BEST_COMPRESSION });

const debianChangelog = (version: string, epochSeconds: number): string =>
  `pi-swarm (${debVersion(version)}) unstable; urgency=medium

  * What changed for users is in /usr/share/doc/pi-swarm/changelog.gz.

 -- pi-swarm maintainers <maintainers@pi-swarm.example>  ${rfc5322(epochSeconds)}
`;

/** `Thu, 26 Nov 2026 09:48:10 +0000` (RFC 5322 section 3.3) */
const rfc5322 = (seconds: number): string => new Date(seconds * 1000).toUTCString().replace('GMT', '+0000');

function putControl(put: Put, { root, version, stage }: { root: string; version: string; stage: string }): void {
  const source = join(root, 'scripts/package/debian');
  const files = [...treeOf(stage)];
  const plain = files.filter(path => lstatSync(join(stage, path)).isFile());
  // As dpkg-gencontrol counts: each thing at least one KiB, files rounded up.
  const kib = (path: string) => (plain.includes(path) ? Math.ceil(lstatSync(join(stage, path)).size / 1024) : 1);
  const installed = files.reduce((sum, path) => sum + kib(path), 0);
  const control = readFileSync(join(source, 'control'), 'utf8')
    .replace('@VERSION@', debVersion(version))
    .replace('@INSTALLED_KIB@', `${installed}`);
  const md5 = (path: string) =>
    createHash('md5')
      .update(readFileSync(join(stage, path)))
      .digest('hex');
  put('DEBIAN/control', control);
  put('DEBIAN/conffiles', `/${CONFIG}\n`);
  put(
    'DEBIAN/md5sums',
    plain
      .filter(path => path !== CONFIG)
      .map(path => `${md5(path)}  ${path}\n`)
      .join(''),
  );
  for (const name of SCRIPTS) {
    put(`DEBIAN/${name}`, '');
    copyFileSync(join(source, name), join(stage, 'DEBIAN', name));
    chmodSync(join(stage, 'DEBIAN', name), 0o755);
  }
}

/** Everything below, in the same order everywhere. */
function* treeOf(folder: string, under = ''): Generator<string> {
  for (const entry of readdirSync(join(folder, under), { withFileTypes: true }).sort((a, b) =>
    a.name < b.name ? -1 : 1,
  )) {
    const path = under === '' ? entry.name : `${under}/${entry.name}`;
    yield path;
    if (entry.isDirectory()) yield* treeOf(folder, path);
  }
}

/** Dates, modes, owners and the compressor's threads are fixed: nothing of this machine gets into the file. */
function pack(stage: string, file: string, epochSeconds: number): void {
  for (const path of [...treeOf(stage)].reverse()) {
    if (lstatSync(join(stage, path)).isDirectory()) chmodSync(join(stage, path), 0o755);
    lutimesSync(join(stage, path), epochSeconds, epochSeconds);
  }
  chmodSync(stage, 0o755);
  lutimesSync(stage, epochSeconds, epochSeconds);
  // xz: also the dpkg of Raspberry Pi OS 11 reads it. zstd would be Ubuntu's default.
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zxz', '-z9', '--threads-max=1', '--build', stage, file], {
    env: { ...process.env, SOURCE_DATE_EPOCH: `${epochSeconds}`, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}
