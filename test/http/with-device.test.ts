// HTTP and a real device on one broker: what each says reaches the other, and everything is in one stream, in order.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { connect, type Device } from "../../clients/device/src/index.ts";
import { runBroker, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
let device: Device | undefined;
beforeAll(async () => {
  broker = await runBroker();
});
afterEach(async () => {
  await device?.close();
  device = undefined;
});
afterAll(() => broker.stop());

interface EntryJson {
  offset: string;
  type: string;
  publisher: string;
  series?: string;
  contentType: string;
  encoding: string;
  payload: unknown;
}

test("uplink, downlink, presence and state stand in one stream, each as what it is", async () => {
  const events = await broker.follow("/v1/devices/d1/stream");
  const next = async (): Promise<EntryJson> => JSON.parse((await events.take(1))[0]?.data ?? "") as EntryJson;
  device = connect({ brokers: broker.device, device: "d1" });

  await device.publish("21.5");
  expect(await next()).toMatchObject({ offset: "1", type: "presence", publisher: "", encoding: "json", payload: { connected: true } });
  expect(await next()).toMatchObject({ offset: "2", type: "uplink", publisher: "", series: "1", contentType: "text/plain; charset=utf-8", encoding: "text", payload: "21.5" });

  await device.publish(`{"t":21.5}`, { headers: { "content-type": "application/json", "x-unit": "C" } });
  expect(await next()).toMatchObject({ offset: "3", type: "uplink", series: "2", headers: { "x-unit": "C" }, contentType: "application/json", encoding: "json", payload: { t: 21.5 } });

  await device.publish(Uint8Array.of(1, 2, 3));
  expect(await next()).toMatchObject({ offset: "4", type: "uplink", encoding: "base64", payload: "AQID" });

  await device.state.patch({ firmware: "1.2" });
  expect(await next()).toMatchObject({ offset: "5", type: "state", payload: { which: "reported", how: "patch", document: { firmware: "1.2" } } });
  expect((await broker.call("GET", "/v1/devices/d1/state")).json.reported).toEqual({ version: 1, offset: "5", document: { firmware: "1.2" } });

  await broker.call("POST", "/v1/devices/d1/messages", { body: "unlock", headers: { "content-type": "text/plain" } });
  expect(await next()).toMatchObject({ offset: "6", type: "downlink", publisher: "backend", payload: "unlock" });
  for await (const message of device) {
    expect([message.offset, message.text()]).toEqual([6, "unlock"]);
    message.handled();
    break;
  }
  await positions("d1", { connected: true, handled: "6", delivered: "6", lastSeries: "4" });

  await device.close();
  expect(await next()).toMatchObject({ offset: "7", type: "presence", payload: { connected: false, reason: "closed" } });
  expect((await broker.call("GET", "/v1/devices/d1")).json.connected).toBe(false);
  events.close();
});

test("a desired document reaches a device that is there, and one that comes later", async () => {
  device = connect({ brokers: broker.device, device: "d2" });
  await device.publish("here");
  const told = new Promise<void>((resolve) => void device?.once("desired", resolve));
  await broker.call("PUT", "/v1/devices/d2/state", { body: `{"light":"on"}` });
  await told;
  expect(device.state.desired).toEqual({ version: 1, document: { light: "on" } });
  await device.close();
  device = connect({ brokers: broker.device, device: "d2" });
  expect((await device.state.get()).desired).toEqual({ version: 1, document: { light: "on" } });
});

test("a message that was published while the device was away is delivered when it comes", async () => {
  for (const body of ["a", "b", "c"]) await broker.call("POST", "/v1/devices/d3/messages", { body });
  device = connect({ brokers: broker.device, device: "d3" });
  const got: string[] = [];
  for await (const message of device) {
    got.push(message.text());
    if (got.length === 3) break;
  }
  expect(got).toEqual(["a", "b", "c"]);
});

/** Reads the device until its view holds these; the test's time-out bounds it. */
async function positions(id: string, expected: Record<string, unknown>): Promise<void> {
  for (;;) {
    const view = (await broker.call("GET", `/v1/devices/${id}`)).json as Record<string, unknown>;
    if (Object.entries(expected).every(([name, value]) => view[name] === value)) return;
  }
}
