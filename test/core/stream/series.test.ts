// The place of a series number: R27.

import { expect, test } from "vitest";
import { placeOf } from "../../../src/core/stream/series.ts";

test.each([[6, "next"], [7, "gap"], [5, "had"], [3, "had"], [2, "gap"], [0, "gap"]])("%d against last 5 and window 3 is %s (R27)", (series, place) => {
  expect(placeOf(series, 5, 3)).toBe(place);
});
