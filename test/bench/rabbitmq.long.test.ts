// The generator against three real RabbitMQ nodes: Debian's packages are fetched where they are not there yet.

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { generate } from "../../bench/load/generator.ts";
import { rabbitDriver } from "../../bench/peers/rabbitmq.ts";
import { findRabbit, startRabbit } from "../../bench/peers/rabbitmq-servers.ts";
import { packageFolder } from "../../src/observe/version.ts";

test("every confirmed message is counted, once, and found in the queues", async () => {
  const binary = findRabbit(join(packageFolder(), ".cache"));
  if (binary === undefined) return console.log("Debian's RabbitMQ cannot be had here: nothing was tested.");
  const servers = await startRabbit(binary, mkdtempSync(join(tmpdir(), "bellhop-rabbitmq-")));
  try {
    const plan = { peer: "rabbitmq", at: servers.at, httpAt: "", run: "t", connections: 12, inFlight: 7, payloadBytes: 1000, rate: 0, warmUpSeconds: 0, seconds: 1, readBack: false } as const;
    const result = await generate(plan, rabbitDriver(plan), () => undefined);
    expect(result.answered).toBeGreaterThan(20);
    expect(result.verified!.found).toBe(result.verified!.answered);
  } finally {
    await servers.stop();
  }
});
