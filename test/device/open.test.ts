// A message that is stored in the same turn as the session that it is for.

import { afterAll, beforeAll, expect, test } from "vitest";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Broker, startBroker } from "../../src/broker.ts";
import { settingsWith } from "../../src/config.ts";
import { encodeBody } from "../../src/wire/body.ts";
import { DELIVER, MinimalDevice, PING, PONG, RECEIVED } from "./minimal-client.ts";

const data = mkdtempSync(join(tmpdir(), "bellhop-open-"));
let broker: Broker;
beforeAll(async () => {
  broker = await startBroker(settingsWith({ data, http: "127.0.0.1:0", device: "127.0.0.1:0", bucketCount: 4, logLevel: "fatal", minFreeBytes: 0 }));
});
afterAll(async () => {
  await broker.close();
  rmSync(data, { recursive: true });
});

test("is delivered without waiting for another, and its RECEIVED is taken", async () => {
  const { node } = broker;
  const open = node.open.bind(node);
  node.open = (socket, hello) => {
    const line = open(socket, hello);
    const body = encodeBody("at once");
    node.request({ type: "keyed", device: "d", key: "k", fingerprint: "f", body, expires: 0 }, 10_000, () => undefined);
    return line;
  };
  const device = new MinimalDevice("d");
  await device.connect(broker.deviceAddress);
  const [, offset] = await device.wire.await(DELIVER);
  device.wire.send([RECEIVED, offset!, offset!], [PING]);
  expect((await device.wire.await(PONG))[0]).toBe(PONG);
  device.wire.end();
});
