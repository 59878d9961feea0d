// The cursor and the writer against msgpackr: what one writes the other reads, byte for byte where both take the shortest format.

import fc from "fast-check";
import { Packr, Unpackr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { isUtf8, Reader, Writer } from "../../src/wire/msgpack.ts";
import { maxWindow, narrow, widen } from "../../src/wire/series.ts";

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: "auto" as "bigint" });
const written = (write: (to: Writer) => void): Buffer => {
  const writer = new Writer(1);
  write(writer);
  return Buffer.from(writer.written);
};
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const edges = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];
const number = fc.oneof(fc.constantFrom(...edges), fc.maxSafeNat());

describe("writer and cursor", () => {
  test("numbers", () => {
    fc.assert(fc.property(number, (value) => {
      const bytes = written((to) => to.uint(value));
      expect(unpackr.unpack(bytes)).toBe(value);
      if (value < 2 ** 32) expect(hex(bytes)).toBe(hex(packr.pack(value))); // above, msgpackr writes a float
      expect(new Reader().reset(bytes, 0, bytes.length).uint(Number.MAX_SAFE_INTEGER)).toBe(value);
      const theirs = packr.pack(value);
      expect(new Reader().reset(theirs, 0, theirs.length).uint(Number.MAX_SAFE_INTEGER)).toBe(value);
    }));
  });

  test("64 bits", () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
      const bytes = written((to) => to.u64(value));
      expect(BigInt(unpackr.unpack(bytes) as number | bigint)).toBe(value);
      expect(new Reader().reset(bytes, 0, bytes.length).u64()).toBe(value);
    }));
  });

  test("strings, whatever they hold", () => {
    const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom(0, 10, 11, 31, 32, 255, 256, 65_535, 65_536).map((size) => "x".repeat(size)), fc.constantFrom("\ufeffé", "\u0000", "𝕏".repeat(9)));
    fc.assert(fc.property(text, (value) => {
      const bytes = written((to) => to.str(value));
      expect(unpackr.unpack(bytes)).toBe(value);
      expect(new Reader().reset(bytes, 0, bytes.length).str(1_000_000)).toBe(value);
      const theirs = packr.pack(value);
      expect(new Reader().reset(theirs, 0, theirs.length).str(1_000_000)).toBe(value);
    }));
  });

  test.each([0, 1, 63, 64, 255, 256, 65_535, 65_536])("binary of %i bytes", (size) => {
    const value = Buffer.alloc(size, 0xc1);
    const bytes = written((to) => to.bin(value));
    expect(hex(bytes)).toBe(hex(packr.pack(value)));
    const reader = new Reader().reset(bytes, 0, bytes.length);
    reader.binSpan(size);
    expect(Buffer.from(reader.spanCopy())).toEqual(value);
    reader.finish();
  });

  test.each([0, 15, 16, 65_535, 65_536])("arrays and maps of %i", (count) => {
    expect(hex(written((to) => to.array(count)))).toBe(hex(packr.pack(new Array(count).fill(0)).subarray(0, -count || undefined)));
    const head = written((to) => to.map(count));
    const reader = new Reader().reset(Buffer.concat([head, Buffer.alloc(2 * count)]), 0, head.length + 2 * count);
    expect(reader.map()).toBe(count);
  });

  test("skips any value that msgpackr writes", () => {
    const value = fc.anything({ maxDepth: 3, withDate: true, withMap: true, withTypedArray: true, withBigInt: false, withSparseArray: false });
    fc.assert(fc.property(value, (one) => {
      const bytes = packr.pack(one);
      const reader = new Reader().reset(bytes, 0, bytes.length);
      reader.skip(1);
      reader.finish();
    }), { numRuns: 500 });
  });
});

test("UTF-8 as the platform judges it", () => {
  const strict = new TextDecoder("utf-8", { fatal: true });
  const bytes = fc.array(fc.constantFrom(0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff), { maxLength: 6 });
  fc.assert(fc.property(bytes, (list) => {
    const text = Uint8Array.from(list);
    let good = true;
    try {
      strict.decode(text);
    } catch {
      good = false;
    }
    expect(isUtf8(text, 0, text.length)).toBe(good);
  }), { numRuns: 10_000 });
});

describe("series", () => {
  test("a number within the window comes back, over any number of wraps (R28)", () => {
    fc.assert(fc.property(fc.integer({ min: 16, max: 2 ** 32 }), fc.nat({ max: 2 ** 45 }), fc.nat(), fc.boolean(), (wrap, near, distance, ahead) => {
      const off = distance % (maxWindow(wrap) + 1);
      const series = ahead ? near + off : near - off;
      if (series < 0) return;
      expect(widen(narrow(series, wrap), wrap, near)).toBe(series);
    }), { numRuns: 5_000 });
  });

  test("wide numbers are left as they are", () => {
    expect(widen(narrow(2 ** 53 - 1, 0), 0, 5)).toBe(2 ** 53 - 1);
    expect(maxWindow(16)).toBe(7);
    expect(maxWindow(17)).toBe(8);
  });
});
