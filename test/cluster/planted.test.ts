// The planted bugs are texts of the build: each must be there, or the long run would plant nothing.

import { expect, test } from "vitest";
import { occurrences, PLANTED } from "./planted.ts";

test("the planted bugs of the long run have their places in this build", () => {
  expect(PLANTED.map((planted) => [planted.name, occurrences(planted)])).toEqual(PLANTED.map(({ name }) => [name, 1]));
});
