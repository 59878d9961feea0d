// A broken invariant that a front-end meets stops the node, whichever way it came.

import { EventEmitter, once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BrokenInvariant } from "../../src/base/assert.ts";
import { type Broker, startBroker } from "../../src/broker.ts";
import { settingsWith } from "../../src/config.ts";
import { HELLO, STATE, WELCOME, Wire } from "../device/minimal-client.ts";
import { call, follow } from "../http/broker.ts";

const PLANTED = new BrokenInvariant("planted by the test");
let data: string;
let broker: Broker;
let stopped: Promise<Error>;
beforeEach(async () => {
  data = mkdtempSync(join(tmpdir(), "bellhop-broken-"));
  const settings = settingsWith({ data, http: "127.0.0.1:0", device: "127.0.0.1:0", bucketCount: 4, logLevel: "fatal", minFreeBytes: 0 });
  const failures = new EventEmitter();
  stopped = once(failures, "failed").then(([error]) => error as Error);
  broker = await startBroker(settings, { failed: (error) => void failures.emit("failed", error) });
  expect((await call(broker.httpAddress, "POST", "/v1/devices/d/messages", { body: "x" })).status).toBe(201);
});
afterEach(async () => {
  await broker.close();
  rmSync(data, { recursive: true });
});

test("a device's frame", async () => {
  const wire = new Wire(broker.deviceAddress);
  wire.send([HELLO, 1, "d", "", 0, 1n, 1, 1]);
  await wire.await(WELCOME);
  broker.node.state = () => {
    throw PLANTED;
  };
  wire.send([STATE, 1]);
  expect(await stopped).toBe(PLANTED);
  wire.end();
});

test("a delivery to a device", async () => {
  broker.node.read = () => Promise.reject(PLANTED);
  const wire = new Wire(broker.deviceAddress);
  wire.send([HELLO, 1, "d", "", 0, 1n, 1, 1]);
  expect(await stopped).toBe(PLANTED);
  wire.end();
});

test("an HTTP request", async () => {
  broker.node.read = () => Promise.reject(PLANTED);
  expect((await call(broker.httpAddress, "GET", "/v1/devices/d/stream", {})).json.code).toBe("internal");
  expect(await stopped).toBe(PLANTED);
});

test("a followed stream", async () => {
  broker.node.readNow = () => undefined; // nothing is in memory: it is read
  broker.node.read = () => Promise.reject(PLANTED);
  const followed = await follow(broker.httpAddress, "/v1/devices/d/stream", {});
  expect((await followed.next())?.event).toBe("error");
  expect(await stopped).toBe(PLANTED);
});
