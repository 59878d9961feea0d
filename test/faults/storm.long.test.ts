// A storm of 10,000 reconnects, with the settings as they are.

import { afterAll, expect, test } from "vitest";
import { testFolder } from "./node.ts";
import { storm } from "./storm.ts";

const folder = testFolder("storm");
/** Longest time until the last one is back: slots reach a minute ahead, and a few find theirs taken. */
const BACK_MS = 180_000;
afterAll(() => folder.remove());

test("kill -9 under 10,000 devices: all are back", async () => {
  const { refusals, backMs } = await storm(folder.path, 10_000, 2000);
  console.log(`10,000 devices were back after ${(backMs / 1000).toFixed(1)} s; ${refusals} HELLOs were refused.`);
  expect(backMs).toBeLessThan(BACK_MS);
});
