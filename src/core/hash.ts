// The bucket of a device: murmur3-32 (x86, seed 0) over the UTF-8 bytes of its id. Frozen: a change would move every device.

const C1 = 0xcc9e2d51;
const C2 = 0x1b873593;
const UTF8 = new TextEncoder();

/** The bucket of a device, 0 … bucketCount − 1. */
export function bucketOf(deviceId: string, bucketCount: number): number {
  return murmur3(deviceId) % bucketCount;
}

/** murmur3-32 over the UTF-8 bytes of a string, 0 … 2³² − 1; a lone surrogate counts as U+FFFD. Allocates nothing for ASCII. */
export function murmur3(text: string): number {
  const length = text.length;
  const whole = length & ~3;
  let hash = 0;
  let seen = 0;
  for (let i = 0; i < whole; i += 4) {
    const a = text.charCodeAt(i);
    const b = text.charCodeAt(i + 1);
    const c = text.charCodeAt(i + 2);
    const d = text.charCodeAt(i + 3);
    seen |= a | b | c | d;
    hash = mixBlock(hash, a | (b << 8) | (c << 16) | (d << 24));
  }
  let tail = 0;
  for (let i = length - 1; i >= whole; i -= 1) {
    const code = text.charCodeAt(i);
    seen |= code;
    tail = (tail << 8) | code;
  }
  return seen < 0x80 ? finish(hash, tail, length) : murmur3Bytes(UTF8.encode(text));
}

/** murmur3-32 over bytes, 0 … 2³² − 1. */
export function murmur3Bytes(bytes: Uint8Array): number {
  const length = bytes.length;
  const whole = length & ~3;
  let hash = 0;
  for (let i = 0; i < whole; i += 4) {
    hash = mixBlock(hash, bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24));
  }
  let tail = 0;
  for (let i = length - 1; i >= whole; i -= 1) tail = (tail << 8) | bytes[i]!;
  return finish(hash, tail, length);
}

function scramble(block: number): number {
  const k = Math.imul(block, C1);
  return Math.imul((k << 15) | (k >>> 17), C2);
}

function mixBlock(hash: number, block: number): number {
  const h = hash ^ scramble(block);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** `tail`: the 0 to 3 bytes after the last whole block, little-endian. */
function finish(hash: number, tail: number, length: number): number {
  let h = hash ^ scramble(tail) ^ length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
