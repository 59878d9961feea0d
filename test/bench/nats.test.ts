// The generator against three real nats-servers, where there are such.

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { onPath } from "../../bench/debian.ts";
import { generate } from "../../bench/load/generator.ts";
import { natsDriver } from "../../bench/peers/nats.ts";
import { startNats } from "../../bench/peers/nats-servers.ts";

const binary = onPath("nats-server");

test.skipIf(binary === undefined)("every acknowledged PUB is counted, once, and found in the stream", { timeout: 60_000 }, async () => {
  const servers = await startNats(binary!, mkdtempSync(join(tmpdir(), "bellhop-nats-")), undefined);
  try {
    const plan = { peer: "nats", at: servers.at, httpAt: "", run: "t", connections: 3, inFlight: 7, payloadBytes: 1000, rate: 0, warmUpSeconds: 0, seconds: 0.5, readBack: false } as const;
    const result = await generate(plan, natsDriver(plan), () => undefined);
    expect(result.answered).toBeGreaterThan(20);
    expect(result.verified!.found).toBe(result.verified!.answered);
  } finally {
    await servers.stop();
  }
});
