/**
 * All the set-up there is: looks at what this machine has, says what is missing, installs it, builds the bundle.
 * Plain Node without a single package, because it runs before there are any. Quiet, and well under a second, when
 * nothing is missing.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { IMAGE_PROGRAMS } from './image-programs.mjs';
import { run, SetupError } from './setup-run.mjs';

export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

/** EXIT.environment of src/errors.ts: the machine lacks something. */
export const EXIT_ENVIRONMENT = 7;

/**
 * What has to be on the machine: a program to look for, the Debian packages that may bring it (the first that is
 * known is taken), and why. Looking for programs instead of packages is right for docker-ce and for other distributions.
 */
const PROGRAMS = [
  { program: 'dockerd', packages: ['docker.io'], why: 'the Docker Engine that every virtual Pi runs' },
  {
    program: 'docker',
    packages: ['docker.io', 'docker-cli'],
    why: "Docker's own command line, to look at the engines",
  },
  { program: 'ip', packages: ['iproute2'], why: 'makes the network between the Pis' },
  { program: 'busybox', packages: ['busybox-static'], why: 'the whoami image is made from it', fits: isStatic },
  { program: 'nft', packages: ['nftables'], why: 'the routing mesh on kernels without ip_vs' },
  { program: 'iptables', packages: ['iptables'], why: 'the Docker Engine needs it' },
  { program: 'curl', packages: ['curl'], why: 'asks the Pis who they are' },
  { program: 'openssl', packages: ['openssl'], why: 'the tests let it judge our certificates', tests: true },
  { program: 'mosquitto', packages: ['mosquitto'], why: 'the tests talk to a real MQTT broker', tests: true },
  { program: 'docker-registry', packages: ['docker-registry'], why: 'the tests pull images from it', tests: true },
  {
    program: 'systemd-analyze',
    packages: ['systemd'],
    why: "some virtual Pis of the tests are run by a real systemd; it does not become this machine's own",
    tests: true,
  },
  { program: 'sfdisk', packages: ['fdisk'], why: 'the tests make small images of cards with it', tests: true },
  { program: 'mkfs.vfat', packages: ['dosfstools'], why: 'the same; its fsck.vfat judges what we write', tests: true },
  { program: 'mcopy', packages: ['mtools'], why: 'the tests read cards with it', tests: true },
  { program: 'mke2fs', packages: ['e2fsprogs'], why: 'the second partition of those images', tests: true },
  { program: 'zstd', packages: ['zstd'], why: 'images are packed with it', tests: true },
  { program: 'xz', packages: ['xz-utils'], why: 'some images are packed with it', tests: true },
  { program: 'unzip', packages: ['unzip'], why: 'some images are packed with it', tests: true },
  { program: 'zip', packages: ['zip'], why: 'the tests pack one', tests: true },
  { program: 'mosquitto_sub', packages: ['mosquitto-clients'], why: 'the tests listen with it', tests: true },
  { program: 'lintian', packages: ['lintian'], why: "the tests let it judge pi-swarm's own .deb", tests: true },
  { program: 'dpkg-deb', packages: ['dpkg'], why: 'makes the .deb', pack: true },
  ...IMAGE_PROGRAMS,
];

/**
 * @param {{ lab?: boolean, tests?: boolean, build?: boolean, pack?: boolean, image?: boolean, boot?: boolean }} wanted
 *   lab: virtual Pis will run, which needs root and engines; tests: the tests' own programs too; build: make the bundle;
 *   pack: make the .deb; image: build the card image; boot: start it in software emulation.
 * @throws {SetupError}
 */
export async function setUp({ lab = true, tests = false, build = true, pack = lab && tests, image, boot } = {}) {
  checkNode();
  if (lab || image) checkMachine();
  await npmPackages();
  const needed = PROGRAMS.filter(program => {
    if (program.pack) return pack;
    if (program.image) return image;
    if (program.boot) return boot;
    return lab && (tests || !program.tests);
  });
  if (lab || pack || image || boot) await programs(needed);
  if (lab) checkNamespaces();
  if (build) await bundleIfOlder();
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 3)) return;
  throw new SetupError(
    `pi-swarm needs Node 20.3 or newer; this is Node ${process.versions.node}.`,
    'On Debian 13, Ubuntu 24.10 or Raspberry Pi OS (trixie) and newer: sudo apt install nodejs npm\n' +
      'Elsewhere take it from https://nodejs.org/en/download, then run this again.',
  );
}

function checkMachine() {
  if (process.platform !== 'linux') {
    throw new SetupError(
      `This needs Linux; this is ${process.platform}.`,
      'Use a Linux machine or a virtual machine with Debian, Ubuntu or Raspberry Pi OS, and run this there.',
    );
  }
  if (process.getuid() !== 0) {
    const name = process.env.npm_lifecycle_event;
    throw new SetupError(
      'Virtual Pis are network namespaces and Docker Engines, and an image is made in a chroot: only root may do that.',
      `Run it as root: sudo ${name === undefined ? 'node scripts/setup.mjs' : name === 'test' ? 'npm test' : `npm run ${name}`}`,
    );
  }
}

/** Root inside an unprivileged container may install packages, and still not make namespaces. */
function checkNamespaces() {
  const tried = spawnSync('unshare', ['--mount', '--net', '--pid', '--fork', 'true'], { encoding: 'utf8' });
  if (tried.status === 0) return;
  throw new SetupError(
    `This machine does not let root make namespaces (${tried.stderr?.trim() || tried.error?.message}).`,
    'Inside a container: start it with --privileged, or run this on the machine itself.',
  );
}

// ---------------------------------------------------------------------------------------------- npm packages

async function npmPackages() {
  const wrong = whatNpmLacks();
  if (wrong === undefined) return;
  const npm = process.env.npm_execpath;
  const [file, first] = npm === undefined ? ['npm', []] : [process.execPath, [npm]];
  await run(`npm packages: ${wrong}; npm ci`, file, [...first, 'ci', '--include=dev', '--no-audit', '--no-fund'], {
    cwd: root,
    limitMs: 10 * 60_000,
    cure: 'Is this machine online, and may it write to this folder? Try it by hand: npm ci',
  });
  const still = whatNpmLacks();
  if (still) throw new SetupError(`npm ci ended well, and still: ${still}.`, 'Remove node_modules and run this again.');
}

/** Why node_modules is not what package-lock.json says, or undefined when it is. */
function whatNpmLacks() {
  const there = `${root}/node_modules/.package-lock.json`;
  if (!existsSync(there)) return 'not installed yet';
  const want = JSON.parse(readFileSync(`${root}/package-lock.json`, 'utf8')).packages;
  const have = JSON.parse(readFileSync(there, 'utf8')).packages;
  for (const [path, { version, optional, peer }] of Object.entries(want)) {
    if (path === '' || (have[path] === undefined && (optional || peer))) continue;
    const name = path.replace(/^.*node_modules\//, '');
    if (have[path] === undefined || !existsSync(`${root}/${path}/package.json`)) return `${name} is missing`;
    if (have[path].version !== version) return `${name} is ${have[path].version}, not ${version}`;
  }
  return undefined;
}

// ------------------------------------------------------------------------------------------- Debian packages

async function programs(needed) {
  // What runs later looks in PATH, too.
  process.env.PATH = searchPath().join(':');
  const missing = missingPrograms(needed);
  if (missing.length === 0) return;
  const list = [...new Set(missing.map(({ packages }) => packages[0]))];
  if (find('apt-get') === undefined) {
    throw new SetupError(
      `Programs are missing: ${missing.map(({ program }) => program).join(', ')}.`,
      `This is not a Debian, so please install them yourself. On Debian they are in: ${list.join(' ')}`,
    );
  }
  console.log('Debian packages are missing and will be installed:');
  for (const { packages, program, why } of missing) console.log(`  ${packages[0].padEnd(18)} ${program}: ${why}`);
  const services = list.filter(name => ['docker.io', 'mosquitto'].includes(name));
  if (services.length > 0) {
    const start = services.length === 1 ? 'also starts as a service' : 'also start as services';
    console.log(`  As always on Debian, ${services.join(' and ')} ${start} of this machine; the virtual Pis do not`);
    console.log('  use that.');
  }
  if (!hasPackageLists()) await aptGet(['update']);
  await installOrUpdateFirst(list);
  const second = missingPrograms(needed).map(({ packages }) => packages.at(-1));
  if (second.length > 0) await installOrUpdateFirst([...new Set(second)]);
  const still = missingPrograms(needed).map(({ program }) => program);
  if (still.length > 0) {
    throw new SetupError(`Still missing after the installation: ${still.join(', ')}.`, 'Please install them by hand.');
  }
}

/** Package lists that are a week old name versions that no mirror holds any more: then update, and once more. */
async function installOrUpdateFirst(packages) {
  const install = ['install', '-y', '--no-install-recommends', ...packages];
  try {
    await aptGet(install);
  } catch {
    await aptGet(['update']);
    await aptGet(install);
  }
}

const aptGet = args =>
  run(
    `apt-get ${args.filter(arg => !arg.startsWith('-')).join(' ')}`,
    'apt-get',
    ['-q', '-o', 'DPkg::Lock::Timeout=300', ...args],
    {
      limitMs: 15 * 60_000,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
      retryWhen: /Could not get lock|Unable to lock/,
      cure: `Is this machine online? Try it by hand: apt-get update && apt-get ${args.join(' ')}`,
    },
  );

const hasPackageLists = () => {
  const lists = '/var/lib/apt/lists';
  return existsSync(lists) && readdirSync(lists).some(name => /_Packages(\.\w+)?$/.test(name));
};

const missingPrograms = needed =>
  needed.filter(({ program, fits }) => {
    const path = find(program);
    return path === undefined || (fits !== undefined && !fits(path));
  });

/** Debian keeps root's programs in sbin, which `su` leaves out of PATH. */
function searchPath() {
  const given = (process.env.PATH ?? '').split(':').filter(folder => folder !== '');
  return [...new Set([...given, '/usr/sbin', '/sbin', '/usr/bin', '/bin'])];
}

function find(program) {
  return searchPath()
    .map(folder => `${folder}/${program}`)
    .find(isExecutable);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** An ELF file that asks for no interpreter (program header PT_INTERP, 3): it runs in an image that holds nothing else. */
function isStatic(path) {
  const elf = readFileSync(path);
  const wide = elf[4] === 2;
  const offset = wide ? Number(elf.readBigUInt64LE(0x20)) : elf.readUInt32LE(0x1c);
  const size = elf.readUInt16LE(wide ? 0x36 : 0x2a);
  const count = elf.readUInt16LE(wide ? 0x38 : 0x2c);
  return !Array.from({ length: count }, (_, index) => elf.readUInt32LE(offset + index * size)).includes(3);
}

// ------------------------------------------------------------------------------------------------ the bundle

/** esbuild takes half a second; comparing times takes none. */
async function bundleIfOlder() {
  const bundled = `${root}/dist/pi-swarm.mjs`;
  const sources = ['src', 'scripts', 'package.json', 'package-lock.json'].map(name => newest(`${root}/${name}`));
  if (existsSync(bundled) && statSync(bundled).mtimeMs > Math.max(...sources)) return;
  const { bundle } = await import('./build.mjs');
  await bundle();
}

function newest(path) {
  const stat = statSync(path);
  return stat.isDirectory()
    ? Math.max(stat.mtimeMs, ...readdirSync(path).map(name => newest(`${path}/${name}`)))
    : stat.mtimeMs;
}

/** Prints what is in the way, in one message with its cure, and ends with the exit code for the machine. */
export function explainAndExit(error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`\n${error.message}\n${error.cure}`);
  process.exit(EXIT_ENVIRONMENT);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await setUp({ tests: true }).then(() => console.log('Everything is there: npm run demo, npm test'), explainAndExit);
}
