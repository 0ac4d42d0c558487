/** Images of one engine: what they offer, whether they are there, and putting one there. */

import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { EngineError } from '../errors.ts';
import type { ImagePlatform } from '../ports.ts';
import type { EngineCalls } from './engine-calls.ts';
import { toPlatforms } from './engine-map.ts';

/** A registry on the internet over a slow line; without a line the name lookup fails or waits this long. */
const REGISTRY_TIMEOUT_MS = 15_000;
/** 2 MB on a worn SD card takes seconds, a large image minutes. */
const LOAD_TIMEOUT_MS = 300_000;

/** `GET /distribution/NAME/json`, else `GET /images/NAME/json`; undefined where neither knows it. */
export async function imagePlatforms(calls: EngineCalls, image: string): Promise<ImagePlatform[] | undefined> {
  const what = `ask the registry for ${image}`;
  const path = `/distribution/${image}/json`;
  try {
    const offer = await calls.request<{ Platforms?: Parameters<typeof toPlatforms>[0] | null }>({
      method: 'GET',
      path,
      what,
      timeoutMs: REGISTRY_TIMEOUT_MS,
      // Late is the registry, not this engine.
      swarm: true,
    });
    const platforms = toPlatforms(offer.Platforms ?? []);
    if (platforms.length > 0) return platforms;
  } catch (error) {
    if (calls.state() !== 'ready') throw error;
  }
  const local = await inspect(calls, image);
  if (local === undefined) return undefined;
  return toPlatforms([{ os: local.Os, architecture: local.Architecture, variant: local.Variant }]);
}

export async function hasImage(calls: EngineCalls, image: string): Promise<boolean> {
  return (await inspect(calls, image)) !== undefined;
}

/** `POST /images/load`. The engine answers 200 at once and reports failures inside the stream. @throws EngineError */
export async function loadImage(calls: EngineCalls, tar: Uint8Array): Promise<void> {
  const what = 'load an image';
  const answer = await calls.run<string>({ what, timeoutMs: LOAD_TIMEOUT_MS }, async (docker, signal) => {
    const file = Buffer.from(tar.buffer, tar.byteOffset, tar.byteLength);
    const stream = await docker.loadImage(Readable.from([file]), { abortSignal: signal });
    return text(stream as Readable);
  });
  const error = /"error"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(answer)?.[1];
  if (error !== undefined)
    throw new EngineError(`could not ${what}: ${error}`, 'Is the disk full? df -h /var/lib/docker', {
      code: 'refused',
    });
}

interface WireImage {
  Os?: string;
  Architecture?: string;
  Variant?: string;
}

async function inspect(calls: EngineCalls, image: string): Promise<WireImage | undefined> {
  try {
    return await calls.request<WireImage>({
      method: 'GET',
      path: `/images/${image}/json`,
      what: `look for the image ${image}`,
    });
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) return undefined;
    throw error;
  }
}
