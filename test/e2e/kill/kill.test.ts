// kill -9 of the real broker under load, some rounds of it; 50 and more: `npm run kill`.

import { expect, test } from "vitest";
import { killRounds, LEAST_UNANSWERED } from "./run.ts";

const ROUNDS = 4;

test("what was answered before a kill -9 is there after it, once, in order, without a hole", { timeout: 180_000 }, async () => {
  const result = await killRounds(ROUNDS, Date.now() % 1_000_000, () => undefined);
  expect(result.violations).toEqual([]);
  expect(Math.min(...result.unanswered)).toBeGreaterThanOrEqual(LEAST_UNANSWERED);
  expect(result.answeredByDevices).toBeGreaterThan(1000);
  expect(result.answeredByBackends).toBeGreaterThan(10);
});
