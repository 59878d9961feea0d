// Which traceparent is taken (W3C Trace Context, 3.2.2).

import { expect, test } from "vitest";
import { traceOf } from "../../src/http/trace.ts";

const VALID = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

test.each([
  [VALID, true],
  [`cc${VALID.slice(2)}-what-comes-later`, true],
  [`${VALID}-more`, false], // version 00 has four fields
  [`ff${VALID.slice(2)}`, false],
  [VALID.toUpperCase(), false],
  [VALID.replace(/-[0-9a-f]{32}-/, `-${"0".repeat(32)}-`), false],
  [VALID.replace(/-[0-9a-f]{16}-/, `-${"0".repeat(16)}-`), false],
  [`cc${VALID.slice(2)}-${"x".repeat(300)}`, false],
  ["", false],
])("%s: %s", (traceparent, isTaken) => {
  expect(traceOf({ headers: { traceparent } })).toBe(isTaken ? traceparent : undefined);
});
