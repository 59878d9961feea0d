// Too little room on the disk: writes hear 503 `storage_full`, reads go on.

import { statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runBroker, type RunningBroker } from "./broker.ts";

const MOST = 1024 * 1024 * 1024 * 1024; // the setting's own limit: more than most disks have free
const { bavail, bsize } = statfsSync(tmpdir());

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker({ minFreeBytes: MOST });
});
afterAll(() => broker.stop());

test.skipIf(bavail * bsize >= MOST)("while less is free than minFreeBytes", async () => {
  for (;;) {
    const reply = await broker.call("POST", "/v1/devices/d/messages", { body: "x" }); // until the broker has looked at the disk
    if (reply.status === 201) continue;
    expect([reply.status, reply.json.code, reply.json.retryable, reply.headers["retry-after"]]).toEqual([503, "storage_full", true, "5"]);
    break;
  }
  expect((await broker.call("PUT", "/v1/devices/d/state", { body: "{}" })).json.code).toBe("storage_full");
  expect((await broker.call("GET", "/v1/devices/d/stream")).status).toBe(200);
  expect((await broker.call("GET", "/livez")).status).toBe(200);
  expect((await broker.call("GET", "/metrics")).text).toContain("bellhop_storage_full 1\n");
});
