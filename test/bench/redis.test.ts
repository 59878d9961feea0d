// The generator against a real Redis, where there is one.

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { generate } from "../../bench/load/generator.ts";
import { redisDriver } from "../../bench/peers/redis.ts";
import { redisOnPath, startRedis } from "../../bench/peers/redis-server.ts";
import { freePort } from "../../bench/processes.ts";

const binary = redisOnPath(); // A test downloads nothing.

test.skipIf(binary === undefined)("every answered XADD is counted, once, and found in its stream", async () => {
  const redis = await startRedis(binary!, mkdtempSync(join(tmpdir(), "bellhop-redis-")), await freePort());
  try {
    const plan = { peer: "redis", at: redis.at, httpAt: "", run: "t", connections: 3, inFlight: 7, payloadBytes: 1000, rate: 0, warmUpSeconds: 0, seconds: 0.3, readBack: false } as const;
    const result = await generate(plan, redisDriver(plan), () => undefined);
    expect(result.answered).toBeGreaterThan(20);
    expect(result.verified!.found).toBe(result.verified!.answered);
    expect(redis.version).toMatch(/^\d+\.\d+/);
  } finally {
    await redis.stop();
  }
});
