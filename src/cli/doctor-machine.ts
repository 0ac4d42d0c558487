/** Checks of the machine: what pi-swarm and Docker need of it. Pure. */
import { type Check, type DoctorFacts, error, ok, warning } from './doctor-check.ts';

const MB = 1024 * 1024;
const FREE_MIN_MB = 200;
const FREE_SCARCE_SHARE = 0.1;

export function machineChecks(facts: DoctorFacts): Check[] {
  const checks = [root, system, node, clock, machineId, config, secret, stateDir, disk].map(check => check(facts));
  return [...checks, ...bootFiles(facts)];
}

function root({ root }: DoctorFacts): Check {
  if (root) return ok('root', 'runs as root');
  return warning('root', 'not root: some checks could not look', 'sudo pi-swarm doctor');
}

function system({ platform }: DoctorFacts): Check {
  if (platform === 'linux') return ok('linux', 'this is Linux');
  return error(
    'linux',
    `this is ${platform}; swarm mode needs Linux`,
    'Run the agent on a Raspberry Pi or another Linux machine.',
  );
}

function node({ nodeVersion }: DoctorFacts): Check {
  const [major = 0, minor = 0] = nodeVersion.replace('v', '').split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 3)) return ok('node', `Node.js ${nodeVersion}`);
  return error(
    'node',
    `Node.js ${nodeVersion} is too old`,
    'Install Node.js 20.3 or newer: sudo apt install nodejs (Debian 13)',
  );
}

function clock({ wallMs, builtMs }: DoctorFacts): Check {
  const says = new Date(wallMs).toISOString().slice(0, 16).replace('T', ' ');
  if (wallMs >= builtMs) return ok('clock', `the clock says ${says} UTC`);
  return warning(
    'clock',
    `the clock says ${says} UTC, before this release was built`,
    'The agent goes by its peers’ time. To set it: sudo timedatectl set-ntp true, or sudo date -s "2025-06-01 12:00"',
  );
}

/** The same machine-id on every flashed card gives all Pis the same DHCP lease. */
function machineId({ machineId }: DoctorFacts): Check {
  if (machineId !== undefined && /^[0-9a-f]{32}$/.test(machineId)) return ok('machine-id', 'has a machine-id');
  return warning(
    'machine-id',
    'has no valid /etc/machine-id',
    'sudo rm -f /etc/machine-id && sudo systemd-machine-id-setup, then reboot. Pis with the same one get the same address.',
  );
}

function config({ configProblem }: DoctorFacts): Check {
  if (configProblem === undefined) return ok('config', 'the configuration is right');
  return error('config', configProblem, 'Correct the line; every setting is explained in docs/config.md.');
}

function secret({ secret }: DoctorFacts): Check {
  const { path, state, mode = 0o600, problem } = secret;
  switch (state) {
    case 'absent':
      return warning(
        'secret',
        `no cluster secret (${path}): this Pi joins nothing`,
        'To found a cluster: sudo pi-swarm secret new --write. To enter one: sudo pi-swarm join TOKEN',
      );
    case 'unreadable':
      return warning(
        'secret',
        `the cluster secret cannot be read: ${problem ?? 'no permission'}`,
        'sudo pi-swarm doctor',
      );
    case 'damaged':
      return error(
        'secret',
        problem ?? `${path} holds no cluster secret`,
        'On a Pi of the cluster: sudo pi-swarm invite; then here: sudo pi-swarm join TOKEN',
      );
    case 'ok':
      if ((mode & 0o077) === 0) return ok('secret', 'the cluster secret is in place, for root only');
      return error('secret', `others may read the cluster secret (mode ${octal(mode)})`, `sudo chmod 600 ${path}`);
  }
}

const octal = (mode: number): string => (mode & 0o777).toString(8).padStart(4, '0');

function stateDir({ stateDir }: DoctorFacts): Check {
  const { path, exists, mode } = stateDir;
  if (!exists) return ok('state', `${path} will be made at the first start`);
  if (mode === undefined || (mode & 0o077) === 0) return ok('state', `${path} is for root only`);
  return error('state', `others may look into ${path} (mode ${octal(mode)})`, `sudo chmod 700 ${path}`);
}

/** Mistakes on the boot partition, as the last start found them; the agent's own file is checked anew, as the configuration. */
function bootFiles({ bootNotices = [] }: DoctorFacts): Check[] {
  const others = bootNotices.filter(({ text }) => !text.includes('/pi-swarm.yaml:'));
  return others.map(({ text, cure }) => error('boot-files', text, cure ?? 'docs/image.md says what belongs there.'));
}

function disk({ stateDir }: DoctorFacts): Check {
  const { path, freeBytes, totalBytes = 0 } = stateDir;
  if (freeBytes === undefined) return warning('disk', `cannot tell how full the disk of ${path} is`, `df -h ${path}`);
  const free = Math.floor(freeBytes / MB);
  const cure = 'sudo docker system prune frees what no container uses; sudo journalctl --vacuum-size=50M frees logs.';
  if (free < FREE_MIN_MB) return error('disk', `only ${free} MB are free at ${path}`, cure);
  if (freeBytes < totalBytes * FREE_SCARCE_SHARE)
    return warning('disk', `the disk is nearly full: ${free} MB are free`, cure);
  return ok('disk', `${free} MB are free`);
}
