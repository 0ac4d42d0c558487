/**
 * The demo image, made on the spot: no registry, no internet, nothing but the busybox that is installed anyway.
 * The tar is in `docker save`'s format (Docker image specification v1.2) and the same for the same busybox.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { EnvironmentError, messageOf } from '../errors.ts';
import type { Engine } from '../ports.ts';

/**
 * A task's engine asks the registry in the image's name before it takes the local copy. This one refuses at once (with
 * another, a Pi without internet waits 20–40 s for every task), and port 1 is one that only root could ever listen on.
 */
export const WHOAMI_IMAGE = '127.0.0.1:1/pi-swarm/whoami:1';

/** The port inside the container. */
export const WHOAMI_PORT = 8000;

export const BUSYBOX_PATH = '/bin/busybox';

const CURE = 'apt-get install busybox-static';
const EPOCH = new Date(0);
const NOBODY = 65534;
const ELF_TYPE_INTERPRETER = 3;

/**
 * `index.html` is what busybox httpd answers to `GET /`. The shell is process 1, so that SIGTERM ends the container at
 * once (the kernel drops signals that process 1 does not handle, and httpd handles none).
 */
const SCRIPT = `#!/bin/sh
trap 'exit 0' TERM INT
echo "I'm $(hostname)" > /www/index.html
httpd -f -p ${WHOAMI_PORT} -h /www &
wait $!
`;

/** For a look around with `docker exec`. Not wget: statically linked, it dies looking up names in libraries that are not there. */
const APPLETS = ['sh', 'hostname', 'httpd', 'cat', 'ls', 'ps', 'ip', 'nc'];

interface Machine {
  /** Go's names. */
  architecture: string;
  variant?: string;
  /** ELF `e_machine` and class (1: 32 bit, 2: 64 bit). */
  machine: number;
  bits: 1 | 2;
}

/** By the names under which engines report their architecture (`uname -m`). */
const MACHINES: Record<string, Machine> = {
  x86_64: { architecture: 'amd64', machine: 62, bits: 2 },
  aarch64: { architecture: 'arm64', variant: 'v8', machine: 183, bits: 2 },
  armv7l: { architecture: 'arm', variant: 'v7', machine: 40, bits: 1 },
  armv6l: { architecture: 'arm', variant: 'v6', machine: 40, bits: 1 },
  i686: { architecture: '386', machine: 3, bits: 1 },
  i386: { architecture: '386', machine: 3, bits: 1 },
  riscv64: { architecture: 'riscv64', machine: 243, bits: 2 },
};

/**
 * A tar for `POST /images/load`.
 * @param architecture as the engine reports it: `armv7l`, `aarch64`, `x86_64` …
 * @throws EnvironmentError when busybox is missing, dynamically linked or of another architecture
 */
export async function whoamiImage(architecture: string, busyboxPath = BUSYBOX_PATH): Promise<Buffer> {
  const machine = MACHINES[architecture];
  if (machine === undefined) {
    throw new EnvironmentError(
      `The whoami image cannot be made for the architecture "${architecture}".`,
      `Supported are ${Object.keys(MACHINES).join(', ')}. Use an image from a registry instead.`,
    );
  }
  const busybox = await readFile(busyboxPath).catch((cause: unknown) => {
    throw new EnvironmentError(`The whoami image is made from ${busyboxPath}, which ${messageOf(cause)}`, CURE, {
      cause,
    });
  });
  checkBusybox(busybox, busyboxPath, machine, architecture);

  const layer = await layerTar(busybox);
  const config = Buffer.from(JSON.stringify(imageConfig(machine, `sha256:${sha256(layer)}`)));
  const configName = `${sha256(config)}.json`;
  const layerName = `${sha256(layer)}/layer.tar`;
  const manifest = [{ Config: configName, RepoTags: [WHOAMI_IMAGE], Layers: [layerName] }];
  return tar([
    { name: configName, data: config },
    { name: layerName, data: layer },
    { name: 'manifest.json', data: Buffer.from(JSON.stringify(manifest)) },
  ]);
}

/** Puts the image on this engine where it is missing. @returns whether it had to. @throws EngineError, EnvironmentError */
export async function ensureWhoami(
  engine: Pick<Engine, 'hasImage' | 'loadImage'>,
  architecture: string,
  busyboxPath = BUSYBOX_PATH,
): Promise<boolean> {
  if (await engine.hasImage(WHOAMI_IMAGE)) return false;
  await engine.loadImage(await whoamiImage(architecture, busyboxPath));
  return true;
}

function checkBusybox(elf: Buffer, path: string, wanted: Machine, architecture: string): void {
  const isElf = elf.length > 64 && elf.readUInt32BE(0) === 0x7f454c46;
  if (!isElf) throw new EnvironmentError(`${path} is not a program (no ELF header).`, CURE);
  const bits = elf.readUInt8(4);
  const machine = elf.readUInt16LE(18);
  if (bits !== wanted.bits || machine !== wanted.machine) {
    throw new EnvironmentError(
      `${path} is not built for ${architecture} (ELF machine ${machine}, class ${bits}); the container would not start.`,
      `Install the busybox-static of the architecture that the Docker Engine runs on: ${CURE}`,
    );
  }
  if (isDynamic(elf, bits)) {
    throw new EnvironmentError(`${path} needs shared libraries, which the whoami image does not have.`, CURE);
  }
}

/** A program header of type PT_INTERP names the dynamic loader (ELF specification, book I). */
function isDynamic(elf: Buffer, bits: number): boolean {
  const offset = bits === 2 ? Number(elf.readBigUInt64LE(32)) : elf.readUInt32LE(28);
  const size = elf.readUInt16LE(bits === 2 ? 54 : 42);
  const count = elf.readUInt16LE(bits === 2 ? 56 : 44);
  for (let index = 0; index < count; index++) {
    const at = offset + index * size;
    if (at + 4 <= elf.length && elf.readUInt32LE(at) === ELF_TYPE_INTERPRETER) return true;
  }
  return false;
}

function imageConfig(machine: Machine, layer: string): object {
  const created = EPOCH.toISOString();
  return {
    architecture: machine.architecture,
    ...(machine.variant === undefined ? {} : { variant: machine.variant }),
    os: 'linux',
    created,
    config: {
      User: `${NOBODY}:${NOBODY}`,
      Env: ['PATH=/bin'],
      Entrypoint: ['/bin/whoami-http'],
      ExposedPorts: { [`${WHOAMI_PORT}/tcp`]: {} },
      Labels: { 'org.opencontainers.image.title': 'whoami', 'pi-swarm.image': 'whoami' },
    },
    rootfs: { type: 'layers', diff_ids: [layer] },
    history: [{ created, created_by: 'pi-swarm' }],
  };
}

function layerTar(busybox: Buffer): Promise<Buffer> {
  return tar([
    { name: 'bin', type: 'directory', mode: 0o755 },
    { name: 'bin/busybox', data: busybox, mode: 0o755 },
    ...APPLETS.map(applet => ({ name: `bin/${applet}`, type: 'symlink' as const, linkname: 'busybox' })),
    { name: 'bin/whoami-http', data: Buffer.from(SCRIPT), mode: 0o755 },
    { name: 'tmp', type: 'directory', mode: 0o1777 },
    { name: 'www', type: 'directory', mode: 0o755, owner: NOBODY },
  ]);
}

interface Entry {
  name: string;
  type?: 'file' | 'directory' | 'symlink';
  linkname?: string;
  data?: Buffer;
  mode?: number;
  owner?: number;
}

async function tar(entries: Entry[]): Promise<Buffer> {
  const archive = pack();
  const whole = buffer(archive);
  for (const { name, type, linkname, data, mode, owner } of entries) {
    const header = {
      name,
      type: type ?? 'file',
      linkname,
      mode: mode ?? 0o644,
      mtime: EPOCH,
      uid: owner ?? 0,
      gid: owner ?? 0,
    };
    archive.entry(header, data ?? Buffer.alloc(0));
  }
  archive.finalize();
  return whole;
}

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
