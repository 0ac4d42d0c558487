/** A disk, an image or a plain file as bytes at places; what all of `flash` reads and writes through. */
import type { FileHandle } from 'node:fs/promises';

/** The unit of every read and write: raw disks (macOS's /dev/rdisk) take nothing else. */
export const SECTOR_BYTES = 512;

/** Offsets and lengths are multiples of `SECTOR_BYTES`. */
export interface Disk {
  /** Reads exactly `length` bytes. @throws the system's error, or ShortRead at the disk's end */
  read(offset: number, length: number): Promise<Buffer>;
  write(offset: number, data: Uint8Array): Promise<void>;
}

/** The disk ends before what was to be read. */
export class ShortRead extends Error {
  constructor(offset: number) {
    super(`there is nothing to read at byte ${offset}`);
  }
}

/** `base`: where the disk begins within the file, in bytes. */
export function diskOf(file: FileHandle, base = 0): Disk {
  return {
    async read(offset, length) {
      const buffer = Buffer.alloc(length);
      await readFully(file, buffer, base + offset);
      return buffer;
    },
    write: (offset, data) => writeFully(file, data, base + offset),
  };
}

/** Fills the whole buffer. @throws ShortRead */
export async function readFully(file: FileHandle, buffer: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < buffer.length; ) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) throw new ShortRead(position + done);
    done += bytesRead;
  }
}

/** A device may take less than it was given; then the rest is asked again, and says why. */
export async function writeFully(file: FileHandle, data: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await file.write(data, done, data.length - done, position + done);
    if (bytesWritten === 0) throw new Error(`nothing more could be written at byte ${position + done}`);
    done += bytesWritten;
  }
}
