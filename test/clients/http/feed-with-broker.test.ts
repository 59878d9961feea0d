// The feed against a real broker: devices in their own order, a connection cut again and again, a restart at a position; devices made and removed.

import { afterEach, beforeEach, expect, test } from "vitest";
import { type Bellhop, connect, type FeedEntry } from "../../../clients/http/src/index.ts";
import { type RunningBroker, runBroker } from "../../http/broker.ts";

let broker: RunningBroker;
let bellhop: Bellhop;
let stop: AbortController;
beforeEach(async () => {
  broker = await runBroker();
  bellhop = connect({ brokers: broker.http, retry: { baseMs: 10 } });
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await broker.stop();
});

test("every entry of every device once and in its device's order, though the connection is cut after every few pieces", async () => {
  let connections = 0;
  const cutting: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return response;
    connections += 1;
    let pieces = 0;
    const cut = new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, to) {
        pieces += 1;
        // Half of a piece, and then nothing more.
        if (pieces === 4) to.error(new TypeError("terminated"));
        else to.enqueue(pieces === 3 ? piece.subarray(0, piece.length >> 1) : piece);
      },
    });
    return new Response(response.body!.pipeThrough(cut), { headers: response.headers });
  };
  const client = connect({ brokers: broker.http, fetch: cutting, retry: { baseMs: 1, mostMs: 20 } });
  const devices = ["a", "b", "c"];
  const feed = client.feed({ after: "start", signal: stop.signal });
  const publishing = Promise.all(devices.map(async (device) => {
    for (let i = 1; i <= 30; i += 1) await bellhop.publish(device, `${device}${i}`);
  }));
  const seen = new Map(devices.map((device) => [device, [] as unknown[]]));
  let count = 0;
  for await (const item of feed) {
    if (item.type === "position" || item.type === "gap") continue;
    seen.get(item.device)!.push(item.payload);
    count += 1;
    if (count === 90) break;
  }
  await publishing;
  for (const device of devices) expect(seen.get(device)).toEqual(Array.from({ length: 30 }, (_, i) => `${device}${i + 1}`));
  expect(connections).toBeGreaterThan(2);
});

test("at a position written down, it goes on behind what was handed over before it", async () => {
  await bellhop.publish("a", "before");
  let position = "";
  for await (const item of bellhop.feed({ after: "start" })) {
    if (item.type !== "position") continue;
    position = item.position;
    if (await isBehindAll(position)) break;
  }
  await bellhop.publish("b", "after");
  for await (const item of bellhop.feed({ after: position })) {
    if (item.type === "position") continue;
    expect(item).toMatchObject({ device: "b", payload: "after" });
    break;
  }
});

async function isBehindAll(position: string): Promise<boolean> {
  const page = await broker.call("GET", `/v1/feed?after=${position}`);
  return (page.json as { entries: FeedEntry[] }).entries.length === 0;
}

test("from now on: what was there before does not come", async () => {
  await bellhop.publish("a", "before");
  for await (const item of bellhop.feed()) {
    if (item.type === "position") {
      void bellhop.publish("a", "after");
      continue;
    }
    expect(item).toMatchObject({ device: "a", payload: "after" });
    break;
  }
});

test("a device is made known, and removed with its data", async () => {
  const device = bellhop.device("d1");
  expect(await device.create()).toMatchObject({ device: "d1", end: "0" });
  expect(await device.create({ retain: { retainEntries: 100 } })).toMatchObject({ device: "d1", end: "0" });
  await bellhop.publish("d1", "x");
  await device.remove();
  await expect(device.get()).rejects.toMatchObject({ code: "unknown_device" });
  await expect(device.create({ retain: { retainEntries: -1 } })).rejects.toMatchObject({ code: "bad_request", device: "d1" });
});
