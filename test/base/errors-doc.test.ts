// docs/errors.md tells every code as the table has it, and has a section for each.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ERRORS } from "../../src/base/errors.ts";

const page = readFileSync(join(import.meta.dirname, "../../docs/errors.md"), "utf8");

test("docs/errors.md has a line for each code, and none for a code that is not", () => {
  const lines = page.split("\n").filter((line) => line.startsWith("| `"));
  expect(lines).toEqual(Object.entries(ERRORS).map(([code, { status, retryable, what }]) => `| \`${code}\` | ${status} | ${retryable ? "yes" : "no"} | ${what} |`));
});

test("each code has a section that says what happened, why, and what to do", () => {
  const [, ...sections] = page.split(/^### /m);
  expect(sections.map((section) => section.slice(0, section.indexOf("\n")))).toEqual(Object.keys(ERRORS));
  for (const section of sections) {
    expect(section).toMatch(/^\w+\n\n\*\*What happened\.\*\* \S.*\n\n\*\*Why\.\*\* \S.*\n\n\*\*What to do\.\*\* \S.*\n*$/);
  }
});
