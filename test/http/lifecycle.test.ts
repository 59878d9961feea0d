// A device from its creation to its removal: made known, how much it keeps, what its removal tells whom, and what its name means afterwards.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, type ConnectionChange } from "../../clients/device/src/index.ts";
import { runBroker, type RunningBroker } from "./broker.ts";

let broker: RunningBroker;
beforeAll(async () => {
  broker = await runBroker();
});
afterAll(() => broker.stop());

const publish = async (device: string, body: string, key?: string) =>
  broker.call("POST", `/v1/devices/${device}/messages`, { body, headers: key === undefined ? {} : { "idempotency-key": key } });
const stream = async (device: string, query = "") => (await broker.call("GET", `/v1/devices/${device}/stream${query}`)).json as { entries: { offset: string }[]; earliest: string; next: string; gap?: { from: string; to: string } };

describe("PUT", () => {
  test("makes a device known, once", async () => {
    const first = await broker.call("PUT", "/v1/devices/put-1");
    expect([first.status, first.json]).toEqual([201, expect.objectContaining({ device: "put-1", end: "0", connected: false, retainSeconds: null, retainEntries: null })]);
    expect((await broker.call("PUT", "/v1/devices/put-1")).status).toBe(200);
  });

  test("says how much of its stream is kept: the rest is a gap at once", async () => {
    for (let i = 1; i <= 10; i += 1) await publish("keeps", `m${i}`);
    const put = await broker.call("PUT", "/v1/devices/keeps", { body: `{"retainEntries": 3, "retainSeconds": 3600}` });
    expect([put.status, put.json.retainEntries, put.json.retainSeconds, put.json.earliest]).toEqual([200, 3, 3600, "8"]);
    expect(await stream("keeps")).toMatchObject({ gap: { from: "1", to: "7" }, earliest: "8", next: "10" });
    await publish("keeps", "m11");
    expect(await stream("keeps", "?after=8")).toMatchObject({ entries: [{ offset: "9" }, { offset: "10" }, { offset: "11" }], earliest: "9" });
    const events = await broker.follow("/v1/devices/keeps/stream?after=0");
    expect((await events.take(4)).map(({ event, id }) => [event, id])).toEqual([["gap", "8"], ["message", "9"], ["message", "10"], ["message", "11"]]);
    events.close();
    expect((await broker.call("GET", "/v1/devices/keeps/explain?offset=2")).json.offset).toEqual({ offset: "2", is: "forgotten" });
    await broker.call("PUT", "/v1/devices/keeps"); // nothing said: stays
    expect((await broker.call("PUT", "/v1/devices/keeps", { body: `{"retainSeconds": null}` })).json).toMatchObject({ retainEntries: null, retainSeconds: null, earliest: "9" });
  });

  test.each([
    [`{"retainEntrys": 3}`, "no setting of a device"],
    [`{"retainEntries": 0}`, "whole number from 1"],
    [`{"retainEntries": "3"}`, "whole number from 1"],
    [`{"retainSeconds": 1.5}`, "whole number from 1"],
    [`[1]`, "JSON object"],
    [`{`, "not JSON"],
    [`{"__proto__": 3}`, "no setting of a device"],
  ])("%s is refused", async (body, why) => {
    const reply = await broker.call("PUT", "/v1/devices/refused", { body });
    expect([reply.status, reply.json.code, reply.json.detail]).toEqual([400, "bad_request", expect.stringContaining(why)]);
    expect((await broker.call("GET", "/v1/devices/refused")).status).toBe(404);
  });

  test("by age: what is older goes", async () => {
    await broker.call("PUT", "/v1/devices/ages", { body: `{"retainSeconds": 1}` });
    await publish("ages", "old");
    for (;;) { // looked at every 10 s; the test's time-out bounds it
      const page = await stream("ages");
      if (page.gap !== undefined) {
        expect(page).toMatchObject({ gap: { from: "1", to: "1" }, earliest: "2", entries: [] });
        break;
      }
      await broker.call("GET", "/v1/devices/ages/stream?after=end&wait=1s"); // a second passes
    }
    await publish("ages", "new");
    expect(await stream("ages", "?after=1")).toMatchObject({ entries: [{ offset: "2" }] });
  });
});

describe("DELETE", () => {
  test("of a device that is not known is 404", async () => {
    const reply = await broker.call("DELETE", "/v1/devices/never");
    expect([reply.status, reply.json.code]).toEqual([404, "unknown_device"]);
  });

  test("takes stream, state and keys with it; the name begins anew", async () => {
    for (let i = 1; i <= 5; i += 1) await publish("gone", `m${i}`, `k${i}`);
    await broker.call("PUT", "/v1/devices/gone/state", { body: `{"a":1}` });
    await broker.call("PUT", "/v1/devices/gone", { body: `{"retainEntries": 2}` });
    const removed = await broker.call("DELETE", "/v1/devices/gone");
    expect([removed.status, removed.text]).toEqual([204, ""]);
    expect((await broker.call("GET", "/v1/devices/gone")).status).toBe(404);
    expect((await broker.call("GET", "/v1/devices/gone/state")).status).toBe(404);
    expect(await stream("gone")).toMatchObject({ entries: [] });
    const listed = (await broker.call("GET", "/v1/devices?prefix=gone")).json as { devices: unknown[] };
    expect(listed.devices).toEqual([]);

    const again = await publish("gone", "again", "k1");
    expect([again.status, again.json]).toEqual([201, { device: "gone", offset: "1", duplicate: false }]);
    expect((await broker.call("GET", "/v1/devices/gone")).json).toMatchObject({ end: "1", retainEntries: null });
    expect((await broker.call("GET", "/v1/devices/gone/state")).json.desired).toMatchObject({ version: 0, document: {} });
  });

  test("ends its connection, which stops, its followers and long polls, each with `removed`", async () => {
    const device = connect({ brokers: broker.device, device: "cut" });
    await device.publish("hello");
    const events = await broker.follow("/v1/devices/cut/stream?after=end");
    const poll = broker.call("GET", "/v1/devices/cut/stream?after=end&wait=30s");
    while ((await broker.call("GET", "/v1/devices/cut/explain")).json.followers < 2) await broker.call("GET", "/livez");
    const stopped = new Promise<ConnectionChange>((resolve) => device.on("connection", (change) => (change.state === "stopped" ? resolve(change) : undefined)));
    expect((await broker.call("DELETE", "/v1/devices/cut")).status).toBe(204);
    const last = await events.take(1);
    expect([last[0]?.event, JSON.parse(last[0]?.data ?? "").code]).toEqual(["error", "removed"]);
    expect(await events.next()).toBeUndefined();
    expect((await poll).json).toMatchObject({ status: 410, code: "removed" });
    expect((await stopped).error).toMatchObject({ code: "removed", retryable: false });
    expect((await broker.call("GET", "/v1/devices/cut")).status).toBe(404);
  });
});

describe("the list", () => {
  test("by prefix, page by page, each device once", async () => {
    for (let i = 0; i < 25; i += 1) await broker.call("PUT", `/v1/devices/list-${i}`);
    const seen: string[] = [];
    let address = "/v1/devices?prefix=list-&limit=4";
    for (let pages = 0; pages < 20; pages += 1) {
      const page = await broker.call("GET", address);
      const { devices, next } = page.json as { devices: { device: string }[]; next: string | null };
      expect(devices.length).toBeLessThanOrEqual(4);
      seen.push(...devices.map(({ device }) => device));
      if (next === null) break;
      address = /<(.*)>; rel="next"/.exec(String(page.headers["link"]))?.[1] ?? "";
    }
    expect(seen.sort()).toEqual(Array.from({ length: 25 }, (_, i) => `list-${i}`).sort());
  });
});
