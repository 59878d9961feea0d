// A short fixed run of faults under load; longer ones: `npm run faults`.

import { expect, test } from "vitest";
import { LEAST_PER_SECOND, runFaults } from "./faults.ts";

test("kill -9, a one-way cut, etcd without its leader, all at once: nothing answered is lost, doubled or reordered", { timeout: 150_000 }, async () => {
  const report = await runFaults({ seed: 1, faults: ["kill", "cut", "etcdLeader", "all"], progress: (line) => process.stdout.write(`${line}\n`) });
  expect(report.violations).toEqual([]);
  expect(report.perSecond).toBeGreaterThan(LEAST_PER_SECOND);
  expect(report.copies).toBe(3 * 8);
});
