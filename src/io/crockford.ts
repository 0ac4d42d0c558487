/** Crockford's base32 (https://www.crockford.com/base32.html) and the checksum of the cluster secret. */

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const VALUES = new Map([...ALPHABET].map((character, value) => [character, value]));

/** Bits per character. */
export const CHARACTER_BITS = 5;

/** Big-endian, without padding: the number of bits must be a multiple of 5. */
export function encodeBase32(bytes: Uint8Array): string {
  let text = '';
  let held = 0;
  let heldBits = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    heldBits += 8;
    while (heldBits >= CHARACTER_BITS) {
      heldBits -= CHARACTER_BITS;
      text += ALPHABET[(held >> heldBits) & 31];
    }
    held &= (1 << heldBits) - 1;
  }
  return text;
}

/** What Crockford lets people write: lower case, O for 0, I and L for 1. */
export const normaliseBase32 = (text: string): string => text.toUpperCase().replaceAll('O', '0').replace(/[IL]/g, '1');

/** Place of the first character that is not of the alphabet (U is not); -1 when all are. */
export const firstForeignCharacter = (text: string): number => [...text].findIndex(c => !VALUES.has(c));

/** Of normalised text of the alphabet only. Bits that do not fill a byte are dropped. */
export function decodeBase32(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.floor((text.length * CHARACTER_BITS) / 8));
  let held = 0;
  let heldBits = 0;
  let length = 0;
  for (const character of text) {
    held = (held << CHARACTER_BITS) | (VALUES.get(character) ?? 0);
    heldBits += CHARACTER_BITS;
    if (heldBits < 8) continue;
    heldBits -= 8;
    bytes[length++] = held >> heldBits;
    held &= (1 << heldBits) - 1;
  }
  return bytes;
}

/**
 * CRC-24 of OpenPGP (RFC 4880 section 6.1). A CRC finds every run of wrong bits up to its own width: one wrong character
 * is a run of at most 5 bits, two swapped neighbours of at most 10, so both are found always, and anything else all but
 * once in 16 million times.
 * @param before the checksum of what comes before these bytes
 */
export function crc24(bytes: Uint8Array, before = 0xb704ce): number {
  let crc = before;
  for (const byte of bytes) crc = ((crc << 8) & 0xffffff) ^ (CRC24_TABLE[(crc >> 16) ^ byte] ?? 0);
  return crc;
}

const CRC24_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 16;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x800000 ? (crc << 1) ^ 0x1864cfb : crc << 1;
  return crc;
});

/**
 * Every text that differs from `text` by one character or by one swap of neighbours, with the place of the difference.
 * About 31 × length of them.
 */
export function* nearby(text: string): Generator<{ text: string; at: number }> {
  for (let at = 0; at < text.length; at++) {
    const [before, here, after] = [text.slice(0, at), text.charAt(at), text.slice(at + 1)];
    for (const other of ALPHABET) if (other !== here) yield { text: before + other + after, at };
    if (after !== '' && after.charAt(0) !== here) yield { text: before + after.charAt(0) + here + after.slice(1), at };
  }
}
