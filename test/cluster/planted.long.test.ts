// The checker is checked: builds with a planted bug must fail it, under the same faults and load that the right build passes.

import { expect, test } from "vitest";
import { runFaults } from "./faults.ts";
import { build, PLANTED } from "./planted.ts";

test.each(PLANTED)("caught: $name", async (planted) => {
  const { program, remove } = build(planted);
  try {
    const report = await runFaults({ seed: 1, faults: planted.faults, program, progress: (line) => process.stdout.write(`${line}\n`), untilFirst: true });
    expect(report.violations.join("\n")).toMatch(planted.told);
  } finally {
    remove();
  }
});
