// CRC-32C against the published vectors, and against the definition bit by bit on all lengths and alignments that the slices can meet.

import { describe, expect, test } from "vitest";
import { CRC_OF_NOTHING, crc32c, crc32cOfWord } from "../../src/base/crc32c.ts";

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function crcOf(bytes: Uint8Array): number {
  return crc32c(view(bytes), 0, bytes.length);
}

function bitByBit(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

describe("crc32c", () => {
  test.each([
    ["check value", Buffer.from("123456789"), 0xe3069283],
    ["32 zeros (RFC 3720 B.4)", Buffer.alloc(32), 0x8a9136aa],
    ["32 ones (RFC 3720 B.4)", Buffer.alloc(32, 0xff), 0x62a8ab43],
    ["ascending (RFC 3720 B.4)", Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e],
    ["descending (RFC 3720 B.4)", Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c],
    ["nothing", Buffer.alloc(0), 0],
  ])("%s", (_name, bytes, expected) => {
    expect(crcOf(bytes)).toBe(expected);
  });

  test("equals the definition on every length to 70 at every alignment", () => {
    const bytes = Uint8Array.from({ length: 100 }, (_, i) => (i * 197 + 13) & 255);
    for (let start = 0; start < 16; start += 1) {
      for (let length = 0; length <= 70; length += 1) {
        expect(crc32c(view(bytes), start, start + length)).toBe(bitByBit(bytes.subarray(start, start + length)));
      }
    }
  });

  test("by words equals the whole", () => {
    const bytes = Uint8Array.from({ length: 40 }, (_, i) => (i * 89 + 7) & 255);
    let crc = CRC_OF_NOTHING;
    for (let at = 0; at < bytes.length; at += 4) crc = crc32cOfWord(crc, view(bytes).getUint32(at, true));
    expect(crc).toBe(crcOf(bytes));
  });
});
