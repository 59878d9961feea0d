import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { NumberMap } from "../../src/base/number-map.ts";

describe("NumberMap", () => {
  it("holds what a Map holds, after any calls", () => {
    const key = fc.oneof(fc.nat(40), fc.nat(40).map((n) => n * 2 ** 32 + 7), fc.nat(40).map((n) => n * 1024));
    const call = fc.record({ key, does: fc.constantFrom("set", "set", "delete", "get", "clear") });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 300 }), (calls) => {
        const map = new NumberMap<{ readonly at: number }>();
        const model = new Map<number, { readonly at: number }>();
        for (const [at, { key: number, does }] of calls.entries()) {
          if (does === "set") {
            const item = { at };
            map.set(number, item);
            model.set(number, item);
          } else if (does === "delete") expect(map.delete(number)).toBe(model.delete(number));
          else if (does === "get") expect(map.get(number)).toBe(model.get(number));
          else if (at % 50 === 0) {
            map.clear();
            model.clear();
          }
        }
        expect(map.size).toBe(model.size);
        for (const [number, item] of model) expect(map.get(number)).toBe(item);
        expect(new Set(map.items())).toEqual(new Set(model.values()));
        expect(map.items()).toHaveLength(model.size);
      }),
      { numRuns: 500 },
    );
  });

  it("finds each of many in a row and far apart", () => {
    const map = new NumberMap<{ readonly key: number }>();
    const keys = Array.from({ length: 20_000 }, (_, i) => (i % 2 === 0 ? i : Number.MAX_SAFE_INTEGER - i));
    for (const key of keys) map.set(key, { key });
    expect(keys.filter((key) => map.get(key)?.key !== key)).toEqual([]);
    expect(keys.slice(0, 10_000).filter((key) => !map.delete(key))).toEqual([]);
    expect(keys.filter((key, i) => map.get(key)?.key !== (i < 10_000 ? undefined : key))).toEqual([]);
    expect(map.size).toBe(10_000);
  });

  it("refuses a key that is no whole number", () => {
    expect(() => new NumberMap().set(0.5, {})).toThrow("a key is a whole number");
  });
});
