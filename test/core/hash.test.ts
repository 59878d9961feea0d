// The bucket hash is frozen: published vectors of murmur3-32 (x86, seed 0), vectors of our own, and a second implementation over bytes.

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { bucketOf, murmur3, murmur3Bytes } from "../../src/core/hash.ts";

/** Written from the algorithm's description in BigInt arithmetic, sharing nothing with the product. */
function naive(bytes: Uint8Array): number {
  const mask = 0xffffffffn;
  const rotl = (x: bigint, n: bigint): bigint => ((x << n) | (x >> (32n - n))) & mask;
  let h = 0n;
  const view = Buffer.from(bytes);
  const blocks = Math.floor(view.length / 4);
  for (let i = 0; i < blocks; i += 1) {
    const k = (rotl((BigInt(view.readUInt32LE(i * 4)) * 0xcc9e2d51n) & mask, 15n) * 0x1b873593n) & mask;
    h = (rotl(h ^ k, 13n) * 5n + 0xe6546b64n) & mask;
  }
  let k = 0n;
  for (const [place, byte] of view.subarray(blocks * 4).entries()) k |= BigInt(byte) << BigInt(8 * place);
  h ^= (rotl((k * 0xcc9e2d51n) & mask, 15n) * 0x1b873593n) & mask;
  h ^= BigInt(view.length);
  h = ((h ^ (h >> 16n)) * 0x85ebca6bn) & mask;
  h = ((h ^ (h >> 13n)) * 0xc2b2ae35n) & mask;
  return Number(h ^ (h >> 16n));
}

describe("murmur3-32", () => {
  test.each([
    ["", 0],
    ["test", 0xba6bd213],
    ["Hello, world!", 0xc0363e43],
    ["The quick brown fox jumps over the lazy dog", 0x2e4ff723],
  ])("published vector %j", (text, hash) => {
    expect(murmur3(text)).toBe(hash);
  });

  test("equals the naive implementation on every string", () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" })), (text) => {
      expect(murmur3(text)).toBe(naive(Buffer.from(text, "utf8")));
    }), { numRuns: 2000 });
  });

  test("equals the naive implementation on every byte sequence", () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => {
      expect(murmur3Bytes(bytes)).toBe(naive(bytes));
    }), { numRuns: 2000 });
  });

  test("a lone surrogate counts as U+FFFD", () => {
    expect(murmur3("a\ud800b")).toBe(murmur3("a\ufffdb"));
  });
});

describe("bucketOf", () => {
  test.each([
    ["a", 256, 178],
    ["door-17", 256, 24],
    ["sensor/éclair", 256, 96],
    ["device-000001", 4096, 2333],
    ["😀", 64, 58],
  ])("frozen: %j of %i", (device, count, bucket) => {
    expect(bucketOf(device, count)).toBe(bucket);
  });

  test("doubling the buckets leaves a device in its bucket or sends it to that bucket's second half (R36)", () => {
    fc.assert(fc.property(fc.string(), fc.integer({ min: 1, max: 4096 }), (device, count) => {
      expect(bucketOf(device, 2 * count) % count).toBe(bucketOf(device, count));
    }));
  });

  test("spreads counted ids evenly: no bucket of 64 is a quarter off its share", () => {
    const counts = new Array<number>(64).fill(0);
    for (let i = 0; i < 64_000; i += 1) counts[bucketOf(`device-${i}`, 64)]! += 1;
    expect(Math.min(...counts)).toBeGreaterThan(750);
    expect(Math.max(...counts)).toBeLessThan(1250);
  });
});
