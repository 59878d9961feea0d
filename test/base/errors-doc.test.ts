// docs/errors.md tells every code as the table has it.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ERRORS } from "../../src/base/errors.ts";

test("docs/errors.md has a line for each code, and none for a code that is not", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/errors.md"), "utf8");
  const lines = page.split("\n").filter((line) => line.startsWith("| `"));
  expect(lines).toEqual(Object.entries(ERRORS).map(([code, { status, retryable, what }]) => `| \`${code}\` | ${status} | ${retryable ? "yes" : "no"} | ${what} |`));
});
