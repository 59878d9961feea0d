// A broker that answers late, and one that answers no more: the first is kept, the second given up.

import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { connect, type Device } from "../../../clients/device/src/index.ts";
import { writeAck } from "../../../src/wire/device.ts";
import { ScriptedBroker } from "./scripted-broker.ts";

let device: Device;
let broker: ScriptedBroker;
afterEach(async () => {
  await device.close();
  broker.stop();
});

test("something is always out, and each is answered late: the connection stays; then nothing is answered, and it ends", { timeout: 180_000 }, async () => {
  broker = await ScriptedBroker.start();
  device = connect({ brokers: broker.address, device: "d1", keepAlive: 40_000 });
  const peer = await broker.peer();
  await peer.greeting();
  peer.welcome({ keepAlive: 40_000 });
  const publishes = [device.publish("m1"), device.publish("m2")];
  for (let series = 1; series <= 50; series += 1) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    peer.send((to) => writeAck(to, series));
    await publishes[series - 1];
    publishes.push(device.publish(`m${series + 2}`));
  }
  expect([device.connection, peer.pings]).toEqual(["connected", 0]);
  for (const publish of publishes.slice(50)) publish.catch(() => undefined);
  const [{ state, error }] = (await once(device, "connection")) as [{ state: string; error: Error }];
  expect([state, error.message, peer.pings]).toEqual(["waiting", "The broker fell silent.", 1]);
});
