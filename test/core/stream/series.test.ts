// Series numbers on the wire: R28.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { greatestWindow, narrow, placeOf, widen } from "../../../src/core/stream/series.ts";

describe("wraps (R28)", () => {
  test("a number within the greatest window of the expected one comes back wide", () => {
    const cases = fc.record({ wrap: fc.integer({ min: 2, max: 2 ** 32 }), near: fc.maxSafeNat(), part: fc.double({ min: -1, max: 1, noNaN: true }) });
    fc.assert(fc.property(cases, ({ wrap, near, part }) => {
      const wide = near + Math.trunc(part * greatestWindow(wrap));
      fc.pre(wide >= 1 && wide <= Number.MAX_SAFE_INTEGER);
      expect(widen(narrow(wide, wrap), near, wrap)).toBe(wide);
    }));
  });

  test("without a wrap the number is itself", () => {
    for (const wide of [1, 2 ** 31, 2 ** 52]) expect(widen(wide, wide - 1, Number.MAX_SAFE_INTEGER)).toBe(wide);
  });

  test.each([[16, 3, 16], [-1, 3, 16], [1.5, 3, 16], [Number.NaN, 3, 16], [15, 1, 16]])("%d near %d of %d is no number", (narrowed, near, wrap) => {
    expect(widen(narrowed, near, wrap)).toBeUndefined();
  });

  test("round the end of the range", () => {
    expect(widen(0, 15, 16)).toBe(16);
    expect(widen(15, 17, 16)).toBe(15);
    expect(widen(2, 31, 16)).toBe(34);
  });
});

test.each([[6, "next"], [7, "gap"], [5, "had"], [3, "had"], [2, "gap"], [0, "gap"]])("%d against last 5 and window 3 is %s (R27)", (series, place) => {
  expect(placeOf(series, 5, 3)).toBe(place);
});
