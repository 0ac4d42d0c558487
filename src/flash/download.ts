/** Images from the web: bounded, and gone on with where an earlier download stopped. Whether it is the right one, its checksum says. */
import { open, rename, rm, stat } from 'node:fs/promises';
import { NotFoundError, PiSwarmError, RefusedError } from '../errors.ts';
import { fileError } from '../io/files.ts';
import { writeFully } from './disk.ts';
import type { Watch } from './image.ts';

const REDIRECTS_MAX = 5;
/** Ours have 300 MB; nobody makes cards of more than this. */
const SIZE_MAX_BYTES = 16 * 1024 ** 3;
const TEXT_MAX_BYTES = 64 * 1024;
/** For the answer to begin, and between two pieces of it. */
const SILENCE_MAX_MS = 30_000;
const TRIES = 4;

/** Stops a download that nothing comes of; `touch` says that something came. */
function silenceLimit(signal?: AbortSignal) {
  const limit = new AbortController();
  const onTimeout = () => limit.abort(new Error(`nothing came for ${SILENCE_MAX_MS / 1000} s`));
  let timer = setTimeout(onTimeout, SILENCE_MAX_MS);
  return {
    signal: signal === undefined ? limit.signal : AbortSignal.any([signal, limit.signal]),
    touch() {
      clearTimeout(timer);
      timer = setTimeout(onTimeout, SILENCE_MAX_MS);
    },
    end: () => clearTimeout(timer),
  };
}

async function answerTo(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  let place = new URL(url);
  for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects++) {
    const response = await fetch(place, { headers, redirect: 'manual', signal });
    const target = response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
    if (target === null) return response;
    await response.body?.cancel();
    const next = new URL(target, place);
    if (!/^https?:$/.test(next.protocol) || (place.protocol === 'https:' && next.protocol !== 'https:')) {
      throw new RefusedError(
        `${place.host} sends us on to ${next.protocol}//${next.host}, which is not protected`,
        'Give a URL that stays with https.',
      );
    }
    place = next;
  }
  throw new RefusedError(`${url} sends us on more than ${REDIRECTS_MAX} times`, 'Give the URL where it ends.');
}

function refusal(url: string, status: number): PiSwarmError {
  if (status === 404 || status === 410) return new NotFoundError(`there is no ${url} (${status})`, 'Check the URL.');
  return new PiSwarmError('unavailable', `${url} cannot be had: the server answers ${status}`, 'Try again later.');
}

const offline = (url: string, error: unknown): PiSwarmError => {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new PiSwarmError(
    'unavailable',
    `${url} cannot be downloaded: ${why}`,
    'Is this computer online? The same command again goes on where it stopped.',
    { cause: error },
  );
};

/** A small text, such as a checksum. @throws NotFoundError, RefusedError, PiSwarmError unavailable */
export async function fetchText(url: string, signal?: AbortSignal): Promise<string> {
  const limit = silenceLimit(signal);
  try {
    const response = await answerTo(url, {}, limit.signal);
    if (!response.ok) throw refusal(url, response.status);
    let text = '';
    const decoder = new TextDecoder();
    for await (const piece of response.body ?? []) {
      limit.touch();
      text += decoder.decode(piece as Uint8Array, { stream: true });
      if (text.length > TEXT_MAX_BYTES) throw new RefusedError(`${url} is too long for a checksum`, 'Check the URL.');
    }
    return text;
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof PiSwarmError ? error : offline(url, error);
  } finally {
    limit.end();
  }
}

export interface DownloadWatch extends Watch {
  onSize?: (bytes: number) => void;
  /** Something that people should know: it goes on, it starts anew. */
  onNote?: (text: string) => void;
}

/**
 * Downloads to `path`; until it is whole it is `path.part`, which the next try goes on with.
 * @throws NotFoundError, RefusedError, PiSwarmError unavailable, EnvironmentError the disk is full
 */
export async function download(url: string, path: string, watch: DownloadWatch = {}): Promise<void> {
  const part = `${path}.part`;
  for (let attempt = 1; ; attempt++) {
    try {
      if (await fetchPart(url, part, watch)) break;
    } catch (error) {
      watch.signal?.throwIfAborted();
      if (error instanceof PiSwarmError) throw error;
      if (attempt === TRIES) throw offline(url, error);
      watch.onNote?.(`The download stopped; going on (${attempt + 1} of ${TRIES}).`);
    }
  }
  await rename(part, path);
}

/** One try. @returns false: what was there does not fit, start anew */
async function fetchPart(url: string, part: string, watch: DownloadWatch): Promise<boolean> {
  const have = (await stat(part).catch(() => undefined))?.size ?? 0;
  const limit = silenceLimit(watch.signal);
  try {
    const response = await answerTo(url, have > 0 ? { range: `bytes=${have}-` } : {}, limit.signal);
    if (response.status === 416 && have > 0) {
      await response.body?.cancel();
      await rm(part, { force: true });
      return false;
    }
    if (!response.ok) throw refusal(url, response.status);
    const from = response.status === 206 ? have : 0;
    if (have > 0) {
      const goesOn = `Going on with the download of before, at ${Math.round(have / 1e6)} MB.`;
      watch.onNote?.(from > 0 ? goesOn : 'The server cannot go on with the download of before: starting anew.');
    }
    const rest = Number(response.headers.get('content-length') ?? Number.NaN);
    if (from + rest > SIZE_MAX_BYTES) throw tooLarge(url);
    if (Number.isFinite(rest)) watch.onSize?.(from + rest);
    await save(url, response, part, from, limit.touch, watch);
    return true;
  } finally {
    limit.end();
  }
}

async function save(
  url: string,
  response: Response,
  part: string,
  from: number,
  touch: () => void,
  watch: DownloadWatch,
) {
  const file = await open(part, from > 0 ? 'r+' : 'w', 0o644).catch((error: unknown) => {
    throw fileError(`cannot write ${part}`, error);
  });
  try {
    let at = from;
    for await (const piece of response.body ?? []) {
      touch();
      const data = piece as Uint8Array;
      if (at + data.length > SIZE_MAX_BYTES) throw tooLarge(url);
      await writeFully(file, data, at).catch((error: unknown) => {
        throw fileError(`cannot write ${part}`, error);
      });
      at += data.length;
      watch.onBytes?.(at);
    }
  } finally {
    await file.close();
  }
}

const tooLarge = (url: string): RefusedError =>
  new RefusedError(`${url} is larger than any image (${SIZE_MAX_BYTES / 1024 ** 3} GiB)`, 'Check the URL.');
