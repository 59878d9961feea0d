// A storm of reconnects, small: more devices than are admitted in a few seconds.

import { afterAll, expect, test } from "vitest";
import { testFolder } from "./node.ts";
import { storm } from "./storm.ts";

const folder = testFolder("storm");
afterAll(() => folder.remove());

test("kill -9 under 300 devices, 20 admitted a second: the others get slots, and all are back", { timeout: 120_000 }, async () => {
  const { refusals } = await storm(folder.path, 300, 20);
  expect(refusals).toBeGreaterThan(50);
});
