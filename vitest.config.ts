// The test run of `npm test`. Suites that take minutes end in `.long.test.ts` and run with LONG=1.

import { configDefaults, defineConfig } from "vitest/config";

const long = process.env["LONG"] === "1";

export default defineConfig({
  test: {
    include: [long ? "test/**/*.long.test.ts" : "test/**/*.test.ts"],
    exclude: long ? configDefaults.exclude : [...configDefaults.exclude, "test/**/*.long.test.ts"],
    // Processes, not threads: native modules and signals behave as they do in production.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: long ? 1_800_000 : 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
  },
});
