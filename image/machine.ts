/**
 * A place to build in that vanishes with the process: mount and process namespaces of its own, a tmpfs, and the kernel's way
 * to run programs of another architecture. Whatever ends the build, Ctrl-C or a power cut, nothing of it stays.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { EnvironmentError } from '../src/errors.ts';
import { type Architecture, BOARDS } from './recipe.ts';
import { run } from './tools.ts';

const INSIDE = 'PI_SWARM_IMAGE_INSIDE';
const BINFMT = '/proc/sys/fs/binfmt_misc';
const TMPFS_MIB = 6144;

export const isInside = (): boolean => process.env[INSIDE] === '1';

/** Runs this very script again in namespaces of its own. @returns its exit code */
export function runInside(argv: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const namespaces = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const child = spawn('unshare', [...namespaces, process.execPath, ...argv], {
      stdio: 'inherit',
      // Debian's own programs, not what somebody has put before them.
      env: { ...process.env, PATH: '/usr/sbin:/usr/bin:/sbin:/bin', [INSIDE]: '1' },
    });
    // A terminal sends Ctrl-C to the build itself; it ends in order. Others may only reach this process, and unshare
    // ignores the signal: with it gone the kernel ends all that is inside.
    const terminate = (): void => void child.kill('SIGKILL');
    const interrupt = (): void => {};
    process.on('SIGTERM', terminate).on('SIGINT', interrupt);
    child.on('error', reject);
    child.on('close', code => {
      process.off('SIGTERM', terminate).off('SIGINT', interrupt);
      resolve(code ?? 130);
    });
  });
}

/** An empty tmpfs at `path`, of this namespace only. On noatime, so that reading the tree leaves it as it is. */
export async function mountWorkplace(path: string, signal: AbortSignal): Promise<void> {
  await mkdir(path, { recursive: true });
  const options = `size=${TMPFS_MIB}m,mode=0755,noatime`;
  await run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', path], { limitMs: 10_000, signal });
}

/**
 * Lets programs of the architecture run here, through qemu. @returns how to take that back: only what was not there before
 * @throws EnvironmentError where the kernel cannot
 */
export async function allowForeignPrograms(
  architecture: Architecture,
  signal: AbortSignal,
): Promise<() => Promise<void>> {
  const nothing = async (): Promise<void> => {};
  if (await runsHere(architecture, signal)) return nothing;
  const { interpreter, elfClass, machine } = BOARDS[architecture].qemu;
  try {
    if (!existsSync(`${BINFMT}/register`)) {
      await run(['mount', '-t', 'binfmt_misc', 'binfmt_misc', BINFMT], { limitMs: 10_000, signal });
    }
    const name = `pi-swarm-image-${architecture}`;
    if (await runsHere(architecture, signal)) return nothing;
    await writeFile(`${BINFMT}/register`, registration(name, `/usr/bin/${interpreter}`, elfClass, machine));
    return () => writeFile(`${BINFMT}/${name}`, '-1').catch(() => undefined);
  } catch (cause) {
    throw new EnvironmentError(
      `this machine cannot be made to run programs for ${architecture}: ${String(cause)}`,
      'It needs a kernel with binfmt_misc, and qemu-user-static. In a container: start it with --privileged.',
      { cause },
    );
  }
}

const runsHere = (architecture: Architecture, signal: AbortSignal): Promise<boolean> =>
  run(['arch-test', architecture], { limitMs: 10_000, signal }).then(
    () => true,
    () => false,
  );

/**
 * Documentation/admin-guide/binfmt-misc.rst: magic and mask of a little-endian ELF program. F: the interpreter is opened now,
 * so that a chroot does not need it; C: setuid programs keep their rights; O and P as Debian has them.
 */
function registration(name: string, interpreter: string, elfClass: number, machine: number): string {
  const hex = (bytes: readonly number[]) => bytes.map(byte => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
  const magic = [0x7f, 0x45, 0x4c, 0x46, elfClass, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, machine, 0];
  const same = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
  // The low bit of the type is left open: position-independent programs (3) are meant, too.
  return `:${name}:M::${hex(magic)}:${hex([...same, 0xfe, 0xff, 0xff, 0xff])}:${interpreter}:FPOC`;
}
